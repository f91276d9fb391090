"""How a student learns, whatever it reads: update by update, measured at every checkpoint; and how it paints."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from emofeedback.generator.flow import ode_step
from emofeedback_trainer.core.training_state import TrainingState, cosine, set_rates

_WARMUP = 50
_FLOOR = 0.02
"""Share of the learning rates that is left at the end."""


def learn(
    state: TrainingState, update: Callable[[int], float], error: Callable[[], float], *, updates: int, save_every: int
) -> Iterator[float]:
    """Learns to the last update; gives the error of the averaged weights at every checkpoint. Behind the last one these
    are the models'.

    Args:
        update: does update number N and gives its loss.
        error: of the models as they are, on what was held out.
    """
    losses: list[float] = []
    while state.step < updates:
        losses.append(update(state.step))
        state.average()
        if state.step % save_every == 0 or state.step == updates:
            with state.averaged():
                measured = error()
            state.log(loss=round(float(np.mean(losses)), 5), error=round(measured, 4))
            state.save()
            losses.clear()
            yield measured
    state.settle()


def set_rate(optimizer: torch.optim.Optimizer, update: int, updates: int, *, warmup: int = _WARMUP) -> None:
    """Sets the learning rates of one update of so many."""
    set_rates([optimizer], cosine(update, updates, peak=1.0, floor=_FLOOR, warmup=warmup))


def path(velocities: Callable[[Tensor, Tensor], Tensor], noise: Tensor, sigmas: Tensor) -> list[Tensor]:
    """The latents at every noise level, the first and the last among them.

    Args:
        velocities: of latents at their noise levels, shape (batch,).
        noise: shape (batch, channels, height, width).
        sigmas: noise levels, shape (steps + 1,), falling.
    """
    latents = [noise.to(sigmas.device)]
    for step in range(len(sigmas) - 1):
        here, there = (sigmas[step + ahead].expand(len(noise)) for ahead in (0, 1))
        latents.append(ode_step(latents[-1], velocities(latents[-1], here), here, there))
    return latents
