"""From velocities to what is minimized, for one micro-batch: the objectives applied to the rows of a rollout."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from emofeedback.generator.stochastic import cps_moments, log_probability, sde_diffusion, sde_moments
from emofeedback_trainer.flow_grpo.batches import NoisedRows, StepRows
from emofeedback_trainer.flow_grpo.objective import (
    kl_terms,
    masked_policy_terms,
    nft_terms,
    normalized_log_ratios,
    policy_terms,
)


@dataclass(eq=False, kw_only=True)
class Before:
    """Velocities for a micro-batch as they were before the update, shape (rows, channels, height, width)."""

    old: Tensor | None
    """Terms of the policy that generated the rollout. None: not computed. The first step does it by the way, since it
    begins with that very policy; at later ones the generator is believed (`grpo_terms`)."""
    reference: Tensor | None
    """Terms of the base; None where nothing holds the policy to it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Terms:
    """What follows for each row; shape (rows,) each."""

    loss: Tensor
    """Without the divergence."""
    kl: Tensor
    """Divergence from the reference, 0 without one."""
    clipped: Tensor
    """bool."""
    drift: Tensor
    """|log-probability under the old policy here - as the generator recorded it|; 0 where either is not known."""
    deviation: Tensor
    """How far the policy is from the old one: |ratio - 1|, or the largest difference of a velocity."""


def grpo_terms(
    rows: StepRows,
    velocities: Tensor,
    old: Tensor | None,
    reference: Tensor | None,
    *,
    clip_range: float,
    ratio_normalization: bool,
    kl_mask_threshold: float,
) -> Terms:
    """Flow-GRPO on noisy steps; its loss is divided by -dt where the ratio is normalized (GRPO-Guard).

    Args:
        velocities: of the policy.
        old: as in `Before`; None takes the log-probabilities that the generator recorded, of which neither the
            normalized ratio nor the mask can be made.
        reference: as in `Before`.
        kl_mask_threshold: above 0, the mask of `masked_policy_terms` in place of the clip range.
    """
    means, scales = _moments(rows, velocities)
    old_log_probabilities = rows.log_probabilities
    if old is not None:
        old_means, _ = _moments(rows, old)
        old_log_probabilities = log_probability(rows.window.kind, rows.next_latents, old_means, scales)
    if ratio_normalization:
        assert old is not None
        log_ratios = normalized_log_ratios(means, old_means, rows.next_latents, scales)
    else:
        log_ratios = log_probability(rows.window.kind, rows.next_latents, means, scales) - old_log_probabilities
    if kl_mask_threshold:
        assert old is not None
        divergences = kl_terms(means, old_means, scales)
        policy = masked_policy_terms(log_ratios, divergences, rows.advantages, kl_mask_threshold)
    else:
        policy = policy_terms(log_ratios, rows.advantages, clip_range)
    loss = policy.loss / (rows.inputs.sigmas - rows.next_sigmas) if ratio_normalization else policy.loss
    kl = torch.zeros_like(loss)
    if reference is not None:
        reference_means, _ = _moments(rows, reference)
        # The SDE's divergence is taken per unit of time, without sqrt(-dt): steps of every length weigh the same.
        sde = rows.window.kind == "sde"
        std = sde_diffusion(rows.inputs.sigmas, rows.window.level, first_sigma=rows.first_sigmas) if sde else scales
        kl = kl_terms(means, reference_means, std)
    return Terms(
        loss=loss,
        kl=kl,
        clipped=policy.clipped,
        drift=(old_log_probabilities - rows.log_probabilities).abs(),
        deviation=(policy.ratio - 1).abs().detach(),
    )


def diffusion_nft_terms(
    rows: NoisedRows, velocities: Tensor, old: Tensor, reference: Tensor | None, *, strength: float
) -> Terms:
    """DiffusionNFT on noised final latents; the divergence is the velocities' mean squared difference."""
    loss = nft_terms(
        velocities,
        old,
        rows.finals,
        rows.inputs.latents,
        rows.inputs.sigmas,
        rows.advantages,
        strength=strength,
    )
    kl = torch.zeros_like(loss)
    if reference is not None:
        kl = (velocities - reference).square().mean(dim=(1, 2, 3))
    deviation = (velocities.detach() - old).abs().amax(dim=(1, 2, 3))
    nothing = torch.zeros_like(loss)
    return Terms(loss=loss, kl=kl, clipped=nothing.bool(), drift=nothing, deviation=deviation)


def _moments(rows: StepRows, velocities: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the noisy step and scale of its noise."""
    latents, sigmas, level = rows.inputs.latents, rows.inputs.sigmas, rows.window.level
    if rows.window.kind == "cps":
        return cps_moments(latents, velocities, sigmas, rows.next_sigmas, level)
    return sde_moments(latents, velocities, sigmas, rows.next_sigmas, level, first_sigma=rows.first_sigmas)
