"""What models are measured by. Pure functions: arrays in, numbers out.

Correlation with what doesn't vary is 0: it follows nothing. Other metrics that the data doesn't define are NaN.

scipy is imported where it is used: it takes a second, which the help of a command need not wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

HIT_WEIGHTS = (25.0, 15.0, 10.0)
"""What the ranking score gives for finding the strongest, second and third emotion (EEmo-Bench, section 4.2)."""
TWO_SHARED = 2 / 3
"""How much the order of two shared emotions counts beside that of three. The text says two thirds; with one third a
random guess scores nearer to the published 25.48."""
_ORDER_WEIGHT = 25.0


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A measured number with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float
    n: int
    """Units that it was measured on, and that the interval draws from."""


def estimate(statistic: Callable[..., float], *columns: Sequence[Any] | NDArray[Any], seed: int = 0) -> Estimate:
    """A statistic of columns of equal length, row by row one unit, with its percentile interval.

    Args:
        statistic: of the columns, or of a drawing of their rows with replacement.

    Raises:
        ValueError: the columns are empty or of different lengths.
    """
    arrays = [np.asarray(column) for column in columns]
    n = len(arrays[0])
    if n == 0 or any(len(array) != n for array in arrays):
        raise ValueError(f"columns must be of one length and not empty, they have {[len(a) for a in arrays]} rows")
    low, high = bootstrap(lambda drawn: statistic(*(array[drawn] for array in arrays)), n, seed=seed)
    return Estimate(value=statistic(*arrays), low=low, high=high, n=n)


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float], count: int, *, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """A 95 % percentile interval of a statistic over `count` units, which are drawn with replacement.

    Args:
        statistic: of the units at these indices, shape (count,); an index may come more than once.
    """
    rng = np.random.default_rng(seed)
    drawn = [statistic(rng.integers(count, size=count)) for _ in range(draws)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def mae(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Mean absolute error, in the unit of its arguments: V-Error and A-Error are this, on the 1-9 scale."""
    return float(np.abs(np.subtract(truth, predicted)).mean())


def reduction(after: ArrayLike, before: ArrayLike) -> float:
    """Share by which the mean of errors is lower than that of others; negative where it is higher."""
    return float(1 - np.asarray(after, np.float64).mean() / np.asarray(before, np.float64).mean())


def srcc(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Spearman's rank correlation, in [-1, 1]."""
    from scipy.stats import rankdata

    return correlation(rankdata(np.asarray(truth, np.float64)), rankdata(np.asarray(predicted, np.float64)))


def correlation(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Pearson's linear correlation, in [-1, 1]; 0 where one side doesn't vary or there are fewer than two values.

    Also called PLCC, here without the nonlinear fit that quality assessment puts before it.
    """
    x, y = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])


def line(targets: Array | Sequence[float], results: Array | Sequence[float]) -> tuple[float, float]:
    """`correlation` of results with targets, and the slope of results against targets.

    A slope of 1 is obedience, 0 indifference. Both are 0 where one side doesn't vary.
    """
    found = correlation(targets, results)
    return found, found * float(np.std(results) / np.std(targets)) if found else 0.0


def accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Share of predictions that are right, in [0, 1]."""
    return float(np.equal(truth, predicted).mean())


def macro_f1(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Mean F1 of the classes that occur in the truth, in [0, 1]: rare ones count as much as frequent ones."""
    return float(np.mean([score for score, _ in _f1_by_class(truth, predicted)]))


def weighted_f1(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Mean F1 of the classes that occur in the truth, each counting as often as it does there, in [0, 1]."""
    scores = _f1_by_class(truth, predicted)
    return float(np.average([score for score, _ in scores], weights=[count for _, count in scores]))


def _f1_by_class(truth: ArrayLike, predicted: ArrayLike) -> list[tuple[float, int]]:
    """F1 of each class of the truth, and how often it is there."""
    true, said = np.asarray(truth), np.asarray(predicted)
    # By hand: scikit-learn checks its arguments for milliseconds, and an interval asks two thousand times.
    scores = []
    for name in np.unique(true):
        here, there = true == name, said == name
        scores.append((float(2 * np.sum(here & there) / (np.sum(here) + np.sum(there))), int(np.sum(here))))
    return scores


def ranking_score(truth: Sequence[str], predicted: Sequence[str], *, two_shared: float = TWO_SHARED) -> float:
    """How well a ranking of up to three emotions meets the true one, in [0, 100] (EEmo-Bench, section 4.2).

    Half of it is for naming the true emotions, the strongest weighing most; half for the order of those that both
    name, by Kendall's tau over their places.

    Args:
        truth: three different emotions, strongest first.
        predicted: likewise, those after the third count for nothing.
    """
    named = list(dict.fromkeys(predicted))[: len(HIT_WEIGHTS)]
    hit = sum(weight for weight, emotion in zip(HIT_WEIGHTS, truth, strict=False) if emotion in named)
    shared = [list(truth).index(emotion) for emotion in named if emotion in truth]
    if len(shared) < 2:
        return hit
    from scipy.stats import kendalltau

    tau = float(kendalltau(range(len(shared)), shared).statistic)
    return hit + (tau + 1) * _ORDER_WEIGHT * (1.0 if len(shared) == 3 else two_shared)


@dataclass(frozen=True, kw_only=True)
class Bin:
    """One line of a reliability table: the predictions whose confidence lies in (low, high]."""

    low: float
    high: float
    n: int
    confidence: float
    """Mean; NaN in an empty bin."""
    accuracy: float
    """Share of them that are right; NaN in an empty bin."""


def reliability(confidences: ArrayLike, right: ArrayLike, *, bins: int = 10) -> tuple[Bin, ...]:
    """How often predictions of a confidence are right, in bins of equal width over [0, 1].

    Args:
        confidences: in [0, 1].
        right: 1 where the prediction is right, else 0.
    """
    confidence, hits = np.asarray(confidences, np.float64), np.asarray(right, np.float64)
    edges, places = np.linspace(0, 1, bins + 1), _bins(confidence, bins)
    table = []
    for place, (low, high) in enumerate(pairwise(edges)):
        inside = places == place
        n = int(inside.sum())
        table.append(
            Bin(
                low=float(low),
                high=float(high),
                n=n,
                confidence=float(confidence[inside].mean()) if n else float("nan"),
                accuracy=float(hits[inside].mean()) if n else float("nan"),
            )
        )
    return tuple(table)


def expected_calibration_error(
    confidences: ArrayLike, right: ArrayLike, *, bins: int = 10, closed: Literal["left", "right"] = "right"
) -> float:
    """Mean distance of confidence and accuracy over the bins, weighted by their size, in [0, 1] (Guo et al. 2017).

    Args:
        closed: the end of a bin that belongs to it. It matters where confidences are round numbers, as said ones are.
    """
    confidence, hits = np.asarray(confidences, np.float64), np.asarray(right, np.float64)
    # A bin's size times the distance of its means is the distance of its sums.
    excess = np.bincount(_bins(confidence, bins, closed), weights=confidence - hits)
    return float(np.abs(excess).sum() / len(hits))


def brier(confidences: ArrayLike, right: ArrayLike) -> float:
    """Mean squared distance of confidence and outcome, in [0, 1] (Brier 1950; the outcome is "right")."""
    return float(np.square(np.subtract(confidences, right)).mean())


def roc_auc(scores: ArrayLike, right: ArrayLike) -> float:
    """How often a right prediction has a higher score than a wrong one, ties counting half, in [0, 1]; NaN where all
    are right or all wrong."""
    hits = np.asarray(right, bool)
    positives, negatives = int(hits.sum()), int((~hits).sum())
    if not positives or not negatives:
        return float("nan")
    from scipy.stats import rankdata

    ranks = rankdata(np.asarray(scores, np.float64))
    return float((ranks[hits].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _bins(confidence: Array, bins: int, closed: Literal["left", "right"] = "right") -> NDArray[np.int64]:
    """Which bin each confidence is in; exactly 0 belongs to the first and exactly 1 to the last, whichever is open."""
    side: Literal["left", "right"] = "left" if closed == "right" else "right"
    places: NDArray[np.int64] = np.searchsorted(np.linspace(0, 1, bins + 1), confidence, side=side) - 1
    return np.clip(places, 0, bins - 1)
