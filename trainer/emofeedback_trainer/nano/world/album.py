"""Rendered scenes as pixels, drawn once and kept on disk, for the models that learn to look."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from emofeedback_trainer.nano.world.numbered import scene_at
from emofeedback_trainer.nano.world.rendering import render

RENDERED_SIZE = 128
"""Half of what the generator paints: what is lost is lost at `SEEN_SIZE` too, and drawing costs a quarter."""
WORN = 0.5
"""Share of the pictures to learn from that get the flaws of generated ones."""
SEEN_SIZE = 112
"""What the judge and the scorer scale a picture to: a whole number of 14-pixel patches."""


def pictures(folder: Path, split: str, count: int, *, worn: float) -> NDArray[np.uint8]:
    """The first `count` scenes of a split, uint8 [count, 3, SEEN_SIZE, SEEN_SIZE], kept in `folder`.

    A share `worn` of them is softened, noisy and compressed, since generated pictures are less clean than drawn ones.
    """
    path = folder / f"{split}-{count}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        shape = (count, 3, SEEN_SIZE, SEEN_SIZE)
        out = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        rng = np.random.default_rng(0)
        for index in range(count):
            picture = render(scene_at(split, index), RENDERED_SIZE)
            out[index] = seen(weathered(picture, rng) if rng.random() < worn else picture)
        out.flush()
        partial.rename(path)
    stored: NDArray[np.uint8] = np.load(path, allow_pickle=False)
    return stored


def seen(picture: Image.Image) -> NDArray[np.uint8]:
    """A picture as the judge's processor scales it, uint8 [3, SEEN_SIZE, SEEN_SIZE]."""
    scaled = picture.resize((SEEN_SIZE, SEEN_SIZE), Image.Resampling.BICUBIC)
    return np.asarray(scaled, np.uint8).transpose(2, 0, 1)


def weathered(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture with the flaws of a generated one: soft, noisy, compressed, slightly off in color."""
    picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.0, 1.3))))
    values = np.asarray(picture, np.float32) * rng.uniform(0.92, 1.08, 3) + rng.uniform(-6, 6)
    values += rng.normal(0.0, rng.uniform(0.0, 9.0), values.shape)
    picture = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=int(rng.integers(45, 95)))
    return Image.open(stream).convert("RGB")


def mirrored(batch: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The batch [B, 3, H, W] with about half of its pictures flipped left to right."""
    flip = rng.random(len(batch)) < 0.5
    return np.where(flip[:, None, None, None], batch[..., ::-1], batch)
