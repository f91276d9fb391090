"""What happens to a checkpoint's files on their way: edited, cut off, lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def edit(file: Path, **changes: Any) -> None:
    """Other values of some keys of a JSON object."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def cut(file: Path) -> None:
    """Without its last byte, as a download that broke off leaves it."""
    file.write_bytes(file.read_bytes()[:-1])


def sharded_with_one_lost(folder: Path) -> None:
    """Its `model.safetensors` becomes one of two shards, of which the other isn't there."""
    index = {"weight_map": {"here": "model.safetensors", "there": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
