"""Files that are written as a whole or not at all, and what was there before."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from itertools import count
from pathlib import Path
from typing import Any

from emofeedback.domain.errors import EmoFeedbackError, FailedPrecondition, ResourceExhausted


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file as a whole or not at all; raises as `write_whole`."""
    write_whole(path, json_bytes(content))


def json_bytes(content: Any) -> bytes:
    """A JSON file's content: indented, with a line feed at its end."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode(errors="backslashreplace")


def write_keeping(path: Path, data: bytes) -> None:
    """Writes a file as a whole; what it held before, where that was something else, is kept beside it.

    Raises:
        As `write_whole` and `set_aside`.
    """
    if path.is_file() and path.read_bytes() != data:
        set_aside(path)
    write_whole(path, data)


def set_aside(path: Path, name: str = "") -> Path | None:
    """Keeps a file, or a folder with something in it, under the first free of `NAME-1`, `NAME-2`, ... beside it.

    Args:
        name: NAME; empty: its own, and of a file `table-1.md`.

    Returns:
        Its place now; None where nothing was there to keep.

    Raises:
        FailedPrecondition: it can't be moved.
    """
    try:
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return None
        stem, suffix = (path.stem, path.suffix) if path.is_file() else (path.name, "")
        kept = next(p for n in count(1) if not (p := path.with_name(f"{name or stem}-{n}{suffix}")).exists())
        path.rename(kept)
    except OSError as error:
        raise FailedPrecondition(f"{path} can't be moved: {error.strerror}") from error
    return kept


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file as a whole or not at all, in a folder that is made where it is missing.

    Raises:
        ResourceExhausted: the disk is full.
        FailedPrecondition: the folder can't be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise explained(error, path) from error


def explained(error: OSError, path: Path) -> EmoFeedbackError:
    """What a failed write means: a full disk, or a folder that can't be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceExhausted(f"the disk is full, {path} could not be written; what was finished before is kept")
    return FailedPrecondition(f"{path} can't be written: {error.strerror}")
