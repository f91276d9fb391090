"""Signs that judge and painter drift together, from what is in a memory. Pure functions.

A judge that learns from what a policy paints, and a policy that is rewarded by that judge, may agree on something that
nobody else sees. The witness has no part in either, so it is what both are held against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emofeedback_trainer.emotional_memory.balance import CELLS, cell
from emofeedback_trainer.emotional_memory.entries import Entry
from emofeedback_trainer.emotional_memory.measuring import points
from emofeedback_trainer.evaluation.metrics import correlation, line

LARGEST_BIAS = 0.15
"""Points by which the judge may read higher or lower than the witness, over all pictures, on either axis."""
LARGEST_CELL_BIAS = 1.0
"""The same over the pictures of one cell that has enough of them."""
SPREADS = (0.9, 1.1)
"""Range of the ratio of the judge's standard deviation to the witness's."""
LEAST_CORRELATION = 0.8
"""Of judge and witness."""
LARGEST_SLOPE = 0.3
"""Share of what a picture misses its label by, in the witness's eyes, that the judge doesn't see: 0 is an honest judge,
1 one that reads the label and not the picture."""
_ENOUGH = 8
FEWEST = 30
"""Entries below which nothing is told."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How a judge reads painted pictures beside a witness; each pair is valence, arousal."""

    pictures: int
    bias: tuple[float, float]
    """Mean of judge - witness, in points."""
    cell_bias: float
    """The largest mean of judge - witness of a cell with eight pictures or more, on either axis."""
    spread: tuple[float, float]
    """Standard deviation of the judge's readings by the witness's."""
    correlation: tuple[float, float]
    slope: tuple[float, float]
    """Of (judge - witness) on (label - witness)."""


def drift(entries: Sequence[Entry]) -> Drift | None:
    """The figures of some entries, read by one judge; None for fewer than 30."""
    if len(entries) < FEWEST:
        return None
    judged, witnessed, labels = (
        points([getattr(entry, name) for entry in entries]) for name in ("judged", "witnessed", "label")
    )
    gaps = judged - witnessed
    cells = np.array([column * CELLS + row for column, row in (cell(entry.label) for entry in entries)])
    biases = [
        float(np.abs(gaps[cells == place].mean(axis=0)).max())
        for place in np.unique(cells)
        if (cells == place).sum() >= _ENOUGH
    ]
    spreads = judged.std(axis=0) / np.maximum(witnessed.std(axis=0), 1e-9)
    return Drift(
        pictures=len(entries),
        bias=_pair(gaps.mean(axis=0)),
        cell_bias=max(biases, default=0.0),
        spread=_pair(spreads),
        correlation=_pair([correlation(witnessed[:, axis], judged[:, axis]) for axis in (0, 1)]),
        slope=_pair([line((labels - witnessed)[:, axis], gaps[:, axis])[1] for axis in (0, 1)]),
    )


def alarms(found: Drift) -> list[str]:
    """What is wrong, a sentence each; empty where nothing is."""
    told = []
    for axis, name in enumerate(("valence", "arousal")):
        if abs(found.bias[axis]) > LARGEST_BIAS:
            told.append(f"the judge reads {name} {found.bias[axis]:+.2f} off the witness (at most {LARGEST_BIAS:g})")
        if not SPREADS[0] <= found.spread[axis] <= SPREADS[1]:
            told.append(
                f"the judge's {name} spreads {found.spread[axis]:.2f} times the witness's "
                f"({SPREADS[0]} to {SPREADS[1]})"
            )
        if found.correlation[axis] < LEAST_CORRELATION:
            told.append(
                f"judge and witness agree on {name} with r {found.correlation[axis]:.2f} "
                f"(at least {LEAST_CORRELATION:g})"
            )
        if found.slope[axis] > LARGEST_SLOPE:
            told.append(
                f"the judge doesn't see {found.slope[axis]:.0%} of what pictures miss their {name} by "
                f"(at most {LARGEST_SLOPE:.0%})"
            )
    if found.cell_bias > LARGEST_CELL_BIAS:
        told.append(f"in one cell the judge is {found.cell_bias:.2f} off the witness (at most {LARGEST_CELL_BIAS:g})")
    return told


def _pair(values: Sequence[float] | np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, float]:
    first, second = map(float, values)
    return first, second
