"""The table of a comparison: errors of each variant, and how much lower they are than those of its start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofeedback.domain.assessment import Assessment
from emofeedback_trainer.core.tables import table as markdown_table
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.evaluation.metrics import Estimate, estimate, reduction
from emofeedback_trainer.evaluation.provenance import Provenance, plain, shown
from emofeedback_trainer.judge.comparison import WAYS, Measured, Way

_AXES = ("valence", "arousal")
_WAYS: Mapping[Way, str] = {
    "written": "Reasoned replies, numbers as they write them",
    "read": "The same replies as the judge service reads them, digits by their expected value",
    "short": "The service's short ratings, which none of these variants was trained on",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One variant, asked in one way."""

    name: str
    what: str
    way: Way
    readable: float
    """Share of the replies, in [0, 1]; the others are left out of the errors."""
    errors: Mapping[str, Estimate]
    """Mean |error| of `valence` and `arousal`, in points of the 1-9 scale."""
    accuracy: Estimate
    """Share of pictures whose emotion is right."""
    lower: Mapping[str, Estimate]
    """Per axis, the share by which the error is lower than that of the variant's start, on the pictures that both can
    rate; empty where the start is not in the comparison."""


def rows(measured: Sequence[Measured], test: Sequence[Sample], *, seed: int) -> list[Row]:
    """Every variant in every way, with bootstrap intervals over the pictures.

    Args:
        test: pictures that have valence, arousal and emotion.
    """
    by_name = {one.variant.name: one for one in measured}
    table = []
    for way in WAYS:
        for one in measured:
            said = one.outcomes[way]
            readable = [(outcome, sample) for outcome, sample in zip(said, test, strict=True) if outcome]
            if not readable:
                continue
            start = by_name.get(one.variant.start)
            table.append(
                Row(
                    name=one.variant.name,
                    what=one.variant.what,
                    way=way,
                    readable=len(readable) / len(test),
                    errors={axis: estimate(_mean, _errors(readable, axis), seed=seed) for axis in _AXES},
                    accuracy=estimate(_mean, [float(o.emotion is s.emotion) for o, s in readable], seed=seed),
                    lower={} if start is None else _lower(said, start.outcomes[way], test, seed),
                )
            )
    return table


def to_markdown(table: Sequence[Row], provenance: Provenance) -> str:
    """A table for each way to ask."""
    header = ("", "valence MAE", "arousal MAE", "lower than its start", "emotion right", "readable")
    parts = [
        f"{_WAYS[way]}:\n\n{markdown_table(header, [_cells(row) for row in table if row.way == way])}" for way in WAYS
    ]
    return "\n\n".join([*parts, provenance.to_markdown()])


def to_json(table: Sequence[Row], provenance: Provenance) -> dict[str, Any]:
    """As `--json` prints it."""
    content: dict[str, Any] = plain({"rows": table, "provenance": provenance})
    return content


def _cells(row: Row) -> Sequence[str]:
    lower = ", ".join(f"{axis[0].upper()} {shown(found, 2)}" for axis, found in row.lower.items())
    valence, arousal = (shown(row.errors[axis]) for axis in _AXES)
    return row.what, valence, arousal, lower, shown(row.accuracy), f"{row.readable:.1%}"


def _lower(
    said: Sequence[Assessment | None], before: Sequence[Assessment | None], test: Sequence[Sample], seed: int
) -> Mapping[str, Estimate]:
    both = [(now, then, sample) for now, then, sample in zip(said, before, test, strict=True) if now and then]
    if not both:
        return {}
    after = [(now, sample) for now, _, sample in both]
    start = [(then, sample) for _, then, sample in both]
    return {axis: estimate(reduction, _errors(after, axis), _errors(start, axis), seed=seed) for axis in _AXES}


def _errors(pairs: Sequence[tuple[Assessment, Sample]], axis: str) -> NDArray[np.float64]:
    return np.array([abs(getattr(outcome, axis) - getattr(sample, axis)) for outcome, sample in pairs])


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.mean(values))
