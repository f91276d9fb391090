"""Files that a run adds a line of JSON to, and cuts back to its checkpoint when it goes on.

Every line counts up under one key (`iteration` or `step`). The run's process writes while others read: half a line at
the end is not there yet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.storage.files import explained, write_whole


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
    try:
        *whole, _ = path.read_text(encoding="utf-8").split("\n")
        lines = [json.loads(line) for line in whole if line]
        if any(not isinstance(line[key], int) for line in lines):
            raise ValueError(f"{key} is not a number")
        return lines
    except FileNotFoundError:
        return []
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise FailedPrecondition(f"{path} can't be read: {error!r}") from error


def cut_back(path: Path, key: str, last: int) -> None:
    """Drops the lines whose `key` is above `last`: what they tell of is done anew. Raises as `read_lines` and
    `storage.files.write_whole`."""
    kept = [line for line in read_lines(path, key) if line[key] <= last]
    write_whole(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
