"""What a learner is told and what it tells: its configuration, an update's figures, the error that stops a run."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from emofeedback.domain.errors import EmoFeedbackError
from emofeedback.profiles.profile import STRICT, Count, NotNegative, Positive, inconsistent

ATTENTION: tuple[str, ...] = (
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "add_q_proj",
    "add_k_proj",
    "add_v_proj",
    "to_add_out",
)
"""The linear layers of SD3's joint attention, for the image and for the text."""

TEXT_SIDE: tuple[str, ...] = (
    "add_k_proj",
    "add_v_proj",
    "add_q_proj",
    "context_embedder",
    "text_embedder.linear_1",
    "text_embedder.linear_2",
)
"""The linear layers through which the text comes in: an adapter there changes what a prompt means, not how to paint."""


class TrainingIntegrityError(EmoFeedbackError):
    """What is learned is not what it should be; going on would only look like training."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LearnerConfig:
    """What is learned and how. Defaults are Flow-GRPO's and EmoFeedback^2's where nothing else is said."""

    rank: Count = 32
    """Rank of the LoRA adapter."""
    lora_alpha: Count = 64
    """The adapter's change counts `lora_alpha / rank` times."""
    target_modules: Annotated[tuple[str, ...], Field(min_length=1)] = ATTENTION
    """Endings of the names of the linear layers that learn."""
    objective: Literal["flow-grpo", "nft"] = "flow-grpo"
    """`nft` reads final latents only, so where the rollout's window lies does not matter to it."""
    learning_rate: Positive = 3e-4
    """AdamW's."""
    weight_decay: NotNegative = 1e-4
    """AdamW's."""
    max_grad_norm: Positive = 1.0
    """A gradient whose norm is larger is scaled down to it."""
    clip_range: Positive = 1e-5
    """How far the ratio may go from 1: 1e-5 for a window of two or three steps, 1e-4 for all of them, 3e-6 for the
    normalized ratio. These are for 65,536 latent elements (512 pixels); a mean over fewer varies more, and the range
    must be wider."""
    ratio_normalization: bool = False
    """GRPO-Guard's ratio: one clip range fits steps of different noise, as moving windows have."""
    kl_mask_threshold: NotNegative = 0.0
    """Flow-DPPO's trust region in place of the clip range: where the policy is further from the old one than this (KL
    divergence of the step per latent element), rows that would lead on are left out. Its authors have 1e-5 for 65,536
    latent elements, .66 nats of a whole latent. 0: the ratio is clipped."""
    beta: NotNegative = 0.1
    """Weight of the divergence from the base (EmoFeedback^2, section 4.1). 0 saves the reference's forwards."""
    nft_beta: Positive = 1.0
    """How far DiffusionNFT's implicit policies are from the old one."""
    nft_levels: Count = 2
    """Noise levels at which DiffusionNFT looks at each final latent: as many forwards as a window of two steps."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Decay of the averaged adapter, per optimizer step: about the last twenty of a run's few hundred."""
    micro_batch: Count = 32
    """Most rows of one forward. More need more memory; on a CPU they are no faster."""
    activation_gib: NotNegative = 0.0
    """GiB that one forward may keep for its way back, beside the weights: it has as few rows of `micro_batch` as that
    takes, by what a row keeps. 0 is no limit."""
    gradient_checkpointing: bool = False
    """Keep only what goes in and out of each transformer block and compute the rest again on the way back: a tenth of
    the memory or less, for one more forward."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Torch threads of an update on a CPU; 0 leaves those of the process, which an engine in it may have set to one.
    More than there are idle cores make it slower."""
    optimizer_steps: Count = 1
    """Steps in a pass over a rollout, each on its share of every group's samples; 1 is strictly on policy."""
    num_inner_epochs: Count = 1
    """Passes over a rollout."""
    ratio_tolerance: NotNegative = 1e-6
    """Largest |ratio - 1| at the first step: a tenth of the clip range. The same kernels give 0. Where the first step's
    log-probabilities are no further from the generator's, later steps take the generator's as they are."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the adapter's first weights and of DiffusionNFT's noise."""

    @model_validator(mode="after")
    def _one_trust_region(self) -> Self:
        if self.kl_mask_threshold and self.ratio_normalization:
            raise inconsistent("kl_mask_threshold", "can't be had with ratio_normalization: the ratio is not clipped")
        if self.kl_mask_threshold and self.objective != "flow-grpo":
            raise inconsistent("kl_mask_threshold", f"is for flow-grpo, objective is {self.objective!r}")
        return self

    @property
    def needs_old_means(self) -> bool:
        """Whether every row needs what the old policy says of it, and not its log-probability alone."""
        return self.objective == "nft" or self.ratio_normalization or self.kl_mask_threshold > 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class UpdateMetrics:
    """What one update did; means over all rows of all its steps where nothing else is said."""

    loss: float = 0.0
    """The objective, with the weighted divergence."""
    kl: float = 0.0
    """Divergence from the reference per latent element; 0 where `beta` is."""
    clip_fraction: float = 0.0
    """Share of the rows whose ratio is out of the clip range, or that are masked."""
    ratio_deviation: float = 0.0
    """Largest |ratio - 1| at the first step; with DiffusionNFT the largest difference of a velocity
    from the old one."""
    log_probability_drift: float = 0.0
    """Mean |log p here - log p as the generator recorded it| of the first step's rows; 0 with DiffusionNFT."""
    gradient_norm: float = 0.0
    """Norm of the gradient before clipping, mean over the steps."""
    groups: int
    """Groups that were learned from."""
    groups_dropped: int
    """Groups that were not learned from, since all their samples earned the same."""
