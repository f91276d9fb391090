"""The maths of step distillation: one step of the student over each window of the teacher's path. Pure.

The student is to go from one of its noise levels to the next in one step, where the teacher took several, guided ones
(progressive distillation, Salimans and Ho 2022; with windows of one path, PeRFlow, Yan et al. 2024). The path of a
guided ODE is fixed by its noise, so the student regresses on what really was painted, without a critic.
"""

from __future__ import annotations

import torch
from torch import Tensor


def window_velocities(states: Tensor, ends: Tensor, sigmas: Tensor) -> Tensor:
    """The velocities with which one Euler step leads from `states` to where the teacher was at each window's end.

    Args:
        states: shape (batch, windows, channels, height, width), where the student stands at the windows' beginnings.
        ends: same shape, the teacher's latents at the windows' ends.
        sigmas: noise levels, shape (windows + 1,), falling.
    """
    return (ends - states) / (sigmas[1:] - sigmas[:-1]).view(1, -1, 1, 1, 1)


def window_loss(velocities: Tensor, wanted: Tensor, sigmas: Tensor) -> Tensor:
    """Mean squared difference of the latents that the steps lead to, relative to a step of mean length.

    Args:
        velocities: the student's, shape (batch, windows, channels, height, width).
        wanted: same shape, see `window_velocities`.
        sigmas: noise levels, shape (windows + 1,), falling.
    """
    return (window_weights(sigmas) * (velocities - wanted).square().mean((0, 2, 3, 4))).mean()


def window_weights(sigmas: Tensor) -> Tensor:
    """How much a squared difference of velocities counts in each window: as what it moves the latents by, mean 1.

    Args:
        sigmas: noise levels, shape (windows + 1,), falling.
    """
    lengths = (sigmas[:-1] - sigmas[1:]).square()
    return lengths / lengths.mean()


def relative_error(painted: Tensor, wanted: Tensor) -> float:
    """Root mean square of the difference, as a share of that of `wanted` around its mean."""
    spread = (wanted - wanted.mean()).square().mean().sqrt()
    return float((painted - wanted).square().mean().sqrt() / spread)


def ordered(count: int, seed: int, update: int, batch: int) -> Tensor:
    """Which trajectories an update learns from: passes over all of them, each in an order of its own.

    Returns:
        int64, shape (batch,).
    """
    places = range(update * batch, (update + 1) * batch)
    orders = {passed: _order(count, seed, passed) for passed in {place // count for place in places}}
    return torch.stack([orders[place // count][place % count] for place in places])


def _order(count: int, seed: int, passed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + passed))
