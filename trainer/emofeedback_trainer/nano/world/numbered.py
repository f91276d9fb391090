"""Numbered scenes: every model trains and is measured on scenes of its own, made anew from a seed and a number."""

import numpy as np
from numpy.typing import NDArray

from emofeedback_trainer.nano.world.rendering import PICTURE_SIZE, render
from emofeedback_trainer.nano.world.scenes import Scene, sample_scene

SPLITS = {
    "autoencoder": 1,
    "generator": 2,
    "critic": 3,
    "judge": 4,
    "scorer": 5,
    "evaluation": 6,
    "witness": 7,
    "latent": 8,
}


def scene_at(split: str, index: int) -> Scene:
    """Scene number `index` of a split; no two splits share scenes but by chance."""
    return sample_scene(np.random.default_rng((SPLITS[split], index)))


def pixels(scene: Scene, size: int = PICTURE_SIZE) -> NDArray[np.uint8]:
    """The rendered scene, uint8, (size, size, 3)."""
    return np.asarray(render(scene, size))
