"""What reinforcement minimizes: advantages, Flow-GRPO's objective (its ratio clipped, or masked by the divergence), its
KL, DiffusionNFT. Pure, in float32.

Losses are per row. A row is one noisy step of one sample (Flow-GRPO) or one noise level of one (DiffusionNFT), so that
whoever accumulates gradients over micro-batches decides how rows are averaged. Tensors of latents have the shape (rows,
channels, height, width), all others (rows,).

References: Liu et al. 2025, "Flow-GRPO" (arXiv 2505.05470); Wang et al. 2025, "GRPO-Guard" (arXiv 2510.22319) for the
normalized ratio; "Flow-DPPO" (arXiv 2606.11025) for the mask; "Pref-GRPO" (arXiv 2508.20751) for win rates; Zheng et
al. 2025, "DiffusionNFT" (arXiv 2509.16117).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

STD_FLOOR = 1e-4
"""Added to a standard deviation before something is divided by it."""
ADVANTAGE_LIMIT = 5.0
"""Advantages are clamped to plus and minus this."""
_ERROR_FLOOR = 1e-5


def normalized(values: Tensor, *, std: Tensor | None = None) -> Tensor:
    """Values minus their mean, over their standard deviation + 1e-4, both along the last dimension.

    Args:
        values: rewards, shape (..., samples).
        std: divide by this one instead of the values' own; broadcastable to `values`.
    """
    if std is None:
        std = values.std(dim=-1, correction=0, keepdim=True)
    return (values - values.mean(dim=-1, keepdim=True)) / (std + STD_FLOOR)


def win_rates(rewards: Tensor) -> Tensor:
    """Share of its group's other samples that each one beats, a tie being half a win (Pref-GRPO): how much it is better
    by no longer counts, so differences within the judge's error can't be blown up to advantages.

    Args:
        rewards: shape (..., samples), two samples or more.

    Returns:
        In [0, 1], of the same shape; the mean of a group is 1/2.
    """
    better = (rewards.unsqueeze(-1) - rewards.unsqueeze(-2)).sign().sum(dim=-1)
    return 0.5 + 0.5 * better / (rewards.shape[-1] - 1)


def advantages(
    rewards: Mapping[str, Tensor],
    weights: Mapping[str, float],
    *,
    over: Literal["group", "batch"],
    wins: bool = False,
) -> Tensor:
    """How much better than its group each sample did (Flow-GRPO, equation 4), clamped to +-5.

    Every reward is normalized in its group before they are summed: a valence error and a cosine differ in scale.

    Args:
        rewards: by name, shape (groups, samples) each.
        weights: by the same names; a reward without a weight, or with 0, is left out.
        wins: the sum's `win_rates` stand in its place.
        over: whose standard deviation divides the sums: each group's own, as in the paper, or that of the whole batch,
            as in its reference code, which lets groups with a wide spread weigh more.

    Returns:
        Shape (groups, samples).
    """
    sums = torch.stack([weight * normalized(rewards[name]) for name, weight in weights.items() if weight]).sum(dim=0)
    if wins:
        sums = win_rates(sums)
    std = sums.std(correction=0) if over == "batch" else None
    return normalized(sums, std=std).clamp(-ADVANTAGE_LIMIT, ADVANTAGE_LIMIT)


@dataclass(frozen=True, eq=False, kw_only=True)
class PolicyTerms:
    """Flow-GRPO's objective for every row."""

    loss: Tensor
    ratio: Tensor
    """Probability of the step under the policy over that under the old one."""
    clipped: Tensor
    """bool: the ratio is out of its range, or the row is masked."""


def policy_terms(log_ratios: Tensor, advantages: Tensor, clip_range: float) -> PolicyTerms:
    """The clipped surrogate `-min(r A, clip(r, 1 - c, 1 + c) A)` (Flow-GRPO, equation 5).

    Args:
        log_ratios: log-probability under the policy minus that under the old policy, or `normalized_log_ratios`.
        clip_range: c; small, since a log-probability is a mean over all elements of a latent.
    """
    ratio = log_ratios.exp()
    within = ratio.clamp(1 - clip_range, 1 + clip_range)
    loss = torch.maximum(-advantages * ratio, -advantages * within)
    return PolicyTerms(loss=loss, ratio=ratio, clipped=(ratio - 1).abs() > clip_range)


def masked_policy_terms(log_ratios: Tensor, divergences: Tensor, advantages: Tensor, threshold: float) -> PolicyTerms:
    """The surrogate `-r A` without the rows that would lead further away (Flow-DPPO, after its equation for the mask):
    a row is left out where the policy is already further from the old one than the threshold and the row would move it
    on in the direction it went, `A > 0` with `r > 1` or `A < 0` with `r < 1`. What leads back always counts.

    A ratio is one noisy sample of the policies' divergence; of Gaussian steps that divergence is known.

    Args:
        log_ratios: log-probability under the policy minus that under the old policy.
        divergences: `kl_terms` of the policy from the old one, by the step's own noise.
        threshold: largest divergence per latent element, above which rows are left out.
    """
    ratio = log_ratios.exp()
    masked = (divergences.detach() > threshold) & (advantages * (ratio.detach() - 1) > 0)
    return PolicyTerms(loss=torch.where(masked, 0.0, -advantages * ratio), ratio=ratio, clipped=masked)


def normalized_log_ratios(means: Tensor, old_means: Tensor, next_latents: Tensor, scales: Tensor) -> Tensor:
    """Log ratios freed of their bias and of the step's noise scale, so that one clip range fits all steps.

    With a Gaussian step this is GRPO-Guard's `(lp - lp_old + |mu - mu_old|^2 / (2 scale^2)) * scale`, written out:
    `mean((mu - mu_old) (x' - mu_old)) / scale`, in which nothing large cancels.

    Args:
        means: of the step under the policy.
        old_means: under the old one.
        next_latents: x', where the step led.
        scales: standard deviation of the noise that the step added.
    """
    return ((means - old_means) * (next_latents - old_means)).mean(dim=(1, 2, 3)) / scales


def kl_terms(means: Tensor, reference_means: Tensor, std: Tensor) -> Tensor:
    """KL divergence of the step from the reference's, per element: `mean (mu - mu_ref)^2 / (2 std^2)`
    (Flow-GRPO, section 4.2)."""
    return (means - reference_means).square().mean(dim=(1, 2, 3)) / (2 * std.square())


def nft_terms(
    velocities: Tensor,
    old_velocities: Tensor,
    finals: Tensor,
    noisy: Tensor,
    sigmas: Tensor,
    advantages: Tensor,
    *,
    strength: float,
) -> Tensor:
    """DiffusionNFT (equation 5 and section 3.3): flow matching towards what was good, away from what was not.

    From the old and the learned velocity follow an implicit positive policy, `v+ = (1 - b) v_old + b v`, and its
    mirror image, the negative one, `v- = (1 + b) v_old - b v`. Each is asked for the sample's final latent; the
    optimality `r = 1/2 + A / 10`, in [0, 1], says how much of each. Both errors are divided by their own mean absolute
    size, in which no gradient flows, so that every noise level weighs about the same.

    Args:
        velocities: of the learned policy at `noisy`.
        old_velocities: of the policy that generated the samples.
        finals: the samples' final latents.
        noisy: `(1 - sigma) * final + sigma * noise`.
        sigmas: the noise levels.
        advantages: in [-5, 5].
        strength: b, how far the implicit policies are from the old one; above 0.
    """
    optimality = 0.5 + 0.5 * (advantages / ADVANTAGE_LIMIT).clamp(-1, 1)
    step = strength * (velocities - old_velocities)
    positive = _relative_error(old_velocities + step, finals, noisy, sigmas)
    negative = _relative_error(old_velocities - step, finals, noisy, sigmas)
    return (optimality * positive + (1 - optimality) * negative) / strength


def _relative_error(velocities: Tensor, finals: Tensor, noisy: Tensor, sigmas: Tensor) -> Tensor:
    """Squared error of the final latent that the velocities point at, over its mean absolute error."""
    errors = noisy - sigmas.view(-1, 1, 1, 1) * velocities - finals
    size = errors.detach().abs().mean(dim=(1, 2, 3)).clamp(min=_ERROR_FLOOR)
    return errors.square().mean(dim=(1, 2, 3)) / size
