"""Flow-matching step maths: sigma schedules, Euler steps, classifier-free guidance. Pure, and in float32.

A latent at noise level sigma is `x = (1 - sigma) * image + sigma * noise`; the model predicts the velocity
`noise - image` (Esser et al. 2024, "Scaling Rectified Flow Transformers", section 2), so an image is painted by
following the velocity from sigma 1 to sigma 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

TRAIN_STEPS = 1000
"""Time steps of SD3's training: the transformer's time input is sigma times this."""


def sigma_schedule(steps: int, shift: float) -> Tensor:
    """The noise levels of a sampling of `steps` steps, from 1 down to 0.

    The levels are shifted towards the noisy end, `shift * s / (1 + (shift - 1) * s)` (Esser et al., equation 23).
    Equal to diffusers' FlowMatchEulerDiscreteScheduler, which shifts its lowest level twice: once for the range of
    its training levels, once with all the others.

    Returns:
        float32, shape (steps + 1,), strictly falling, the first 1 and the last 0.
    """
    lowest = _shifted(torch.tensor(1 / TRAIN_STEPS), shift).item()
    levels = torch.linspace(1.0, lowest, steps, dtype=torch.float64)
    return torch.cat([_shifted(levels, shift).float(), torch.zeros(1)])


def level_schedule(levels: Sequence[float], shift: float) -> Tensor:
    """The noise levels of a sampling that stops at given ones, each shifted as in `sigma_schedule`, and at 0.

    Equal to diffusers' `pipeline(..., sigmas=levels)`.

    Args:
        levels: before the shift, strictly falling, the first 1, the last above 0.

    Returns:
        float32, shape (len(levels) + 1,).
    """
    return torch.cat([_shifted(torch.tensor(levels, dtype=torch.float64), shift).float(), torch.zeros(1)])


def _shifted(sigmas: Tensor, shift: float) -> Tensor:
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def guided(unconditional: Tensor, conditional: Tensor, scale: Tensor) -> Tensor:
    """Classifier-free guidance (Ho and Salimans 2022, equation 6), per sample.

    Args:
        unconditional: velocities for the negative prompt, shape (batch, channels, height, width).
        conditional: velocities for the prompt, same shape.
        scale: 1 is the conditional velocity itself, above it exaggerates the prompt; shape (batch,).
    """
    return unconditional + scale.view(-1, 1, 1, 1) * (conditional - unconditional)


def ode_step(latents: Tensor, velocities: Tensor, sigmas: Tensor, next_sigmas: Tensor) -> Tensor:
    """One Euler step of the probability-flow ODE, each sample from its own level to its own next one.

    Args:
        latents: float32, shape (batch, channels, height, width).
        velocities: the model's prediction at `latents`, same shape.
        sigmas: where each sample stands, float32, shape (batch,).
        next_sigmas: where it goes, same shape.
    """
    return latents + (next_sigmas - sigmas).view(-1, 1, 1, 1) * velocities
