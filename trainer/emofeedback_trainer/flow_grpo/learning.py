"""What a learner is told and what it tells: its configuration, an update's figures, the error that stops a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from emofeedback.domain.errors import EmoFeedbackError, InvalidRequest

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


@dataclass(frozen=True, kw_only=True)
class LearnerConfig:
    """What is learned and how. Defaults are Flow-GRPO's and EmoFeedback^2's where nothing else is said."""

    rank: int = 32
    alpha: int = 64
    """The adapter's change counts `alpha / rank` times."""
    modules: tuple[str, ...] = ATTENTION
    """Endings of the names of the linear layers that learn."""
    objective: Literal["flow-grpo", "nft"] = "flow-grpo"
    """`nft` reads final latents only, so where the rollout's window lies does not matter to it."""
    learning_rate: float = 3e-4
    weight_decay: float = 1e-4
    max_grad_norm: float = 1.0
    """Largest norm of a gradient."""
    clip_range: float = 1e-5
    """Of the ratio: 1e-5 for a window of two or three steps, 1e-4 for all of them, 3e-6 for the normalized ratio. These
    are for 65,536 latent elements (512 pixels); a mean over fewer varies more, and the range must be wider."""
    ratio_normalization: bool = False
    """GRPO-Guard's ratio: one clip range fits steps of different noise, as moving windows have."""
    beta: float = 0.1
    """Of the divergence from the base (EmoFeedback^2, section 4.1). 0 saves the reference's forwards."""
    nft_beta: float = 1.0
    """How far DiffusionNFT's implicit policies are from the old one."""
    nft_levels: int = 2
    """Noise levels at which DiffusionNFT looks at each final latent: as many forwards as a window of two steps."""
    ema_decay: float = 0.95
    """Of the averaged adapter, per optimizer step: about the last twenty of a run's few hundred."""
    micro_batch: int = 32
    """Rows of one forward. More need more memory; on a CPU they are no faster."""
    optimizer_steps: int = 1
    """Steps in a pass over a rollout, each on its share of every group's samples; 1 is strictly on policy."""
    num_inner_epochs: int = 1
    """Passes over a rollout."""
    ratio_tolerance: float = 1e-6
    """Largest |ratio - 1| at the first step: a tenth of the clip range. The same kernels give 0."""
    seed: int = 0
    """Of the adapter's first weights and DiffusionNFT's noise."""

    def __post_init__(self) -> None:
        for name in ("rank", "alpha", "learning_rate", "max_grad_norm", "clip_range", "nft_beta"):
            self._require(name, getattr(self, name) > 0, "must be above 0")
        for name in ("nft_levels", "micro_batch", "optimizer_steps", "num_inner_epochs"):
            self._require(name, getattr(self, name) >= 1, "must be at least 1")
        for name in ("weight_decay", "beta", "ratio_tolerance", "seed"):
            self._require(name, getattr(self, name) >= 0, "must not be negative")
        self._require("ema_decay", 0 <= self.ema_decay < 1, "must be in [0, 1)")
        self._require("objective", self.objective in ("flow-grpo", "nft"), "must be flow-grpo or nft")
        self._require("modules", bool(self.modules), "must name at least one layer")

    def _require(self, field: str, holds: bool, problem: str) -> None:
        if not holds:
            raise InvalidRequest.of(f"learner.{field}", f"{problem}, it is {getattr(self, field)!r}")


@dataclass(frozen=True, kw_only=True)
class UpdateMetrics:
    """What one update did; means over all rows of all its steps where nothing else is said."""

    loss: float = 0.0
    """With the weighted divergence."""
    kl: float = 0.0
    """Divergence from the reference per latent element; 0 where `beta` is."""
    clip_fraction: float = 0.0
    ratio_deviation: float = 0.0
    """Largest |ratio - 1| at the first step; of DiffusionNFT the largest difference of a velocity from the old one."""
    log_probability_drift: float = 0.0
    """Mean |log p here - log p as the generator recorded it|, before the first step; 0 with DiffusionNFT."""
    gradient_norm: float = 0.0
    """Mean over the steps, before clipping."""
    groups: int
    """Learned from."""
    groups_dropped: int
    """Not learned from, since all their samples earned the same."""
