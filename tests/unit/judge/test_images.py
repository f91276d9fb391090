"""What the judge makes of every kind of file that somebody may send as a picture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from emofeedback.domain.errors import InvalidRequest
from emofeedback.judge.images import read_image
from support.pictures import ACCEPTED, RED, REFUSED, carrying, encoded, red


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_good_picture_is_refused_by_name_and_reason(kind: str) -> None:
    make, problem = REFUSED[kind]
    with pytest.raises(InvalidRequest, match=problem) as refusal:
        read_image(make(), field="images[3]")
    (violation,) = refusal.value.violations
    assert violation.field == "images[3]"


@pytest.mark.parametrize("kind", ACCEPTED)
def test_every_kind_of_still_picture_becomes_rgb_on_white(kind: str) -> None:
    make, left, right = ACCEPTED[kind]
    image = read_image(make(), field="images[0]")
    assert (image.mode, image.size) == ("RGB", (16, 12))
    # JPEG is near the color, not on it.
    assert image.getpixel((2, 6)) == pytest.approx(left, abs=20)
    assert image.getpixel((13, 6)) == pytest.approx(right, abs=20)


def test_what_is_half_transparent_is_mixed_with_white_to_the_nearest_value() -> None:
    value, alpha = np.meshgrid(np.arange(256), np.arange(256))
    pixels = np.stack([value, 255 - value, np.full_like(value, 40), alpha], axis=-1)
    image = read_image(encoded(Image.fromarray(pixels.astype(np.uint8))), field="images[0]")
    weight = alpha[..., None] / 255
    expected = pixels[..., :3] * weight + 255 * (1 - weight)
    assert np.abs(np.asarray(image) - expected).max() <= 0.5 + 1e-9


def test_a_photograph_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_image(encoded(red(), "JPEG", exif=exif), field="images[0]").size == (12, 16)


def test_a_photograph_with_several_views_counts_by_its_first() -> None:
    views = encoded(red(), "MPO", save_all=True, append_images=[Image.new("RGB", (16, 12), "blue")])
    assert read_image(views, field="images[0]").getpixel((5, 5)) == pytest.approx(RED, abs=20)


@pytest.mark.parametrize("size", [(300, 300), (640, 100), (100, 9_999), (1_400, 1_000)])
def test_a_large_picture_is_scaled_down_in_its_proportions(size: tuple[int, int]) -> None:
    image = read_image(encoded(red(size=size)), field="images[0]", max_pixels=112 * 112)
    assert 0.85 * 112 * 112 < image.width * image.height <= 112 * 112
    assert image.width / image.height == pytest.approx(size[0] / size[1], rel=0.1)


def test_a_small_picture_keeps_its_size() -> None:
    assert read_image(encoded(red()), field="images[0]", max_pixels=112 * 112).size == (16, 12)


@settings(max_examples=30)
@given(
    kind=st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"iCCP"]),
    length=st.integers(0, 20 * 2**20),
    behind=st.booleans(),
)
def test_whatever_a_png_carries_its_picture_is_read_or_what_it_carries_is_named(
    kind: bytes, length: int, behind: bool
) -> None:
    data = carrying(kind, length, behind=behind)
    try:
        assert read_image(data, field="images[0]").getpixel((5, 5)) == RED
    except InvalidRequest as error:
        assert "carries a text or a color profile" in str(error) and length > 16 * 2**20
