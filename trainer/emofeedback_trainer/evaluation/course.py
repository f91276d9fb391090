"""How a run of the loop went, and what it lost where: the causes by which rounds gain nothing. Pure.

All by the independent judge's readings of every picture, so that a cause is one in fact and not in the eyes of the
judge that steered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from emofeedback.domain.affect import AffectPoint, distance

BEYOND = 1.0
"""Points on the 1-9 scale by which a round has to pass the target on an axis to have overshot."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One picture of a run."""

    prompt: str
    """What it was painted from."""
    point: AffectPoint
    """Where the independent judge sees it."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """Shares in [0, 1] of the rounds behind the first, and what the choice cost."""

    overshot: float
    """Rounds whose mean picture lies beyond the target on an axis, seen from the first round's mean, by `BEYOND`."""
    one_axis: float
    """Rounds whose mean picture is nearer to the target than the first round's on one axis and farther on the other."""
    repeated: float
    """Rounds without a prompt that no earlier one had."""
    hopeless: float
    """Rounds with no picture nearer to the target than the nearest before: nothing could have won."""
    regret: float
    """Error of the answer less that of the run's nearest picture: what choosing by the judge cost."""


def course(rounds: Sequence[Sequence[Seen]], target: AffectPoint, answer: AffectPoint) -> Course | None:
    """The course of a run; None where it has one round only.

    Args:
        rounds: the pictures of each round, none of them empty.
        answer: where the independent judge sees the answer.
    """
    first, *later = rounds
    if not later:
        return None
    start = _misses(first, target)
    overshot, one_axis, repeated, hopeless = [], [], [], []
    used = {seen.prompt for seen in first}
    nearest = _nearest(first, target)
    for pictures in later:
        misses = _misses(pictures, target)
        overshot.append(any(abs(now) > BEYOND and now * then < 0 for now, then in zip(misses, start, strict=True)))
        nearer = [abs(now) < abs(then) for now, then in zip(misses, start, strict=True)]
        one_axis.append(any(nearer) and not all(nearer))
        prompts = {seen.prompt for seen in pictures}
        repeated.append(prompts <= used)
        used |= prompts
        hopeless.append(_nearest(pictures, target) >= nearest)
        nearest = min(nearest, _nearest(pictures, target))
    return Course(
        overshot=fmean(overshot),
        one_axis=fmean(one_axis),
        repeated=fmean(repeated),
        hopeless=fmean(hopeless),
        regret=distance(answer, target) - nearest,
    )


def mean_course(courses: Sequence[Course]) -> Course:
    """The mean of each, over runs."""
    return Course(**{name: fmean(getattr(each, name) for each in courses) for name in Course.__dataclass_fields__})


def _misses(pictures: Sequence[Seen], target: AffectPoint) -> tuple[float, float]:
    """By how much the mean picture misses the target in valence and in arousal, with the sign."""
    valence = fmean(seen.point.valence for seen in pictures) - target.valence
    return valence, fmean(seen.point.arousal for seen in pictures) - target.arousal


def _nearest(pictures: Sequence[Seen], target: AffectPoint) -> float:
    return min(distance(seen.point, target) for seen in pictures)
