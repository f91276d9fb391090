"""Things of one's own that a training asks for by number: made by a function, or the lines of a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from PIL import Image

from emofeedback.domain.errors import InvalidRequest
from emofeedback.storage.texts import read_lines
from emofeedback_trainer.core.dotted import DOTTED, imported

T = TypeVar("T")


def load_numbered(source: str, key: str, of_line: Callable[[str, Path], T]) -> Callable[[int], T]:
    """`module:function` that makes number N, or a JSON lines file whose lines come again and again.

    Args:
        key: of the configuration, under which it is refused.
        of_line: makes one of a line and the file's folder; raises ValueError where it can't.

    Raises:
        InvalidRequest: there is no such source, or a bad line; the message names it.
    """
    path = Path(source)
    if path.suffix == ".jsonl":
        made = _of_file(path, key, of_line)
        return lambda number: made[number % len(made)]
    if not DOTTED.fullmatch(source):
        raise InvalidRequest.of(key, f"{source!r} is neither module:function nor a .jsonl file")
    function: Callable[[int], T] = imported(source, key)
    return function


def opened(path: Path) -> Image.Image:
    """A picture that such a line names, in RGB; its file is closed again."""
    with Image.open(path) as picture:
        return picture.convert("RGB")


def _of_file(path: Path, key: str, of_line: Callable[[str, Path], T]) -> list[T]:
    try:
        lines = list(read_lines(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest.of(key, f"{path} can't be read: {error}") from error
    if not lines:
        raise InvalidRequest.of(key, f"{path} is empty")
    made = []
    for number, line in lines:
        try:
            made.append(of_line(line, path.parent))
        except (ValueError, RecursionError) as error:
            raise InvalidRequest.of(f"{key}[{number - 1}]", str(error)) from error
    return made
