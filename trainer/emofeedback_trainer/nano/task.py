"""The nano world as a task: its subjects and places, a quarter of them held out, and its independent judge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from emofeedback.domain.affect import SCALE_MIDDLE, AffectPoint
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback_trainer.core.pairs import Pair, grid, spread_pairs
from emofeedback_trainer.core.task import IndependentJudge, Task, TrainingPrompt
from emofeedback_trainer.nano.world.captions import neutral_caption
from emofeedback_trainer.nano.world.language import WAYS, core, depiction, imagined_scene
from emofeedback_trainer.nano.world.scenes import PLACES, SUBJECTS, sample_scene

_PHRASINGS = 4
"""Prompts of one subject in one place."""
_PANEL_TURN = 7


def is_held_out(subject: str, place: str) -> bool:
    """True for the quarter of the nano world's pairs of subject and place that no policy is trained on.

    Every subject is held out in two places and every place with three subjects.
    """
    return (SUBJECTS.index(subject) + PLACES.index(place)) % 4 == 0


def trained_on() -> list[tuple[str, str]]:
    """Subjects and places that are not held out."""
    return [(subject, place) for subject in SUBJECTS for place in PLACES if not is_held_out(subject, place)]


def plain_prompt(subject: str, place: str) -> str:
    """Subject and place and nothing else: "a dog in a meadow"."""
    return core(sample_scene(np.random.default_rng(0), subject=subject, place=place))


def _tell(pair: Pair, way: int) -> str:
    """A scene of the pair's subject and place near its target, in words, with the target's numbers."""
    place = next(place for place in PLACES if plain_prompt(pair.subject, place) == pair.prompt)
    scene = imagined_scene(pair.target, pair.subject, place, way % WAYS)
    return replace(pair, prompt=depiction(pair.prompt, scene)).caption


def _phrasing(subject: str, place: str, number: int) -> str:
    """One of the ways to name a subject in a place; the plain one most often, as in the base's own captions."""
    rng = np.random.default_rng((SUBJECTS.index(subject), PLACES.index(place), number))
    return neutral_caption(sample_scene(rng, subject=subject, place=place), rng)


def _independent_judge() -> IndependentJudge:
    from emofeedback_trainer.nano.models.independent_judge import load_independent_judge

    return load_independent_judge()


def _panel_pairs() -> tuple[Pair, ...]:
    """Every subject twice, every place three times; neighbors on the plane differ in both."""
    # The strides share no factor with the counts.
    asked = [(SUBJECTS[index * 5 % len(SUBJECTS)], PLACES[index * 3 % len(PLACES)]) for index in range(24)]
    return tuple(
        Pair(subject=subject, prompt=plain_prompt(subject, place), target=target)
        for (subject, place), target in zip(asked, grid((2.0, 3.5, 5.0, 6.5, 8.0)), strict=True)
    )


def _fresh_pairs(count: int = 48, seed: int = 20261128) -> tuple[Pair, ...]:
    """Pairs that nothing was ever tried on: random prompts, targets anywhere but in the middle."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        scene = sample_scene(rng)
        target = rng.uniform(1.5, 8.5, 2).round(1)
        while abs(target - SCALE_MIDDLE).sum() < 1.5:
            target = rng.uniform(1.5, 8.5, 2).round(1)
        point = AffectPoint(float(target[0]), float(target[1]))
        pairs.append(Pair(subject=scene.subject, prompt=core(scene), target=point))
    return tuple(pairs)


def _task() -> Task:
    everywhere = [(subject, place) for subject in SUBJECTS for place in PLACES]
    held_out = [(subject, plain_prompt(subject, place)) for subject, place in everywhere if is_held_out(subject, place)]
    return Task(
        name="held-out pairs of the nano world",
        training=tuple(
            TrainingPrompt(prompt=_phrasing(subject, place, number))
            for subject, place in trained_on()
            for number in range(_PHRASINGS)
        ),
        panel=spread_pairs(held_out, turn=_PANEL_TURN),
        evaluation=spread_pairs(held_out),
        independent_judge=_independent_judge,
        generator=NANO_PROFILE.generator.checkpoint,
        tell=_tell,
    )


TASK = _task()
"""What the embedded generator's policy was trained for."""

PANEL_TASK = replace(TASK, name="the panel of the nano world", evaluation=_panel_pairs())
"""Twenty-four plain prompts all over the plane, on which the loop is tried out; the policy has seen some of them."""

FRESH_TASK = replace(TASK, name="fresh pairs of the nano world", evaluation=_fresh_pairs(), first=100)
"""What the loop was measured on in the end, and never tried out on."""
