"""Ways to the same feeling: for any subject, place and target several scenes, each of a family of its own.

A painter that is to vary what it imagines needs to be told one scene at a time. Drawn at random near a target, scenes
would only average; so here a scene follows from target and variation alone.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from emofeedback.domain.affect import AffectPoint
from emofeedback_trainer.nano.world.scenes import Scene, affect, effects, sample_scene

VARIATIONS = 4
_FAMILY = 300
"""Scenes of a subject and place to choose from. With 3,000 the families come out alike, with 100 many miss."""
_FIRST_SEED = 1000
_WASTE = 0.08
"""Points of distance that one point of effect costs: prefers few cues that agree over many that cancel out."""


def imagined_scene(target: AffectPoint, subject: str, place: str, variation: int) -> Scene:
    """The scene of this subject and place, of the variation's family, that comes near the target with few means.

    Neighbors among the targets have neighboring scenes, and all subjects and places nearly the same ones.
    """
    scenes, points, waste = _family(subject, place, variation)
    away = np.abs(points - np.array([target.valence, target.arousal])).sum(axis=1)
    return scenes[int(np.argmin(away + _WASTE * waste))]


@cache
def _family(subject: str, place: str, variation: int) -> tuple[list[Scene], NDArray[np.float64], NDArray[np.float64]]:
    """Scenes, their points [N, 2] and summed absolute effects [N]."""
    rng = np.random.default_rng(_FIRST_SEED + variation)
    scenes = [sample_scene(rng, subject=subject, place=place, layout=0) for _ in range(_FAMILY)]
    points = np.array([(point.valence, point.arousal) for point in map(affect, scenes)])
    waste = np.array([sum(abs(one.d_valence) + abs(one.d_arousal) for one in effects(scene)) for scene in scenes])
    return scenes, points, waste
