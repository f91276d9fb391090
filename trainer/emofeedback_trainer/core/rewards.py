"""Rewards of pictures: how near the feeling is to the target, how well the picture fits the prompt. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Literal, Self

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, AffectPoint
from emofeedback.domain.assessment import Assessment
from emofeedback.profiles.profile import STRICT, NotNegative, Positive, inconsistent

STEP_THRESHOLD = 0.70
"""The paper's tolerance per axis, in points of the 1-9 scale (EmoFeedback^2, section 3.1)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RewardConfig:
    """What is rewarded, and how much of it. A weight counts after its reward was normalized in its group."""

    shape: Literal["step", "continuous"] = "step"
    """The paper's step per axis, or the continuous variant of its ablation, which a group of near misses learns from
    too."""
    threshold: Positive = STEP_THRESHOLD
    """Largest error that the step rewards, in points of the 1-9 scale."""
    valence: NotNegative = 0.5
    """Weight of the valence reward."""
    arousal: NotNegative = 0.5
    """Weight of the arousal reward."""
    alignment: NotNegative = 1.0
    """Weight of the scorer's alignment with the neutral prompt; 0 is a run without it (the paper's Figure 7)."""
    scale_rewards: Literal["group", "batch"] = "group"
    """The standard deviation that an advantage is divided by: of its group (paper) or of the whole batch."""

    @model_validator(mode="after")
    def _rewards_something(self) -> Self:
        if not any(self.weights.values()):
            raise inconsistent("", "has no weight above 0")
        return self

    @property
    def weights(self) -> Mapping[str, float]:
        """By the names of `rewards`."""
        return {key.name: getattr(self, key.name) for key in fields(self) if key.name not in _NO_WEIGHTS}


_NO_WEIGHTS = frozenset({"shape", "threshold", "scale_rewards"})
"""Keys of `RewardConfig` that say how to reward; each of the others is the weight of the reward of its name."""


def rewards(assessment: Assessment, alignment: float, target: AffectPoint, config: RewardConfig) -> Mapping[str, float]:
    """The rewards of one picture, before normalization.

    Args:
        alignment: cosine of the picture with the neutral prompt, in [-1, 1].

    Returns:
        `valence` and `arousal` in [0, 1], `alignment` as it is.
    """

    def reward(error: float) -> float:
        return step_reward(error, config.threshold) if config.shape == "step" else continuous_reward(error)

    return {
        "valence": reward(assessment.valence - target.valence),
        "arousal": reward(assessment.arousal - target.arousal),
        "alignment": alignment,
    }


def step_reward(error: float, threshold: float) -> float:
    """1 where |error| is at most the threshold, else 0 (EmoFeedback^2, section 3.1, per axis)."""
    return float(abs(error) <= threshold)


def continuous_reward(error: float) -> float:
    """1 without an error, falling linearly to 0 over the whole scale."""
    return 1.0 - abs(error) / (SCALE_MAX - SCALE_MIN)
