"""What a learner reads of a rollout: micro-batches of rows, all of one size.

A row is one noisy step of one sample (Flow-GRPO) or one noise level of its final latent (DiffusionNFT). A short
micro-batch is filled up with copies that weigh nothing: matrix kernels, and so the last bits of a log-probability,
depend on a batch's size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import Conditioning, NoiseWindow
from emofeedback.domain.tensors import to_torch
from emofeedback_trainer.flow_grpo.objective import advantages
from emofeedback_trainer.flow_grpo.types import Rollout, ScoredGroup

_NO_SPREAD = 1e-6
"""A group in which no advantage is larger taught nothing: all its samples earned the same."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Inputs:
    """What the transformer reads, row by row."""

    latents: Tensor
    """float32, shape (rows, channels, height, width)."""
    sigmas: Tensor
    """Noise levels of the latents, shape (rows,)."""
    prompt: tuple[Tensor, Tensor]
    """Tokens, shape (rows, tokens, context width), and pooled vectors, shape (rows, pooled width)."""
    negative: tuple[Tensor, Tensor] | None
    """As `prompt`; None where guidance is off."""
    guidance: Tensor
    """Scale of the guidance, shape (rows,)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class StepRows:
    """Noisy steps, for Flow-GRPO."""

    inputs: Inputs
    window: NoiseWindow
    next_latents: Tensor
    next_sigmas: Tensor
    first_sigmas: Tensor
    """The schedules' second levels, which the SDE puts in the place of the first."""
    log_probabilities: Tensor
    """As the generator recorded them."""
    advantages: Tensor
    weights: Tensor
    """1, or 0 for a row that only fills the batch up."""


@dataclass(frozen=True, eq=False, kw_only=True)
class NoisedRows:
    """Final latents under noise, for DiffusionNFT."""

    inputs: Inputs
    finals: Tensor
    advantages: Tensor
    weights: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class LearnableGroup:
    """A group's tensors, and how good each of its samples is."""

    group: ScoredGroup
    prompt: tuple[Tensor, Tensor]
    """Tokens and pooled vector."""
    negative: tuple[Tensor, Tensor] | None
    sigmas: Tensor
    advantages: Tensor


def rollout_advantages(
    rollout: Rollout, weights: Mapping[str, float], *, over: Literal["group", "batch"]
) -> list[list[float]]:
    """`objective.advantages` of a rollout's samples, a list for each group."""
    rewards = {
        name: torch.tensor([[sample.rewards[name] for sample in group.samples] for group in rollout.groups])
        for name, weight in weights.items()
        if weight
    }
    return advantages(rewards, weights, over=over).tolist()


def learnable_groups(rollout: Rollout, advantages: Sequence[Sequence[float]]) -> list[LearnableGroup]:
    """The groups whose samples differ in what they earned.

    Raises:
        InvalidRequest: groups differ in the kind of their steps or in whether guidance was on.
    """
    kinds = {(group.window.kind, group.window.level, group.started.negative is None) for group in rollout.groups}
    if len(kinds) > 1:
        raise InvalidRequest.of("rollout.groups", "they differ in their window's kind or level, or in their guidance")
    return [
        LearnableGroup(
            group=group,
            prompt=_tensors(group.started.conditioning),
            negative=_tensors(group.started.negative) if group.started.negative else None,
            sigmas=to_torch(group.started.sigmas),
            advantages=torch.tensor(of_group),
        )
        for group, of_group in zip(rollout.groups, advantages, strict=True)
        if not all(abs(advantage) <= _NO_SPREAD for advantage in of_group)
    ]


def step_batches(
    groups: Sequence[LearnableGroup], *, part: int, parts: int, size: int, device: torch.device
) -> Iterator[StepRows]:
    """The noisy steps of every `parts`-th sample of each group, from sample `part` on, `size` rows at a time."""
    rows = [
        (group, sample, step)
        for group in groups
        for sample in range(part, len(group.group.samples), parts)
        for step in range(group.group.window.length)
    ]
    for chosen, weights in _filled(rows, size):
        trajectories = [group.group.samples[sample].trajectory for group, sample, _ in chosen]
        latents = [to_torch(trajectory.latents) for trajectory in trajectories]
        recorded = [to_torch(trajectory.log_probabilities) for trajectory in trajectories]
        steps = [step for _, _, step in chosen]
        levels = [group.group.window.first + step for group, _, step in chosen]
        of_groups = [group for group, _, _ in chosen]
        yield StepRows(
            inputs=_inputs(
                of_groups,
                [latents[row][step] for row, step in enumerate(steps)],
                [group.sigmas[level] for group, level in zip(of_groups, levels, strict=True)],
                device,
            ),
            window=of_groups[0].group.window,
            next_latents=_stacked([latents[row][step + 1] for row, step in enumerate(steps)], device),
            next_sigmas=_stacked(
                [group.sigmas[level + 1] for group, level in zip(of_groups, levels, strict=True)], device
            ),
            first_sigmas=_stacked([group.sigmas[1] for group in of_groups], device),
            log_probabilities=_stacked([recorded[row][step] for row, step in enumerate(steps)], device),
            advantages=_stacked([group.advantages[sample] for group, sample, _ in chosen], device),
            weights=weights.to(device),
        )


def noised_batches(
    groups: Sequence[LearnableGroup],
    *,
    part: int,
    parts: int,
    size: int,
    device: torch.device,
    levels: int,
    seed: tuple[int, ...],
) -> Iterator[NoisedRows]:
    """Final latents of every `parts`-th sample of each group, from sample `part` on, each under noise of `levels`
    different levels of its sampling; what is drawn depends on `seed` and the sample's own seed alone."""
    rows = [
        (group, sample, draw)
        for group in groups
        for sample in range(part, len(group.group.samples), parts)
        for draw in range(levels)
    ]
    for chosen, weights in _filled(rows, size):
        finals, noisy, sigmas = [], [], []
        for group, sample, draw in chosen:
            trajectory = group.group.samples[sample].trajectory
            random = np.random.default_rng((*seed, trajectory.seed))
            level = random.permutation(len(group.sigmas) - 1)[draw]
            final, sigma = to_torch(trajectory.final), group.sigmas[level]
            noise = random.standard_normal((levels, *final.shape), dtype=np.float32)[draw]
            finals.append(final)
            noisy.append((1 - sigma) * final + sigma * torch.from_numpy(noise))
            sigmas.append(sigma)
        yield NoisedRows(
            inputs=_inputs([group for group, _, _ in chosen], noisy, sigmas, device),
            finals=_stacked(finals, device),
            advantages=_stacked([group.advantages[sample] for group, sample, _ in chosen], device),
            weights=weights.to(device),
        )


def _inputs(
    groups: Sequence[LearnableGroup], latents: Sequence[Tensor], sigmas: Sequence[Tensor], device: torch.device
) -> Inputs:
    negatives = [group.negative for group in groups if group.negative]
    return Inputs(
        latents=_stacked(latents, device),
        sigmas=_stacked(sigmas, device),
        prompt=_stacked_pairs([group.prompt for group in groups], device),
        negative=_stacked_pairs(negatives, device) if negatives else None,
        guidance=torch.tensor([group.group.guidance for group in groups], device=device),
    )


def _filled(
    rows: Sequence[tuple[LearnableGroup, int, int]], size: int
) -> Iterator[tuple[list[tuple[LearnableGroup, int, int]], Tensor]]:
    """`rows` in batches of exactly `size`, with the weight of each."""
    for start in range(0, len(rows), size):
        chosen = list(rows[start : start + size])
        weights = (torch.arange(size) < len(chosen)).float()
        yield chosen + chosen[:1] * (size - len(chosen)), weights


def _tensors(conditioning: Conditioning) -> tuple[Tensor, Tensor]:
    return to_torch(conditioning.tokens), to_torch(conditioning.pooled)


def _stacked_pairs(pairs: Sequence[tuple[Tensor, Tensor]], device: torch.device) -> tuple[Tensor, Tensor]:
    return _stacked([first for first, _ in pairs], device), _stacked([second for _, second in pairs], device)


def _stacked(tensors: Sequence[Tensor], device: torch.device) -> Tensor:
    return torch.stack(list(tensors)).to(device)
