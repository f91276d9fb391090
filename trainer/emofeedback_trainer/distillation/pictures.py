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

from emofeedback.domain.limits import LIMITS
from emofeedback.generator.pipeline import Models
from emofeedback.observability.console import say
from emofeedback.storage.texts import file_within
from emofeedback_trainer.core.numbered import load_numbered, opened
from emofeedback_trainer.distillation.shards import missing_shards, write_shard


@dataclass(frozen=True, kw_only=True, eq=False)
class CaptionedPicture:
    """A picture of the kind that is to be painted, and a prompt for which it could have been."""

    caption: str
    picture: Callable[[], Image.Image]
    """Opens it, in RGB; cut to the generator's form and scaled to its size."""


Pictures = Callable[[int], CaptionedPicture]
"""Picture number N; the same number, the same picture."""


def load_pictures(source: str) -> Pictures:
    """`module:function`, or a JSON lines file whose lines come again and again.

    A line: `{"caption": "a dog in the rain", "image": "dog.png"}`; the image lies beside the file.

    Raises:
        InvalidRequest: there is no such source, or a bad line; the message names it.
    """
    return load_numbered(source, "finish.pictures", _of_line)


def encode_pictures(models: Models, pictures: Pictures, count: int, size: tuple[int, int], folder: Path) -> None:
    """Writes the latents of the first pictures, scaled as the sampler's, where they are not in the folder yet.

    Args:
        size: width and height of the generator's pictures, in pixels.

    Raises:
        As `storage.files.write_whole`.
    """
    for path, numbers in missing_shards(folder, count):
        say(f"pictures {numbers[0] + 1} to {numbers[-1] + 1} of {count} are encoded")
        shard = [pictures(number) for number in numbers]
        write_shard(path, _latents(models, shard, size), [one.caption for one in shard])


@torch.inference_mode()
def _latents(models: Models, pictures: list[CaptionedPicture], size: tuple[int, int]) -> Tensor:
    """float32, shape (pictures, channels, height, width)."""
    autoencoder = models.autoencoder
    rows = []
    for one in pictures:
        fitted = ImageOps.fit(one.picture(), size)
        pixels = torch.from_numpy(np.array(fitted)).permute(2, 0, 1)[None] / 127.5 - 1
        encoded = autoencoder.encode(pixels.to(models.device, autoencoder.dtype))
        latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
        rows.append((latents.float() - (autoencoder.config.shift_factor or 0.0)) * autoencoder.config.scaling_factor)
    return torch.cat(rows)


def _of_line(line: str, folder: Path) -> CaptionedPicture:
    entry: Any = json.loads(line)
    if not isinstance(entry, dict) or entry.keys() != {"caption", "image"}:
        raise ValueError('needs the keys "caption" and "image", and no others')
    caption, image = entry["caption"], entry["image"]
    if not isinstance(caption, str) or not 0 < len(caption) <= LIMITS.prompt_characters:
        raise ValueError(f"caption must be a text of 1 to {LIMITS.prompt_characters} characters")
    return CaptionedPicture(caption=caption, picture=partial(opened, file_within(folder, str(image))))
