"""Files that are written as a whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from pathlib import Path
from typing import Any

from emofeedback.domain.errors import EmoFeedbackError, FailedPrecondition, ResourceExhausted


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file as a whole or not at all; raises as `write_whole`."""
    write_whole(
        path,
        (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(errors="backslashreplace"),
    )


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
