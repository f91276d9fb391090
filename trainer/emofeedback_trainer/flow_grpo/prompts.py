"""What the groups of an iteration are asked for: neutral prompts, and targets all over the plane.

Everything follows from (seed, iteration), so a resumed run goes on with the very batch it would have had. Prompts come
in a new order in every pass over them, none twice in one pass. Targets are stratified: the groups of one iteration
spread evenly over both sides of valence and of arousal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIDDLE, AffectPoint
from emofeedback.domain.limits import LIMITS
from emofeedback_trainer.core.condition import Condition
from emofeedback_trainer.core.task import TrainingPrompt
from emofeedback_trainer.flow_grpo.config import FlowGrpoConfig

_PROMPTS, _TARGETS, _WINDOWS, _SEEDS = range(4)
"""Random streams of a run, so that one is not moved by another."""


@dataclass(frozen=True, kw_only=True)
class GroupPlan:
    """Everything that one group is generated from."""

    condition: Condition
    window_first: int
    """Index of the first noisy step."""
    seeds: tuple[int, ...]
    """One a sample."""
    start_seed: int | None
    """Seed of the first noise of all samples; None: each has its own."""


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
            condition=Condition(prompt=asked.prompt, target=asked.target or AffectPoint(*targets[group].tolist())),
            window_first=int(first_windows[group]),
            seeds=tuple(seeds),
            start_seed=start_seed if config.sampling.common_start else None,
        )
        for group in range(groups)
        for asked in [_prompt_at(training_prompts, seed, iteration * groups + group)]
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
