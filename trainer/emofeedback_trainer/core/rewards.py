"""Rewards of pictures: how near the feeling is to the target, how well the picture fits the prompt, and what else a
function of one's own finds in it."""

from __future__ import annotations

import dataclasses
import functools
import math
import traceback
from collections.abc import Callable, Mapping
from typing import Literal, Self

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, AffectPoint
from emofeedback.domain.assessment import Assessment
from emofeedback.domain.errors import InvalidRequest
from emofeedback.profiles.profile import STRICT, NotNegative, Positive, inconsistent
from emofeedback_trainer.core.dotted import DOTTED, imported_function

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
    function: str = ""
    """Your own reward: `module:function`, which takes a `RewardedImage` and returns a number; empty: none."""
    own: NotNegative = 0.0
    """Weight of your own reward."""
    scale_rewards: Literal["group", "batch"] = "group"
    """The standard deviation that an advantage is divided by: of its group (paper) or of the whole batch."""
    win_rate: bool = False
    """Count how many of its group's other pictures one beats, and not by how much (Pref-GRPO, arXiv 2508.20751)."""

    @model_validator(mode="after")
    def _rewards_something(self) -> Self:
        if not any(self.weights.values()):
            raise inconsistent("", "has no weight above 0")
        if self.own and not self.function:
            raise inconsistent("function", f"is missing, own weighs {self.own:g}: name the reward as module:function")
        if self.function and not self.own:
            raise inconsistent("own", f"is 0, so {self.function!r} would count for nothing: give it a weight")
        return self

    @property
    def weights(self) -> Mapping[str, float]:
        """By the names of `rewards`."""
        hows = _NO_WEIGHTS if self.function else {*_NO_WEIGHTS, "own"}
        return {key.name: getattr(self, key.name) for key in dataclasses.fields(self) if key.name not in hows}


_NO_WEIGHTS = frozenset({"shape", "threshold", "function", "scale_rewards", "win_rate"})
"""Keys of `RewardConfig` that say how to reward; each of the others is the weight of the reward of its name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RewardedImage:
    """What a reward may look at."""

    image: bytes = dataclasses.field(repr=False)
    """A PNG."""
    prompt: str
    """The neutral prompt: what it should show."""
    target: AffectPoint
    """What it should make people feel."""
    assessment: Assessment
    """What the judge says that it does."""
    alignment: float
    """Cosine of the picture with the neutral prompt, in [-1, 1]."""


OwnReward = Callable[[RewardedImage], float]
"""A reward of one picture; more is better, on any scale: it is normalized in its group. Called in threads, one for each
group that is under way."""


def rewards(seen: RewardedImage, config: RewardConfig) -> Mapping[str, float]:
    """The rewards of one picture, before normalization.

    Returns:
        `valence` and `arousal` in [0, 1], `alignment` as it is, and where the configuration names a function, what that
        returns as `own`.

    Raises:
        InvalidRequest: as `load_reward`, or the function raises or does not return a finite number.
    """

    def reward(error: float) -> float:
        return step_reward(error, config.threshold) if config.shape == "step" else continuous_reward(error)

    earned = {
        "valence": reward(seen.assessment.valence - seen.target.valence),
        "arousal": reward(seen.assessment.arousal - seen.target.arousal),
        "alignment": seen.alignment,
    }
    return {**earned, "own": _own_reward(config.function, seen)} if config.function else earned


@functools.cache
def load_reward(source: str) -> OwnReward:
    """A reward by `module:function`, as Python finds modules: installed, or in PYTHONPATH.

    Raises:
        InvalidRequest: there is none, under `rewards.function`.
    """
    if not DOTTED.fullmatch(source):
        raise InvalidRequest.of(_FUNCTION, f"{source!r} is not of the form module:function")
    return imported_function(source, _FUNCTION)


_FUNCTION = "rewards.function"


def _own_reward(source: str, seen: RewardedImage) -> float:
    """What a function that is not ours says, checked."""
    function = load_reward(source)
    try:
        earned = function(seen)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename}, line {last.lineno}"
        raise InvalidRequest.of(_FUNCTION, f"{source!r} raised {type(error).__name__}: {error} ({where})") from error
    try:
        number = float(earned)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidRequest.of(_FUNCTION, f"{source!r} returned {earned!r}, it must return a finite number")
    return number


def step_reward(error: float, threshold: float) -> float:
    """1 where |error| is at most the threshold, else 0 (EmoFeedback^2, section 3.1, per axis)."""
    return float(abs(error) <= threshold)


def continuous_reward(error: float) -> float:
    """1 without an error, falling linearly to 0 over the whole scale."""
    return 1.0 - abs(error) / (SCALE_MAX - SCALE_MIN)
