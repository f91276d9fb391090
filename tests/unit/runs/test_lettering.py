"""Titles in drawn pictures: the letters themselves, or their escapes, and never boxes."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFont

from emofeedback.domain.affect import AffectPoint
from emofeedback.runs import lettering
from emofeedback.runs.lettering import lettered, letters
from emofeedback.runs.plane import draw_plane
from emofeedback_trainer.core.legible import legible
from emofeedback_trainer.evaluation.generation import Witnessed
from emofeedback_trainer.evaluation.plane_errors import draw_error_maps

WITNESSED = Witnessed(
    prompt="a cat",
    target=AffectPoint(5, 5),
    judged=AffectPoint(5, 5),
    seen=AffectPoint(5, 6),
    unchosen_error=1.0,
    scores={},
)
DEJAVU = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"


@pytest.fixture
def fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine without fonts; what is put into the folder is found."""
    monkeypatch.setattr(lettering, "FOLDERS", (str(tmp_path), str(tmp_path / "nowhere")))
    lettering._nearest.cache_clear()
    yield tmp_path
    lettering._nearest.cache_clear()


def font_of(path: Path, characters: str) -> None:
    """A font whose letters are all the same triangle, and whose missing ones are a square."""

    def outline(*points: tuple[int, int]) -> object:
        pen = TTGlyphPen(None)
        pen.moveTo(points[0])
        for point in points[1:]:
            pen.lineTo(point)
        pen.closePath()
        return pen.glyph()

    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "letter"])
    builder.setupCharacterMap({ord(character): "letter" for character in characters})
    square, triangle = outline((0, 0), (0, 700), (700, 700), (700, 0)), outline((0, 0), (350, 700), (700, 0))
    builder.setupGlyf({".notdef": square, "letter": triangle})
    builder.setupHorizontalMetrics({".notdef": (800, 0), "letter": (800, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


def name_of(font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str | None:
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font.getname()[0]


def test_plain_words_are_drawn_in_the_same_font_on_every_machine(fonts: Path) -> None:
    shutil.copy(DEJAVU, fonts / "DejaVuSans.ttf")
    text, font = letters("a boat, 2 m", 26)
    assert (text, name_of(font)) == ("a boat, 2 m", name_of(ImageFont.load_default(26)))


def test_cyrillic_and_accents_are_drawn_where_a_font_has_them(fonts: Path) -> None:
    assert letters("кот é", 26)[0] == r"\u043a\u043e\u0442 \u00e9"
    lettering._nearest.cache_clear()
    shutil.copy(DEJAVU, fonts / "DejaVuSans.ttf")
    text, font = letters("кот é", 26)
    assert (text, name_of(font)) == ("кот é", "DejaVu Sans")


def test_the_font_that_lacks_least_is_taken_and_the_rest_is_escaped(fonts: Path) -> None:
    shutil.copy(DEJAVU, fonts / "DejaVuSans.ttf")
    font_of(fonts / "symbols.ttf", "猫像")  # without the letters of escapes it is of no use
    (fonts / "damaged.ttf").write_bytes(b"no font")
    assert letters("кот 猫像 🙂", 26)[0] == r"кот \u732b\u50cf \U0001f642"
    lettering._nearest.cache_clear()
    font_of(fonts / "cjk.ttf", r"\uU0123456789abcdef 猫像")
    text, font = letters("猫 像", 26)
    assert (text, name_of(font)) == ("猫 像", "cjk")


def test_the_plane_and_the_error_maps_have_titles_of_any_script(fonts: Path) -> None:
    cat, escaped = (Image.open(io.BytesIO(draw_plane(title, 2, {}))) for title in ("猫", r"\u732b"))
    assert cat.tobytes() == escaped.tobytes()
    pictures = [WITNESSED]
    drawn, same = (draw_error_maps({name: pictures}) for name in ("猫 $\\frac", "\\u732b $\\frac"))
    assert Image.open(io.BytesIO(drawn)).tobytes() == Image.open(io.BytesIO(same)).tobytes()


def test_figures_draw_in_their_own_font_what_it_has(fonts: Path) -> None:
    text, font = legible("кот é")
    assert (text, font.get_file()) == ("кот é", None)
    font_of(fonts / "cjk.ttf", r"\uU0123456789abcdef 猫")
    assert legible("猫")[1].get_file() == str(fonts / "cjk.ttf")


@given(st.text(max_size=20))
def test_no_text_is_drawn_with_boxes_and_every_letter_of_it_can_be_told(text: str) -> None:
    default = ImageFont.load_default(16)
    drawn, file = lettered(text, default)
    assert not lettering._missing(ImageFont.truetype(file, 16) if file else default, drawn)
    restored = drawn
    for letter in set(text):
        restored = restored.replace(lettering._escaped(letter), letter)
    assert restored == text or "\\" in text
