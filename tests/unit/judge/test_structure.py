"""What is read off a file before any library opens it."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from emofeedback.judge.structure import MAX_PARTS, Structure, structure
from support.pictures import chunked, commented, encoded, noise, red, scanned


@pytest.mark.parametrize(
    ("data", "scans"),
    [
        (encoded(noise(), "JPEG"), 1),
        (encoded(noise(), "JPEG", progressive=True), 10),
        (encoded(noise(), "JPEG", restart_marker_blocks=1), 1),
        (encoded(noise().convert("L"), "JPEG", progressive=True), 6),
        (scanned(7), 17),
        (encoded(red(), "MPO", save_all=True, append_images=[red()]), 1),
        (encoded(red(), "WEBP"), 1),
        (encoded(red()), 1),
    ],
)
def test_scans_are_counted_as_the_decoder_makes_them(data: bytes, scans: int) -> None:
    assert structure(data).scans == scans


def test_a_thumbnail_in_a_photograph_s_data_counts_for_nothing() -> None:
    thumbnail = encoded(red(), "JPEG", progressive=True)
    data = io.BytesIO()
    red().save(data, "JPEG", exif=b"Exif\0\0" + thumbnail)
    assert structure(data.getvalue()).scans == 1


def test_parts_are_counted_up_to_the_limit_only() -> None:
    assert structure(commented(100)).parts == structure(commented(0)).parts + 100
    assert structure(chunked(b"prIv", b"", 100)).parts == 103
    assert structure(commented(3 * MAX_PARTS)).parts == MAX_PARTS + 1


def test_color_profiles_are_counted() -> None:
    assert structure(chunked(b"iCCP", b"x", 2)).profiles == 2
    assert structure(encoded(Image.new("RGB", (4, 4)))).profiles == 0


@given(st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8"]), st.binary(max_size=200))
def test_any_bytes_have_a_structure(magic: bytes, rest: bytes) -> None:
    found = structure(magic + rest)
    assert found.scans >= 1 and found.parts <= len(rest)


def test_what_is_neither_has_none() -> None:
    assert structure(b"RIFF....WEBP") == structure(b"") == Structure()
