"""Real pictures and their captions, as latents: what a student's own are to be taken for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.limits import LIMITS
from emofeedback.generator.pipeline import Models
from emofeedback.observability.console import say
from emofeedback.storage.texts import file_within, read_lines
from emofeedback_trainer.core.dotted import DOTTED, imported
from emofeedback_trainer.distillation.shards import SHARD, shard_path, write_shard


@dataclass(frozen=True, kw_only=True, eq=False)
class CaptionedPicture:
    """A picture of the kind that is to be painted, and a prompt for which it could have been."""

    caption: str
    picture: Callable[[], Image.Image]
    """Opens it; cut to the generator's form and scaled to its size."""


Pictures = Callable[[int], CaptionedPicture]
"""Picture number N; the same number, the same picture."""


def load_pictures(source: str) -> Pictures:
    """`module:function`, or a JSON lines file whose lines come again and again.

    A line: `{"caption": "a dog in the rain", "image": "dog.png"}`; the image lies beside the file.

    Raises:
        InvalidRequest: there is no such source, or a bad line; the message names it.
    """
    path = Path(source)
    if path.suffix == ".jsonl":
        pictures = _of_file(path)
        return lambda number: pictures[number % len(pictures)]
    if not DOTTED.fullmatch(source):
        raise InvalidRequest.of("finish.pictures", f"{source!r} is neither module:function nor a .jsonl file")
    made: Pictures = imported(source, "finish.pictures")
    return made


def encode_pictures(models: Models, pictures: Pictures, count: int, size: tuple[int, int], folder: Path) -> None:
    """Writes the latents of the first pictures, scaled as the sampler's, where they are not in the folder yet.

    Args:
        size: width and height of the generator's pictures, in pixels.

    Raises:
        As `storage.files.write_whole`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, count, SHARD):
        path = shard_path(folder, first)
        if path.exists():
            continue
        say(f"pictures {first + 1} to {min(first + SHARD, count)} of {count} are encoded")
        shard = [pictures(number) for number in range(first, min(first + SHARD, count))]
        write_shard(path, _latents(models, shard, size), [one.caption for one in shard])


@torch.inference_mode()
def _latents(models: Models, pictures: list[CaptionedPicture], size: tuple[int, int]) -> Tensor:
    """float32, shape (pictures, channels, height, width)."""
    autoencoder = models.autoencoder
    rows = []
    for one in pictures:
        fitted = ImageOps.fit(one.picture().convert("RGB"), size)
        pixels = torch.from_numpy(np.array(fitted)).permute(2, 0, 1)[None] / 127.5 - 1
        encoded = autoencoder.encode(pixels.to(models.device, autoencoder.dtype))
        latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
        rows.append((latents.float() - (autoencoder.config.shift_factor or 0.0)) * autoencoder.config.scaling_factor)
    return torch.cat(rows)


def _of_file(path: Path) -> list[CaptionedPicture]:
    try:
        lines = list(read_lines(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest.of("finish.pictures", f"{path} can't be read: {error}") from error
    if not lines:
        raise InvalidRequest.of("finish.pictures", f"{path} is empty")
    return [_of_line(line, path.parent, f"finish.pictures[{number - 1}]") for number, line in lines]


def _of_line(line: str, folder: Path, where: str) -> CaptionedPicture:
    try:
        entry: Any = json.loads(line)
        if not isinstance(entry, dict) or entry.keys() != {"caption", "image"}:
            raise ValueError('needs the keys "caption" and "image", and no others')
        caption, image = entry["caption"], entry["image"]
        if not isinstance(caption, str) or not 0 < len(caption) <= LIMITS.prompt_characters:
            raise ValueError(f"caption must be a text of 1 to {LIMITS.prompt_characters} characters")
        return CaptionedPicture(caption=caption, picture=partial(Image.open, file_within(folder, str(image))))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest.of(where, str(error)) from error
