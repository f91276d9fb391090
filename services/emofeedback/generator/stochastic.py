"""Stochastic steps along the flow: each moves a latent as the ODE step does, adds noise, and so has a probability.

Two kinds of step, both pure and in float32. With `s` the noise level before the step, `s'` after it, `dt = s' - s < 0`,
`x` the latent, `v` the model's velocity at `x`, `a` the noise level of exploration:

- `sde`: the stochastic differential equation with the marginals of the flow's ODE (Liu et al. 2025, "Flow-GRPO",
  arXiv 2505.05470, section 4.2).
- `cps`: coefficient-preserving sampling (Wang and Yu 2025, arXiv 2509.05952): the share of noise in the latent stays
  what the schedule says, so the pictures look no noisier than the ODE's.

What is drawn is `mean + std * noise` for both. Nothing here knows of models, prompts or batches that join and leave.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from emofeedback.domain.generation import NoiseKind


@dataclass(frozen=True, eq=False, kw_only=True)
class Transition:
    """One stochastic step of a batch."""

    latents: Tensor
    """After the step; shape (batch, channels, height, width)."""
    mean: Tensor
    """Where the noise is centered; same shape."""
    std: Tensor
    """Scale of the noise; shape (batch,)."""
    log_probabilities: Tensor
    """See `log_probability`; shape (batch,)."""


def sde_step(
    latents: Tensor,
    velocities: Tensor,
    sigmas: Tensor,
    next_sigmas: Tensor,
    level: float | Tensor,
    noise: Tensor,
    *,
    first_sigma: float | Tensor,
) -> Transition:
    """One step of the stochastic differential equation; `noise` is standard normal, shape of `latents`."""
    mean, std = sde_moments(latents, velocities, sigmas, next_sigmas, level, first_sigma=first_sigma)
    return _transition("sde", mean, std, noise)


def cps_step(
    latents: Tensor,
    velocities: Tensor,
    sigmas: Tensor,
    next_sigmas: Tensor,
    level: float | Tensor,
    noise: Tensor,
) -> Transition:
    """One coefficient-preserving step; `noise` is standard normal, shape of `latents`."""
    mean, std = cps_moments(latents, velocities, sigmas, next_sigmas, level)
    return _transition("cps", mean, std, noise)


def sde_moments(
    latents: Tensor,
    velocities: Tensor,
    sigmas: Tensor,
    next_sigmas: Tensor,
    level: float | Tensor,
    *,
    first_sigma: float | Tensor,
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the stochastic differential equation's step.

    With `d = sde_diffusion(...)`: mean `x (1 + d^2 / (2s) dt) + v (1 + d^2 (1-s) / (2s)) dt`, standard deviation
    `d sqrt(-dt)`.

    Args:
        latents: float32, shape (batch, channels, height, width).
        velocities: the model's prediction at `latents`, same shape.
        sigmas: where each sample stands, in (0, 1], float32, shape (batch,).
        next_sigmas: where it goes, below `sigmas`, same shape.
        level: `a`, above 0; one for all, or shape (batch,).
        first_sigma: the schedule's level after 1; one for all, or shape (batch,).

    Returns:
        The mean, shape of `latents`, and the standard deviation, shape (batch,).
    """
    diffusion = sde_diffusion(sigmas, level, first_sigma=first_sigma)
    dt = next_sigmas - sigmas
    pull = diffusion**2 / (2 * sigmas)
    mean = _each(1 + pull * dt) * latents + _each((1 + pull * (1 - sigmas)) * dt) * velocities
    return mean, diffusion * torch.sqrt(-dt)


def sde_diffusion(sigmas: Tensor, level: float | Tensor, *, first_sigma: float | Tensor) -> Tensor:
    """The diffusion coefficient `a sqrt(s / (1 - s))`: the noise per square root of time. Arguments as `sde_moments`.

    At s = 1 it has no end; there the denominator takes the schedule's next level.

    Returns:
        Shape (batch,).
    """
    bounded = torch.where(sigmas == 1, first_sigma, sigmas)
    return level * torch.sqrt(sigmas / (1 - bounded))


def cps_moments(
    latents: Tensor, velocities: Tensor, sigmas: Tensor, next_sigmas: Tensor, level: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the coefficient-preserving step.

    The predicted image `x - s v` gets the share `1 - s'`; the share `s'` of noise is split between the predicted
    noise `x + (1-s) v` and fresh one, `cos(a pi/2)` and `sin(a pi/2)` of it, whose squares add up to 1.

    Args and returns: as `sde_moments`; `level` is in (0, 1], and 1 replaces all of the noise.
    """
    angle = torch.as_tensor(level, dtype=torch.float32, device=latents.device) * (math.pi / 2)
    image = latents - _each(sigmas) * velocities
    predicted_noise = latents + _each(1 - sigmas) * velocities
    mean = _each(1 - next_sigmas) * image + _each(next_sigmas * torch.cos(angle)) * predicted_noise
    return mean, next_sigmas * torch.sin(angle)


def log_probability(kind: NoiseKind, next_latents: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """How likely a step was, as a mean over the latent's elements, so that its size does not grow with the picture.

    For `sde` the Gaussian log density with scale `std`. For `cps` `-(x' - mean)^2` alone: its authors drop the scale,
    which does not depend on the model.

    Args:
        next_latents: after the step, shape (batch, channels, height, width).
        mean: same shape.
        std: shape (batch,).

    Returns:
        Shape (batch,).
    """
    squares = ((next_latents - mean) ** 2).mean(dim=(1, 2, 3))
    if kind == "cps":
        return -squares
    return -squares / (2 * std**2) - torch.log(std) - math.log(2 * math.pi) / 2


def _transition(kind: NoiseKind, mean: Tensor, std: Tensor, noise: Tensor) -> Transition:
    latents = mean + _each(std) * noise
    return Transition(latents=latents, mean=mean, std=std, log_probabilities=log_probability(kind, latents, mean, std))


def _each(values: Tensor) -> Tensor:
    """One number a sample, ready to multiply its latent."""
    return values.view(-1, 1, 1, 1)
