"""Files that a run adds a line of JSON to, and cuts back to its checkpoint, or to its whole lines, when it goes on.

Every line counts up under one key (`iteration` or `step`). The run's process writes while others read: half a line at
the end is not there yet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.storage.files import explained, write_whole

T = TypeVar("T")

_BLOCK = 4096
"""Bytes of the end of a file in which its last line is looked for first."""


def add_line(path: Path, line: Mapping[str, Any]) -> None:
    """Adds a line; raises as `storage.files.write_whole`."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(line)) + "\n")
    except OSError as error:
        raise explained(error, path) from error


def read_lines(path: Path, key: str = "iteration") -> list[dict[str, Any]]:
    """All whole lines; none where there is no file yet.

    Raises:
        FailedPrecondition: a line is not JSON, or has no whole number under `key`.
    """
    return Tail(key).news(path)


def read_kept(path: Path, key: str, record: Callable[[Mapping[str, Any]], T]) -> list[T]:
    """What the whole lines hold, each read by `record`, before more are added: half a line at the end is taken out.

    Raises:
        FailedPrecondition: a line holds something else, or the file can't be written.
    """
    drop_cut_line(path)
    with _readable(path):
        return [record(line) for line in read_lines(path, key)]
    return []


def last_line(path: Path, key: str = "iteration") -> dict[str, Any] | None:
    """The last whole line, found from the end of the file; None where there is none yet. Raises as `read_lines`."""
    with _readable(path), path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        data, length = b"", _BLOCK
        while data.count(b"\n") < 2 and len(data) < end:
            file.seek(max(end - length, 0))
            data, length = file.read(end - file.tell()), 4 * length
        return next(iter(_parsed(b"\n".join(data.split(b"\n")[-2:-1]), key)), None)
    return None


class Tail:
    """Reads a file as it grows: each whole line once, all of them again where the file was written anew."""

    def __init__(self, key: str = "iteration") -> None:
        self._key = key
        self._file = 0
        self._offset = 0

    def news(self, path: Path) -> list[dict[str, Any]]:
        """The whole lines that were added since the last call. Raises as `read_lines`."""
        with _readable(path), path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_ino != self._file or found.st_size < self._offset:
                self._file, self._offset = found.st_ino, 0
            file.seek(self._offset)
            whole, end, _ = file.read().rpartition(b"\n")
            lines = _parsed(whole, self._key)
            self._offset += len(whole + end)
            return lines
        return []


def cut_back(path: Path, key: str, last: int) -> None:
    """Drops the lines whose `key` is above `last`: what they tell of is done anew. Raises as `read_lines` and
    `storage.files.write_whole`."""
    kept = [line for line in read_lines(path, key) if line[key] <= last]
    write_whole(path, "".join(json.dumps(line) + "\n" for line in kept).encode())


def drop_cut_line(path: Path) -> None:
    """Takes half a line, left at the end by a kill or a full disk, out of a file before more are added; where there is
    none, nothing is written. Raises as `storage.files.write_whole`."""
    try:
        data = path.read_bytes() if path.exists() else b""
        if data and not data.endswith(b"\n"):
            os.truncate(path, data.rfind(b"\n") + 1)
    except OSError as error:
        raise explained(error, path) from error


def _parsed(whole: bytes, key: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in whole.decode().split("\n") if line]
    if any(not isinstance(line[key], int) for line in lines):
        raise ValueError(f"{key} is not a number")
    return lines


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """A file that is not there yet is passed over."""
    try:
        yield
    except FileNotFoundError:
        return
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise FailedPrecondition(f"{path} can't be read: {error!r}") from error
