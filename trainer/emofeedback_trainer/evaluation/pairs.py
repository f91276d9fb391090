"""What policies are measured on: pairs of a neutral prompt and a target that no policy was trained on.

Prompts are the nano world's subjects in places that training leaves out (`is_held_out`), 24 of them. Targets
are a grid over the plane without its middle, whole numbers as the generator reads them. Both are fixed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from emofeedback.domain.affect import SCALE_MIDDLE, AffectPoint
from emofeedback_trainer.core.condition import Condition
from emofeedback_trainer.nano.world.language import core
from emofeedback_trainer.nano.world.scenes import PLACES, SUBJECTS, sample_scene

_LEVELS = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
MIDDLE = AffectPoint(SCALE_MIDDLE, SCALE_MIDDLE)


def is_held_out(subject: str, place: str) -> bool:
    """True for the quarter of the nano world's pairs of subject and place that no policy is trained on.

    Every subject is held out in two places and every place with three subjects.
    """
    return (SUBJECTS.index(subject) + PLACES.index(place)) % 4 == 0


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One prompt and the feeling it is to have."""

    subject: str
    """What the independent judge should see."""
    prompt: str
    """Neutral: subject and place."""
    target: AffectPoint

    @property
    def caption(self) -> str:
        """The prompt with the numeric target, as the generator reads it."""
        return Condition(prompt=self.prompt, target=self.target).caption


def _pairs(turn: int) -> Iterator[Pair]:
    """All 48, every prompt twice; any first few spread over the plane. `turn` brings other targets to the prompts."""
    grid = [AffectPoint(v, a) for v in _LEVELS for a in _LEVELS if (v, a) != (SCALE_MIDDLE, SCALE_MIDDLE)]
    places = [(subject, place) for subject in SUBJECTS for place in PLACES if is_held_out(subject, place)]
    for index in range(len(grid)):
        # Strides that share no factor with the counts: neighbors in this order differ in subject, place and feeling.
        subject, place = places[(index * 5 + turn) % len(places)]
        scene = sample_scene(np.random.default_rng(index), subject=subject, place=place)
        yield Pair(subject=subject, prompt=core(scene), target=grid[index * 43 % len(grid)])


EVALUATION_PAIRS: tuple[Pair, ...] = tuple(_pairs(0))
"""What `evaluate` measures finished policies on."""

PANEL_PAIRS: tuple[Pair, ...] = tuple(_pairs(7))
"""What a run looks at while it learns: the same prompts with other targets, so that a version chosen by these figures
is not chosen by those that it is judged by in the end."""
