"""A policy beside its base, on the same pairs at the same seeds, in the independent judge's eyes. Pure functions.

A low error proves nothing by itself: a policy that always aims at the middle of the plane has one too. So the error of
the middle stands beside it, and the correlation and slope of result against target. Intervals are 95 % percentile
intervals over the pairs, drawn with replacement; policy and base are drawn together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emofeedback.domain.errors import FailedPrecondition
from emofeedback_trainer.core.pairs import MIDDLE, Pair
from emofeedback_trainer.core.tables import table
from emofeedback_trainer.evaluation.metrics import Array, bootstrap, line
from emofeedback_trainer.evaluation.observations import Observation
from emofeedback_trainer.evaluation.picture_statistics import brightness, diversity, edges, saturation, to_array

Drawn = NDArray[np.int64]
"""Indices of pairs."""

LEAST_GAIN = 0.25
"""By which share a policy's error is to be lower than the base's, and than that of the middle."""
LEAST_CORRELATION = 0.6
LARGEST_SUBJECT_LOSS = 5.0
"""Percentage points."""
LEAST_DIVERSITY = 0.7
"""Share of the base's."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Measured:
    """What one policy generated, as arrays whose first axis is the pair."""

    points: Array
    """Valence and arousal, shape (pairs, images, 2)."""
    subjects: Array
    """1 where the independent judge sees the prompt's subject, shape (pairs, images)."""
    alignments: Array
    """Cosine with the neutral prompt, shape (pairs, images)."""
    appearances: Array
    """Brightness, saturation and edges, shape (pairs, images, 3)."""
    diversities: Array
    """Within each group, shape (pairs,)."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    what: str
    policy: float
    base: float | None = None
    middle: float | None = None
    """What always aiming at the middle of the plane would give."""
    low: float
    """Ends of the interval of `policy`."""
    high: float
    aim: float | None = None
    at_most: bool = False
    """True where less is better."""

    @property
    def reached(self) -> bool | None:
        """Whether the value is as good as its aim."""
        if self.aim is None:
            return None
        return self.policy <= self.aim if self.at_most else self.policy >= self.aim


def measured(pairs: Sequence[Pair], groups: Sequence[Sequence[Observation]]) -> Measured:
    """Groups of two or more pictures, one group a pair, as arrays.

    Raises:
        FailedPrecondition: a picture was not seen by an independent judge.
    """
    if not all(observation.independent for group in groups for observation in group):
        raise FailedPrecondition("the comparison needs an independent judge that has seen every picture")
    seen = [
        [(observation.independent, to_array(observation.picture)) for observation in group if observation.independent]
        for group in groups
    ]
    return Measured(
        points=np.array([[(independent.valence, independent.arousal) for independent, _ in group] for group in seen]),
        subjects=np.array(
            [
                [float(independent.subject == pair.subject) for independent, _ in group]
                for pair, group in zip(pairs, seen, strict=True)
            ]
        ),
        alignments=np.array([[observation.alignment for observation in group] for group in groups]),
        appearances=np.array([[(brightness(p), saturation(p), edges(p)) for _, p in group] for group in seen]),
        diversities=np.array([diversity([observation.picture for observation in group]) for group in groups]),
    )


def compare(pairs: Sequence[Pair], policy: Measured, base: Measured, *, seed: int = 0) -> list[Row]:
    """The table of the policy against the base; `seed` is of the intervals."""
    targets = np.array([(pair.target.valence, pair.target.arousal) for pair in pairs])
    middle = np.abs(targets - (MIDDLE.valence, MIDDLE.arousal))

    def errors(of: Measured) -> Array:
        """Mean of each group, shape (pairs, 2)."""
        found: Array = np.abs(of.points - targets[:, None]).mean(axis=1)
        return found

    ours, theirs = errors(policy), errors(base)

    def row(what: str, statistic: Callable[[Drawn], float], **others: float | bool | None) -> Row:
        low, high = bootstrap(statistic, len(pairs), seed=seed)
        return Row(what=what, policy=statistic(np.arange(len(pairs))), low=low, high=high, **others)  # type: ignore[arg-type]

    def mean_row(what: str, ours: Array, theirs: Array, middle: Array | None = None) -> Row:
        """The row of values whose first axis is the pair."""
        of_middle = None if middle is None else float(middle.mean())
        return row(what, lambda drawn: float(ours[drawn].mean()), base=float(theirs.mean()), middle=of_middle)

    def follows(axis: int, of: Measured) -> Callable[[Drawn], tuple[float, float]]:
        asked = targets[:, None, axis].repeat(of.points.shape[1], axis=1)
        return lambda drawn: line(asked[drawn].ravel(), of.points[drawn][..., axis].ravel())

    def follows_rows(name: str, axis: int) -> list[Row]:
        of_policy, (correlation, slope) = follows(axis, policy), follows(axis, base)(np.arange(len(pairs)))
        return [
            row(
                f"{name}: correlation of result with target",
                lambda drawn: of_policy(drawn)[0],
                base=correlation,
                middle=0.0,
                aim=LEAST_CORRELATION,
            ),
            row(f"{name}: slope of result against target", lambda drawn: of_policy(drawn)[1], base=slope, middle=0.0),
        ]

    return [
        mean_row("error abs(dV) + abs(dA)", ours.sum(axis=1), theirs.sum(axis=1), middle.sum(axis=1)),
        row(
            "lower than the base's by",
            lambda drawn: 1 - float(ours[drawn].sum() / theirs[drawn].sum()),
            aim=LEAST_GAIN,
        ),
        row(
            "lower than the middle's by",
            lambda drawn: 1 - float(ours[drawn].sum() / middle[drawn].sum()),
            aim=LEAST_GAIN,
        ),
        mean_row("valence: error", ours[:, 0], theirs[:, 0], middle[:, 0]),
        mean_row("arousal: error", ours[:, 1], theirs[:, 1], middle[:, 1]),
        *follows_rows("valence", 0),
        *follows_rows("arousal", 1),
        mean_row("subject seen", policy.subjects, base.subjects),
        row(
            "subject lost, percentage points",
            lambda drawn: 100 * float(base.subjects[drawn].mean() - policy.subjects[drawn].mean()),
            aim=LARGEST_SUBJECT_LOSS,
            at_most=True,
        ),
        mean_row("diversity within a group", policy.diversities, base.diversities),
        row(
            "diversity, share of the base's",
            lambda drawn: float(policy.diversities[drawn].sum() / base.diversities[drawn].sum()),
            aim=LEAST_DIVERSITY,
        ),
        mean_row("alignment with the prompt, by the scorer", policy.alignments, base.alignments),
        *(
            mean_row(name, policy.appearances[..., kind], base.appearances[..., kind])
            for kind, name in enumerate(("brightness", "saturation", "edges"))
        ),
    ]


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    header = ["", "policy", "95 % interval", "base", "always the middle", "aim", "reached"]
    return table(
        header,
        [
            [
                one.what,
                f"{one.policy:.3f}",
                f"{one.low:.3f} to {one.high:.3f}",
                _number(one.base),
                _number(one.middle),
                "" if one.aim is None else f"{'at most' if one.at_most else 'at least'} {one.aim:g}",
                {True: "yes", False: "no", None: ""}[one.reached],
            ]
            for one in rows
        ],
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
