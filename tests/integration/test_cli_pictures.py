"""What `assess` looks at: files in many formats, folders to their depth, standard input."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from emofeedback.domain.assessment import AssessmentOutcome
from support.scripted_services import ScriptedEngines

RED, TEAL = Image.new("RGB", (48, 24), "red"), Image.new("RGB", (48, 24), "teal")


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def seen(engines: ScriptedEngines, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every picture that the judge was sent."""
    pictures: list[bytes] = []
    assess = engines.scripted_judge.assess

    async def logged(images: Sequence[bytes], **options: Any) -> list[AssessmentOutcome]:
        pictures.extend(images)
        return await assess(images, **options)

    monkeypatch.setattr(engines.scripted_judge, "assess", logged)
    return pictures


def judged(capsys: pytest.CaptureFixture[str]) -> tuple[list[str], str]:
    """The paths of the judged pictures, and what was said beside."""
    said = capsys.readouterr()
    return [json.loads(line)["path"] for line in said.out.splitlines()], said.err


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "BMP", "AVIF", "HEIF"])
def test_formats_that_judges_do_not_take_are_brought_to_png(
    run: Callable[..., int], seen: list[bytes], tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    if kind not in Image.SAVE and kind not in Image.registered_extensions().values():
        pytest.skip(f"this Pillow has no {kind}")
    (tmp_path / "picture").write_bytes(saved(TEAL, kind))
    assert run("assess", str(tmp_path / "picture"), "--json") == 0
    assert judged(capsys) == ([str(tmp_path / "picture")], "")
    with Image.open(io.BytesIO(seen[0])) as sent:
        assert (sent.format, sent.size) == ("PNG", (48, 24))
        red, green, blue = sent.convert("RGB").getpixel((20, 12))  # type: ignore[misc]
        assert red < 20 and abs(green - 128) < 20 and abs(blue - 128) < 20


def test_of_a_moving_gif_the_first_frame_is_taken_and_said_so(
    run: Callable[..., int], seen: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.gif").write_bytes(saved(RED, "GIF", save_all=True, append_images=[TEAL, RED]))
    (tmp_path / "b.tiff").write_bytes(saved(TEAL, "TIFF", save_all=True, append_images=[RED]))
    assert run("assess", str(tmp_path / "a.gif"), str(tmp_path / "b.tiff"), "--json") == 0
    _, notes = judged(capsys)
    assert notes.splitlines() == [
        f"note: {tmp_path / 'a.gif'}: has 3 frames, the first is looked at",
        f"note: {tmp_path / 'b.tiff'}: has 2 pages, the first is looked at",
    ]
    assert Image.open(io.BytesIO(seen[0])).convert("RGB").getpixel((5, 5)) == (255, 0, 0)


def test_a_camera_held_upright_makes_an_upright_picture(
    run: Callable[..., int], seen: list[bytes], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    (tmp_path / "a.tiff").write_bytes(saved(TEAL, "TIFF", exif=exif))
    (tmp_path / "a.jpg").write_bytes(photo := saved(TEAL, "JPEG", exif=exif))
    assert run("assess", str(tmp_path / "a.tiff"), str(tmp_path / "a.jpg")) == 0
    assert Image.open(io.BytesIO(seen[0])).size == (24, 48)
    assert seen[1] == photo, "what judges take is sent as it is: they turn it themselves"


def test_a_folder_is_searched_to_its_depth_its_pictures_counted_and_the_rest_named(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("b.PNG", "a/deep/c.jpg", "a/d.webp", ".thumbnails/e.png", "a/.f.png"):
        path = tmp_path / "Fotos äöü" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(saved(TEAL, "PNG"))
    for number in range(5):
        (tmp_path / "Fotos äöü" / f"note-{number}.txt").write_text("dear diary")
    folder = tmp_path / "Fotos äöü"
    assert run("assess", str(folder), "--json") == 0
    names = [str(folder / name) for name in ("b.PNG", "a/d.webp", "a/deep/c.jpg")]
    others = ", ".join(str(folder / f"note-{number}.txt") for number in range(3))
    assert judged(capsys) == (names, f"note: {folder}: 3 pictures; no pictures: {others} and 2 more\n")


def test_a_folder_that_can_not_be_looked_into_is_named(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(saved(TEAL, "PNG"))
    (tmp_path / "locked").mkdir()
    look = os.scandir

    def refused(place: str) -> object:
        if str(place).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(place))
        return look(place)

    monkeypatch.setattr(os, "scandir", refused)
    assert run("assess", str(tmp_path), "--json") == 1
    paths, errors = judged(capsys)
    assert paths == [str(tmp_path / "a.png")]
    assert f"error: {tmp_path / 'locked'}: Permission denied" in errors.splitlines()


def test_a_minus_is_standard_input(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(saved(TEAL, "PNG"))))
    assert run("assess", "-", "--json") == 0
    assert judged(capsys) == (["-"], "")


def test_what_is_no_picture_and_what_is_too_large_is_named(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.gif").write_bytes(b"GIF89a and nothing more")
    (tmp_path / "b.bmp").write_bytes(saved(Image.new("1", (8000, 6000)), "BMP"))
    (tmp_path / "c.tiff").write_bytes(saved(TEAL, "TIFF")[:-100])
    names = [str(tmp_path / name) for name in ("a.gif", "b.bmp", "c.tiff")]
    assert run("assess", *names) == 1
    errors = capsys.readouterr().err.splitlines()
    problems = ("is not a readable PNG, JPEG, WebP, GIF", "is 8000 x 6000 pixels over the limit", "is cut off")
    for name, error, problem in zip(names, errors, problems, strict=True):
        assert error.startswith(f"error: {name}: ") and problem in error
