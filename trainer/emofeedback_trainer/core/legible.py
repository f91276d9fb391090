"""Words of people in matplotlib's figures, as `emofeedback.runs.lettering` does it for Pillow's pictures."""

from __future__ import annotations

from functools import cache

from matplotlib.font_manager import FontProperties, findfont
from PIL import ImageFont

from emofeedback.runs.lettering import lettered


def legible(text: str) -> tuple[str, FontProperties]:
    """A text as it can be drawn, and the font to draw it in: matplotlib's own where that has all of its letters."""
    drawn, file = lettered(text, _own())
    return drawn, FontProperties(fname=file)


@cache
def _own() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(findfont(FontProperties()), 16)
