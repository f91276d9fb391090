"""Personal calibration: how one person's ratings differ from the judge's, as a small monotone map per axis.

EmoFeedback^2 leaves open that people feel differently before the same picture. From ten or more pictures that a person
rated, a map from the judge's scale to that person's is fitted: piecewise linear between three knots, never falling, and
drawn towards the judge where there are few ratings. It is only kept where it predicts ratings that it hasn't seen
better than the judge does. `calibration_store` keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIDDLE, SCALE_MIN, clip_to_scale
from emofeedback.domain.assessment import Assessment, AssessmentOutcome, Distribution
from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.generation import ModelInfo
from emofeedback.judge.certainty import distribution

MINIMUM_IMAGES = 10
"""Fewer ratings can't tell a person's way of rating from chance."""
KNOTS = (SCALE_MIN, SCALE_MIDDLE, SCALE_MAX)
"""Ratings of the judge at which a map is fitted; between them it is linear."""

_PRIOR = np.array([[1 / 3, 1 / 3, 1 / 3], [-1 / 2, 0, 1 / 2], [3**0.5 / 2, -(3**0.5), 3**0.5 / 2]])
"""How a map's values may leave the judge's: up or down, and tilted, as if one more picture had been rated as the judge
rates it; bent, as if three had. Chosen on simulated people: shifted and flat raters are common and ten ratings show
them, a bend needs more."""
_LEAST_SLOPE = 0.1
"""A map never falls and never goes flat, so the order of pictures stays."""

Ratings = NDArray[np.float64]
"""Shape (pictures,), on 1-9."""
Axis = Literal["valence", "arousal"]


@dataclass(frozen=True, kw_only=True)
class AxisCalibration:
    """One person's map of one axis."""

    values: tuple[float, float, float]
    """What the person says where the judge says `KNOTS`."""
    images: int
    """Pictures that it was fitted on."""
    judge_error: float
    """Mean absolute difference between the judge and the person, on 1-9."""
    error: float
    """The same after calibration, each picture predicted by a map that was fitted without it."""
    standard_error: float
    """Standard error of the difference between the two errors."""

    def apply(self, rating: float) -> float:
        """The person's rating where the judge's is `rating`, on 1-9."""
        return clip_to_scale(float(np.interp(rating, KNOTS, self.values)))


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why an axis stays as the judge sees it."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What is known of one person."""

    user: str
    judge: ModelInfo
    """Whose ratings it maps; it says nothing about another model's."""
    valence: AxisCalibration | None
    """None: this axis stays as the judge sees it."""
    arousal: AxisCalibration | None
    created: str
    """UTC, ISO 8601."""

    def apply(self, outcome: AssessmentOutcome) -> AssessmentOutcome:
        """The outcome with this person's valence and arousal, distributions and intervals of both included; dominance
        with its distribution and the emotions with their shares stay the judge's."""
        if not isinstance(outcome, Assessment):
            return outcome
        if self.valence:
            valence = self.valence.apply(outcome.valence)
            over = _mapped_distribution(self.valence, outcome.valence_distribution, valence)
            outcome = replace(outcome, valence=valence, valence_distribution=over)
        if self.arousal:
            arousal = self.arousal.apply(outcome.arousal)
            over = _mapped_distribution(self.arousal, outcome.arousal_distribution, arousal)
            outcome = replace(outcome, arousal=arousal, arousal_distribution=over)
        return outcome

    def to_json(self) -> dict[str, Any]:
        """The content of the person's file."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Calibration:
        """The calibration that `to_json` wrote.

        Raises:
            LookupError, TypeError, ValueError: it is not such a content.
        """
        return cls(
            user=str(content["user"]),
            judge=ModelInfo(**content["judge"]),
            valence=_axis_from_json(content["valence"]),
            arousal=_axis_from_json(content["arousal"]),
            created=str(content["created"]),
        )


def calibrated(user: str, judge: ModelInfo, fits: Mapping[Axis, AxisCalibration | Refusal]) -> Calibration:
    """A person's calibration of today.

    Raises:
        FailedPrecondition: every axis was refused; the message has the reasons.
    """
    kept = {axis: fit for axis, fit in fits.items() if isinstance(fit, AxisCalibration)}
    if not kept:
        reasons = "; ".join(f"{axis}: {fit.reason}" for axis, fit in fits.items() if isinstance(fit, Refusal))
        raise FailedPrecondition(f"no calibration for {user}: {reasons}")
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return Calibration(
        user=user, judge=judge, valence=kept.get("valence"), arousal=kept.get("arousal"), created=created
    )


def fit_axis(judged: Ratings, rated: Ratings) -> AxisCalibration | Refusal:
    """A person's map of one axis, or why there is none.

    Kept where its gain, the fall of the mean absolute error under leave-one-out cross-validation, is larger than the
    gain's standard error.

    Args:
        judged: the judge's ratings.
        rated: the person's ratings of the same pictures.
    """
    count = len(judged)
    if count < MINIMUM_IMAGES:
        return Refusal(reason=f"{count} pictures are rated, at least {MINIMUM_IMAGES} are needed")
    others = ~np.eye(count, dtype=bool)
    predicted = np.array([_mapped(fit_values(judged[o], rated[o]), judged[i]) for i, o in enumerate(others)])
    before, after = np.abs(judged - rated), np.abs(predicted - rated)
    gain = float(np.mean(before - after))
    standard_error = float(np.std(before - after, ddof=1) / np.sqrt(count))
    if gain <= standard_error:
        return Refusal(
            reason=f"the cross-validated error would go from {before.mean():.2f} to {after.mean():.2f}, no gain beyond "
            f"its standard error of {standard_error:.2f}: the judge sees these pictures as this person does, or the "
            "ratings follow no pattern that it can learn"
        )
    low, middle, high = fit_values(judged, rated).tolist()
    return AxisCalibration(
        values=(low, middle, high),
        images=count,
        judge_error=float(before.mean()),
        error=float(after.mean()),
        standard_error=standard_error,
    )


def fit_values(judged: Ratings, rated: Ratings) -> Ratings:
    """The map's values at `KNOTS`: least squares with the prior, under the least slope. Shape (3,).

    With three values only two slopes can be held at the least, so the four cases are solved and the best one that
    keeps both is taken; that is the constrained optimum.
    """
    knots = np.array(KNOTS)
    shares = np.stack([np.interp(judged, knots, corner) for corner in np.eye(len(knots))], axis=1)
    rises = np.tril(np.ones((len(knots), len(knots))))  # values = rises @ (first value, rise, rise)
    system = np.concatenate([shares, _PRIOR]) @ rises
    wanted = np.concatenate([rated, _PRIOR @ knots])
    least = _LEAST_SLOPE * np.diff(knots)
    best, smallest = knots, np.inf
    for held in [held for size in range(3) for held in combinations((1, 2), size)]:
        free = [index for index in range(3) if index not in held]
        solution = np.zeros(3)
        solution[list(held)] = [least[index - 1] for index in held]
        solution[free] = np.linalg.lstsq(system[:, free], wanted - system @ solution, rcond=None)[0]
        loss = float(np.sum((system @ solution - wanted) ** 2))
        if loss < smallest and np.all(solution[1:] >= least - 1e-9):
            best, smallest = rises @ solution, loss
    return best


def _mapped(values: Ratings, rating: float) -> float:
    return clip_to_scale(float(np.interp(rating, KNOTS, values)))


def _mapped_distribution(axis: AxisCalibration, judged: Distribution | None, rating: float) -> Distribution | None:
    """The distribution of the person's ratings; its interval holds `rating`, as the judge's held what became it."""
    if judged is None:
        return None
    shares: dict[float, float] = {}
    for step, share in enumerate(judged.shares):
        place = axis.apply(SCALE_MIN + step)
        shares[place] = shares.get(place, 0.0) + share
    over = distribution(shares, rating)
    return replace(over, low=axis.apply(judged.low), high=axis.apply(judged.high))


def _axis_from_json(content: Mapping[str, Any] | None) -> AxisCalibration | None:
    if content is None:
        return None
    low, middle, high = map(float, content["values"])
    fit = AxisCalibration(**{**content, "values": (low, middle, high)})
    if not low < middle < high:
        raise ValueError(f"values are {fit.values}, they must rise")
    return fit
