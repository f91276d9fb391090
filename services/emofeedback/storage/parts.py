"""What lies in a checkpoint's folder: whether its small files can be read and its weights are whole. No torch needed.

Weights are looked at by their first bytes alone, so folders of many gigabytes take no longer than small ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.storage.texts import parse_json, read_text


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        FailedPrecondition: there is none that can be read.
    """
    try:
        content = parse_json(read_text(file))
    except (OSError, ValueError) as error:
        raise FailedPrecondition(f"{file} can't be read as JSON") from error
    if not isinstance(content, dict):
        raise FailedPrecondition(f"{file} is not a JSON object")
    return content


def check_weights(folder: Path, name: str, part: str = "") -> None:
    """That the files that will be loaded are there and whole: each says in its first bytes how long it is.

    Args:
        folder: the checkpoint's.
        name: of its weights, where they lie in one file; shards are listed in `NAME.index.json`.
        part: the folder in it that holds them; empty: itself.

    Raises:
        FailedPrecondition: a file is missing, or cut off, or no safetensors.
    """
    place = Path(part)
    if not any((folder / place).glob("*.safetensors")):
        raise FailedPrecondition(f"{folder} is not complete: {part or 'it'} holds no weights in safetensors")
    index = folder / place / f"{name}.index.json"
    files = sorted(set(read_object(index).get("weight_map", {}).values())) if index.is_file() else [name]
    for file in (folder / place / each for each in files):
        if not file.is_file():
            raise FailedPrecondition(
                f"{folder} is not complete: {place / file.name} is missing (a variant such as fp16 is not taken)"
            )
        try:
            with safe_open(file, "np"):
                pass
        except (OSError, SafetensorError) as error:
            raise FailedPrecondition(f"{file} is no whole safetensors file, fetch it again: {error}") from error
