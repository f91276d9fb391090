"""Files that a run adds a line of JSON to, and cuts back to its checkpoint when it goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emofeedback.storage.files import explained, write_whole


def add_line(path: Path, line: Mapping[str, Any]) -> None:
    """Adds a line; raises as `rundir.write_whole`."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(line)) + "\n")
    except OSError as error:
        raise explained(error, path) from error


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines, none where there is no file; the last one may be cut where the run was."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def cut_back(path: Path, key: str, last: int) -> None:
    """Drops the lines whose `key` is above `last`: what they tell of is done anew."""
    kept = [line for line in whole_lines(path) if line[key] <= last]
    write_whole(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
