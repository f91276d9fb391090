"""What a learner reads of a rollout: micro-batches of rows.

A row is one noisy step of one sample (Flow-GRPO) or one noise level of its final latent (DiffusionNFT).

They are made once an update and read one to four times. Matrix kernels, and so the last bits of a log-probability,
depend on a batch's size; so whatever is compared with each other is computed from the same micro-batch. A prompt's
encoding is the largest part of a row by far, so rows point at their group's instead of holding a copy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import Conditioning, NoiseWindow
from emofeedback.domain.tensors import to_torch
from emofeedback_trainer.core.rewards import RewardConfig
from emofeedback_trainer.flow_grpo.objective import advantages
from emofeedback_trainer.flow_grpo.types import Rollout, ScoredGroup

_NO_SPREAD = 1e-6
"""A group in which no advantage is larger taught nothing: all its samples earned the same."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Encodings:
    """The groups' prompts as the transformer reads them, on its device; shared by all rows."""

    prompt: tuple[Tensor, Tensor]
    """Tokens, shape (groups, tokens, context width), and pooled vectors, shape (groups, pooled width)."""
    negative: tuple[Tensor, Tensor] | None
    """As `prompt`; None where guidance is off."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Inputs:
    """What the transformer reads, row by row."""

    latents: Tensor
    """float32, shape (rows, channels, height, width)."""
    sigmas: Tensor
    """Noise levels of the latents, shape (rows,)."""
    guidance: Tensor
    """Scale of the guidance, shape (rows,)."""
    groups: Tensor
    """int64: which of the encodings is each row's, shape (rows,)."""
    encodings: Encodings

    def repeated(self, times: int) -> Inputs:
        """The same rows so many times."""
        return Inputs(
            latents=torch.cat([self.latents] * times),
            sigmas=torch.cat([self.sigmas] * times),
            guidance=torch.cat([self.guidance] * times),
            groups=torch.cat([self.groups] * times),
            encodings=self.encodings,
        )

    @property
    def prompt(self) -> tuple[Tensor, Tensor]:
        """Tokens, shape (rows, tokens, context width), and pooled vectors, shape (rows, pooled width)."""
        tokens, pooled = self.encodings.prompt
        return tokens[self.groups], pooled[self.groups]

    @property
    def negative(self) -> tuple[Tensor, Tensor] | None:
        """As `prompt`; None where guidance is off."""
        if self.encodings.negative is None:
            return None
        tokens, pooled = self.encodings.negative
        return tokens[self.groups], pooled[self.groups]


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


@dataclass(frozen=True, eq=False, kw_only=True)
class NoisedRows:
    """Final latents under noise, for DiffusionNFT."""

    inputs: Inputs
    finals: Tensor
    advantages: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class LearnableGroup:
    """A group's tensors, and how good each of its samples is."""

    group: ScoredGroup
    sigmas: Tensor
    advantages: Tensor

    @cached_property
    def latents(self) -> list[Tensor]:
        """Every sample's, shape (noisy steps + 1, channels, height, width)."""
        return [to_torch(sample.trajectory.latents) for sample in self.group.samples]

    @cached_property
    def log_probabilities(self) -> list[Tensor]:
        """Every sample's, as the generator recorded them, shape (noisy steps,)."""
        return [to_torch(sample.trajectory.log_probabilities) for sample in self.group.samples]

    @cached_property
    def finals(self) -> list[Tensor]:
        """Every sample's, shape (channels, height, width)."""
        return [to_torch(sample.trajectory.final) for sample in self.group.samples]


def rollout_advantages(rollout: Rollout, config: RewardConfig) -> list[list[float]]:
    """`objective.advantages` of a rollout's samples, a list for each group."""
    rewards = {
        name: torch.tensor([[sample.rewards[name] for sample in group.samples] for group in rollout.groups])
        for name, weight in config.weights.items()
        if weight
    }
    return advantages(rewards, config.weights, over=config.scale_rewards, wins=config.win_rate).tolist()


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
            sigmas=to_torch(group.started.sigmas),
            advantages=torch.tensor(of_group),
        )
        for group, of_group in zip(rollout.groups, advantages, strict=True)
        if not all(abs(advantage) <= _NO_SPREAD for advantage in of_group)
    ]


def step_batches(
    groups: Sequence[LearnableGroup], *, parts: int, size: int, device: torch.device
) -> list[list[StepRows]]:
    """The noisy steps of the groups' samples in as few micro-batches of at most `size` rows as hold them, all about as
    large; a list for each part, which holds every `parts`-th sample of each group."""
    encodings = _encodings(groups, device)

    def batch(chosen: Sequence[_Row]) -> StepRows:
        of_groups = [groups[row.group] for row in chosen]
        levels = [group.group.window.first + row.step for group, row in zip(of_groups, chosen, strict=True)]
        latents = [group.latents[row.sample] for group, row in zip(of_groups, chosen, strict=True)]
        recorded = [group.log_probabilities[row.sample] for group, row in zip(of_groups, chosen, strict=True)]
        return StepRows(
            inputs=_inputs(
                groups,
                chosen,
                [latent[row.step] for latent, row in zip(latents, chosen, strict=True)],
                [group.sigmas[level] for group, level in zip(of_groups, levels, strict=True)],
                encodings,
                device,
            ),
            window=of_groups[0].group.window,
            next_latents=_stacked([latent[row.step + 1] for latent, row in zip(latents, chosen, strict=True)], device),
            next_sigmas=_stacked(
                [group.sigmas[level + 1] for group, level in zip(of_groups, levels, strict=True)], device
            ),
            first_sigmas=_stacked([group.sigmas[1] for group in of_groups], device),
            log_probabilities=_stacked([one[row.step] for one, row in zip(recorded, chosen, strict=True)], device),
            advantages=_advantages(groups, chosen, device),
        )

    lengths = [group.group.window.length for group in groups]
    return [[batch(some) for some in _shares(_rows(groups, lengths, part, parts), size)] for part in range(parts)]


def noised_batches(
    groups: Sequence[LearnableGroup],
    *,
    parts: int,
    size: int,
    device: torch.device,
    levels: int,
    seed: tuple[int, ...],
) -> list[list[NoisedRows]]:
    """Final latents of the groups' samples, each under noise of `levels` different levels of its sampling; batches and
    parts are those of `step_batches`. What is drawn depends on `seed` and the sample's own seed alone."""
    encodings = _encodings(groups, device)

    def batch(chosen: Sequence[_Row]) -> NoisedRows:
        finals, noisy, sigmas = [], [], []
        for row in chosen:
            group = groups[row.group]
            random = np.random.default_rng((*seed, group.group.samples[row.sample].trajectory.seed))
            level = random.permutation(len(group.sigmas) - 1)[row.step]
            final, sigma = group.finals[row.sample], group.sigmas[level]
            noise = random.standard_normal((levels, *final.shape), dtype=np.float32)[row.step]
            finals.append(final)
            noisy.append((1 - sigma) * final + sigma * torch.from_numpy(noise))
            sigmas.append(sigma)
        return NoisedRows(
            inputs=_inputs(groups, chosen, noisy, sigmas, encodings, device),
            finals=_stacked(finals, device),
            advantages=_advantages(groups, chosen, device),
        )

    lengths = [levels] * len(groups)
    return [[batch(some) for some in _shares(_rows(groups, lengths, part, parts), size)] for part in range(parts)]


def first_inputs(groups: Sequence[LearnableGroup], device: torch.device) -> Inputs:
    """What the transformer reads of one row, to try it out on: the first group's first sample, finished."""
    first = groups[0]
    row = [_Row(0, 0, 0)]
    return _inputs(groups, row, [first.finals[0]], [first.sigmas[0]], _encodings(groups, device), device)


class _Row(NamedTuple):
    """Where a row comes from, by index."""

    group: int
    sample: int
    step: int
    """A noisy step of the window, or a draw of a noise level."""


def _rows(groups: Sequence[LearnableGroup], lengths: Sequence[int], part: int, parts: int) -> list[_Row]:
    return [
        _Row(number, sample, step)
        for number, (group, length) in enumerate(zip(groups, lengths, strict=True))
        for sample in range(part, len(group.group.samples), parts)
        for step in range(length)
    ]


def _shares(rows: Sequence[_Row], size: int) -> Iterator[Sequence[_Row]]:
    """`rows` in as few batches of at most `size` as hold them, which differ by one row at most."""
    number = math.ceil(len(rows) / size)
    ends = [len(rows) * part // number for part in range(number + 1)]
    yield from (rows[start:end] for start, end in pairwise(ends))


def _encodings(groups: Sequence[LearnableGroup], device: torch.device) -> Encodings:
    started = [group.group.started for group in groups]
    negatives = [one.negative for one in started if one.negative]
    return Encodings(
        prompt=_stacked_pairs([one.conditioning for one in started], device),
        negative=_stacked_pairs(negatives, device) if negatives else None,
    )


def _inputs(
    groups: Sequence[LearnableGroup],
    chosen: Sequence[_Row],
    latents: Sequence[Tensor],
    sigmas: Sequence[Tensor],
    encodings: Encodings,
    device: torch.device,
) -> Inputs:
    return Inputs(
        latents=_stacked(latents, device),
        sigmas=_stacked(sigmas, device),
        guidance=torch.tensor([groups[row.group].group.guidance for row in chosen], device=device),
        groups=torch.tensor([row.group for row in chosen], device=device),
        encodings=encodings,
    )


def _advantages(groups: Sequence[LearnableGroup], chosen: Sequence[_Row], device: torch.device) -> Tensor:
    return _stacked([groups[row.group].advantages[row.sample] for row in chosen], device)


def _stacked_pairs(conditionings: Sequence[Conditioning], device: torch.device) -> tuple[Tensor, Tensor]:
    tokens, pooled = zip(*((to_torch(one.tokens), to_torch(one.pooled)) for one in conditionings), strict=True)
    return _stacked(tokens, device), _stacked(pooled, device)


def _stacked(tensors: Sequence[Tensor], device: torch.device) -> Tensor:
    return torch.stack(list(tensors)).to(device)
