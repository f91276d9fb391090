"""Words of people in drawn pictures: a font that has their letters, and never the boxes that stand for missing ones."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

FOLDERS = (
    "~/.fonts",
    "~/.local/share/fonts",
    "/usr/local/share/fonts",
    "/usr/share/fonts",
    "~/Library/Fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
    "C:/Windows/Fonts",
)
"""Where Linux, macOS and Windows keep fonts."""
_UNLIKE = re.compile(r"bold|italic|oblique|mono|serif|condensed|light|thin|black", re.IGNORECASE)
_ESCAPES = "\\uU0123456789abcdef"
_BLANK = " \u200c\u200d"
"""The space, and what joins letters or keeps them apart: nothing is drawn for them."""
_NO_CHARACTER = "\U0010ffff"
"""For which no font has a glyph: it shows what the font draws for missing ones."""


def letters(text: str, size: int) -> tuple[str, Font]:
    """A text as it can be drawn, and Pillow's own font where that has all of its letters, else one of this machine."""
    default = ImageFont.load_default(size)
    drawn, file = lettered(text, default)
    return drawn, ImageFont.truetype(file, size) if file else default


def lettered(text: str, default: Font) -> tuple[str, str | None]:
    """A text in which `\\uXXXX` stands for each letter that can't be drawn, and the file of the font that has the rest.

    Args:
        default: used wherever it has all letters; a picture then looks the same on every machine.

    Returns:
        The text, and a file of this machine; None: the default font.
    """
    missing = _missing(default, text)
    if not missing:
        return text, None
    file, missing = _nearest(frozenset(text), missing)
    return "".join(_escaped(letter) if letter in missing else letter for letter in text), file


@lru_cache(maxsize=256)
def _nearest(wanted: frozenset[str], missing: frozenset[str]) -> tuple[str | None, frozenset[str]]:
    """The font of this machine that lacks the fewest letters, plain ones first; None where none beats the default."""
    best: str | None = None
    for path in _files():
        try:
            font = ImageFont.truetype(path, 16)
            lacks = _missing(font, "".join(sorted(wanted)) + _ESCAPES)
        except (OSError, ValueError):  # a damaged file, or a font of colored bitmaps
            continue
        if len(lacks) < len(missing) and lacks.isdisjoint(_ESCAPES):
            best, missing = str(path), lacks
        if not missing:
            break
    return best, missing


def _files() -> list[Path]:
    """All fonts, the plain ones first. macOS' font of last resort draws boxes itself."""
    found = (path for folder in FOLDERS for path in Path(folder).expanduser().rglob("*.[oOtT][tT][fFcC]"))
    fonts = [path for path in found if "LastResort" not in path.name]
    return sorted(fonts, key=lambda path: (len(_UNLIKE.findall(path.stem)), path))


def _missing(font: Font, text: str) -> frozenset[str]:
    """The letters of a text that a font draws as it draws those that it has no glyph for."""
    nothing = _drawn(font, _NO_CHARACTER)
    return frozenset(letter for letter in set(text) if letter not in _BLANK and _drawn(font, letter) in (None, nothing))


def _drawn(font: Font, letter: str) -> tuple[object, bytes] | None:
    try:
        mask = font.getmask(letter if letter.isprintable() else _NO_CHARACTER)
    except (RuntimeError, UnicodeError):  # the layout library has nothing for it
        return None
    return mask.size, bytes(mask)


def _escaped(letter: str) -> str:
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"
