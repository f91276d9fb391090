"""Files that people hand in: texts under any byte order mark, and the files that a text names."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_NAMED = 80
"""Characters of a file's name that a message repeats."""


def read_text(path: Path) -> str:
    """A text in UTF-8, with or without a byte order mark, or in UTF-16 with one; line ends stay as they are.

    Windows editors write such marks, and neither TOML nor JSON takes one for a blank.

    Raises:
        OSError: it can't be read.
        UnicodeDecodeError: it is in another encoding.
    """
    data = path.read_bytes()
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if is_utf16 else "utf-8-sig")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines with something in them, counted from 1. U+2028 and its like end none: JSON has them inside texts.

    Raises:
        As `read_text`.
    """
    for number, line in enumerate(io.StringIO(read_text(path), newline=None), 1):
        if line.strip():
            yield number, line


def parse_json(text: str | bytes) -> Any:
    """What a JSON text says. Raises `ValueError` where it is none, or is nested too deeply to be read."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def file_within(folder: Path, name: str) -> Path:
    """The file of this name in a folder or below it, judged by the name alone: a folder may be a link to another disk.

    Raises:
        ValueError: the name leads out of the folder, there is no such file, or no file can have this name; the message
            goes on where a place has been named: `names '../a.jpg', which ...`.
    """
    said = f"names {name!r}" if len(name) <= _NAMED else f"names {name[:_NAMED]!r} and so on"
    within = Path(name)
    if within.anchor or ".." in within.parts:
        raise ValueError(f"{said}, which lies outside the folder")
    path = folder / within
    try:
        there = path.is_file()
    except OSError as error:
        raise ValueError(f"{said}, which can't be looked at: {error.strerror}") from error
    if not there:
        raise ValueError(f"{said}, and there is no such file")
    return path
