"""Latents with their captions, kept in shards so that a cut run goes on.

DIR/000000.safetensors   latents, float16, shape (rows, ...); the captions stand in the header
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from emofeedback.storage.files import write_whole

SHARD = 64
"""Rows of a file."""


@dataclass(frozen=True, eq=False, kw_only=True)
class CaptionedLatents:
    """Latents, and what each of them shows."""

    captions: tuple[str, ...]
    latents: Tensor
    """float16, shape (captions, ...)."""


def missing_shards(folder: Path, rows: int) -> Iterator[tuple[Path, range]]:
    """The files of so many rows that are not there yet, and which rows are theirs; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, rows, SHARD):
        path = folder / f"{first:06d}.safetensors"
        if not path.exists():
            yield path, range(first, min(first + SHARD, rows))


def write_shard(path: Path, latents: Tensor, captions: list[str]) -> None:
    """Writes a file whole, or not at all.

    Raises:
        As `storage.files.write_whole`.
    """
    write_whole(path, save({"latents": latents.half().cpu().contiguous()}, {"captions": json.dumps(captions)}))


def read_shards(folder: Path) -> CaptionedLatents:
    """All rows of a folder."""
    captions: list[str] = []
    latents = []
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            captions += json.loads(file.metadata()["captions"])
            latents.append(file.get_tensor("latents"))
    return CaptionedLatents(captions=tuple(captions), latents=torch.cat(latents))
