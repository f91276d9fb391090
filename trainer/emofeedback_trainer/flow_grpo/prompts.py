"""What the groups of an iteration are asked for: neutral prompts, and targets all over the plane.

Everything follows from (seed, iteration), so a resumed run goes on with the very batch it would have had. Prompts come
in a new order in every pass over them, none twice in one pass. Targets are stratified: the groups of one iteration
spread evenly over both sides of valence and of arousal.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIDDLE, AffectPoint
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.limits import LIMITS
from emofeedback.storage.texts import read_lines
from emofeedback_trainer.core.condition import Condition
from emofeedback_trainer.evaluation.pairs import is_held_out
from emofeedback_trainer.flow_grpo.config import NANO, FlowGrpoConfig
from emofeedback_trainer.nano.world.captions import neutral_caption
from emofeedback_trainer.nano.world.scenes import PLACES, SUBJECTS, sample_scene

_PROMPTS, _TARGETS, _WINDOWS, _SEEDS = range(4)
"""Random streams of a run, so that one is not moved by another."""
_PHRASINGS = 4


@dataclass(frozen=True, kw_only=True)
class TrainingPrompt:
    """One prompt to train on."""

    prompt: str
    target: AffectPoint | None = None
    """None: drawn anew each time."""


@dataclass(frozen=True, kw_only=True)
class GroupPlan:
    """Everything that one group is painted from."""

    condition: Condition
    window_first: int
    """Index of the first noisy step."""
    seeds: tuple[int, ...]
    """One a sample."""
    start_seed: int | None
    """Of the first noise of all samples; None: each has its own."""


def read_training_prompts(source: str) -> tuple[TrainingPrompt, ...]:
    """The prompts of the nano world that are not held out, or those of a JSON lines file.

    A line of the file is `{"prompt": "...", "valence": 7, "arousal": 3}`; without both numbers its target is drawn.

    Raises:
        InvalidRequest: no such file, or a bad line; the message names it.
    """
    if source == NANO:
        return tuple(
            TrainingPrompt(prompt=_phrasing(subject, place, number))
            for subject in SUBJECTS
            for place in PLACES
            if not is_held_out(subject, place)
            for number in range(_PHRASINGS)
        )
    try:
        lines = list(read_lines(Path(source)))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest.of("prompts", f"{source!r} is neither {NANO!r} nor a readable file") from error
    training_prompts = tuple(_training_prompt(line, f"prompts[{number - 1}]") for number, line in lines)
    if not training_prompts:
        raise InvalidRequest.of("prompts", f"{source} holds no prompt")
    return training_prompts


def plan(training_prompts: tuple[TrainingPrompt, ...], config: FlowGrpoConfig, iteration: int) -> tuple[GroupPlan, ...]:
    """The groups of one iteration. A group has one noise window: samples that were noised at different steps can't be
    compared."""
    seed, groups, gap = config.seed, config.groups, config.target_gap
    strata = np.random.default_rng((seed, _TARGETS, iteration))
    levels = np.stack([strata.permutation(groups) for _ in range(2)], axis=1) + strata.random((groups, 2))
    sides = 2 * levels / groups - 1
    offsets = np.where(sides < 0, -1, 1) * (gap + (SCALE_MAX - SCALE_MIDDLE - gap) * np.abs(sides))
    # Whole numbers: what the generator reads is then exactly what it is rewarded for.
    targets = np.rint(SCALE_MIDDLE + offsets)
    first_windows = np.random.default_rng((seed, _WINDOWS, iteration)).choice(config.sampling.windows, groups)
    return tuple(
        GroupPlan(
            condition=Condition(prompt=wish.prompt, target=wish.target or AffectPoint(*targets[group].tolist())),
            window_first=int(first_windows[group]),
            seeds=tuple(seeds),
            start_seed=start_seed if config.sampling.common_start else None,
        )
        for group in range(groups)
        for wish in [_prompt_at(training_prompts, seed, iteration * groups + group)]
        for start_seed, *seeds in [_seeds(seed, iteration, group, 1 + config.num_generations)]
    )


def _prompt_at(training_prompts: tuple[TrainingPrompt, ...], seed: int, index: int) -> TrainingPrompt:
    """Number `index` of an endless sequence of passes over the prompts, each in an order of its own."""
    passed, place = divmod(index, len(training_prompts))
    order = np.random.default_rng((seed, _PROMPTS, passed)).permutation(len(training_prompts))
    return training_prompts[int(order[place])]


def _seeds(seed: int, iteration: int, group: int, count: int) -> tuple[int, ...]:
    drawn = np.random.default_rng((seed, _SEEDS, iteration, group)).integers(LIMITS.seed, size=count)
    return tuple(drawn.tolist())


def _phrasing(subject: str, place: str, number: int) -> str:
    """One of the ways to name a subject in a place; the plain one most often, as in the base's own captions."""
    rng = np.random.default_rng((SUBJECTS.index(subject), PLACES.index(place), number))
    return neutral_caption(sample_scene(rng, subject=subject, place=place), rng)


def _training_prompt(line: str, where: str) -> TrainingPrompt:
    try:
        entry: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest.of(where, f"is not JSON: {error}") from error
    if not isinstance(entry, dict) or not isinstance(prompt := entry.get("prompt"), str) or not prompt.strip():
        raise InvalidRequest.of(f"{where}.prompt", "must be a text that is not empty")
    if len(prompt) > LIMITS.prompt_characters:
        raise InvalidRequest.of(f"{where}.prompt", f"has {len(prompt)} characters, at most {LIMITS.prompt_characters}")
    numbers = {axis: entry[axis] for axis in ("valence", "arousal") if entry.get(axis) is not None}
    if not numbers:
        return TrainingPrompt(prompt=prompt)
    for axis in ("valence", "arousal"):
        if isinstance(numbers.get(axis), bool) or not isinstance(numbers.get(axis), int | float):
            raise InvalidRequest.of(f"{where}.{axis}", "must be a number, as valence and arousal come together")
    try:
        return TrainingPrompt(
            prompt=prompt, target=AffectPoint(**{axis: float(number) for axis, number in numbers.items()})
        )
    except ValueError as error:
        raise InvalidRequest.of(where, str(error)) from error
