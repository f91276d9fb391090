"""A fused policy beside all that it has to beat, on held-out pairs, in the independent judge's eyes.

Every way paints the same pairs from the same seeds in one pass. Intervals are 95 % percentile intervals over the pairs,
drawn with replacement; what is compared is drawn together.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from emofeedback.domain.affect import AffectPoint, distance
from emofeedback_trainer.core.pairs import Pair
from emofeedback_trainer.core.tables import table
from emofeedback_trainer.core.task import IndependentJudge
from emofeedback_trainer.evaluation.metrics import Array, Estimate, estimate, reduction
from emofeedback_trainer.evaluation.picture_statistics import diversity
from emofeedback_trainer.evaluation.provenance import shown

BASE, RELEASED = "base, numbers in the prompt", "released policy, numbers in the prompt"
IMAGINED, LOOKED = "fused, imagined", "fused, look at a twin"
SHUFFLED, NULL = "fused, another pair's tokens", "fused, null tokens"
WITHOUT = "fused, numbers in the prompt, no tokens"
NUMBERS, WORDS = "numbers through a network, no judge", "released policy, imagination as text"


@dataclass(frozen=True, eq=False, kw_only=True)
class Painted:
    """What one way painted, as the independent judge sees it; first axis: the pair."""

    errors: Array
    """|dV| + |dA|, shape (pairs, images)."""
    subjects: Array
    """1 where the prompt's subject is seen, shape (pairs, images)."""
    diversities: Array
    """Within each pair's pictures, shape (pairs,)."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    way: str
    error: Estimate
    """Mean of |dV| + |dA| on the 1-9 scale."""
    below_base: Estimate | None
    """By which share the error is lower than the base's, in its own words."""
    above_fused: Estimate | None
    """By which share the fused, imagined way's error is lower than this one's."""
    diversity: Estimate | None
    """Share of the base's."""
    subject: Estimate
    """Share of the pictures in which the prompt's subject is seen."""


def seen(pairs: Sequence[Pair], groups: Sequence[Sequence[bytes]], independent: IndependentJudge) -> Painted:
    """Groups of two or more PNGs, one group a pair, as the independent judge sees them."""
    pictures = [[Image.open(io.BytesIO(png)).convert("RGB") for png in group] for group in groups]
    readings = [independent.look(group) for group in pictures]
    read = list(zip(pairs, readings, strict=True))
    return Painted(
        errors=np.array(
            [[distance(AffectPoint(one.valence, one.arousal), pair.target) for one in group] for pair, group in read]
        ),
        subjects=np.array([[float(one.subject == pair.subject) for one in group] for pair, group in read]),
        diversities=np.array([diversity(group) for group in pictures]),
    )


def compare(ways: Mapping[str, Painted], *, seed: int = 0) -> list[Row]:
    """The table; `seed` is of the intervals."""
    base, fused = ways.get(BASE), ways.get(IMAGINED)

    def lower(ours: Painted, theirs: Painted | None) -> Estimate | None:
        if theirs is None or ours is theirs:
            return None
        return estimate(reduction, ours.errors.mean(1), theirs.errors.mean(1), seed=seed)

    def share(ours: Painted) -> Estimate | None:
        if base is None:
            return None
        return estimate(lambda mine, its: float(mine.sum() / its.sum()), ours.diversities, base.diversities, seed=seed)

    return [
        Row(
            way=way,
            error=estimate(lambda errors: float(errors.mean()), painted.errors.mean(1), seed=seed),
            below_base=lower(painted, base),
            above_fused=lower(fused, painted) if fused is not None else None,
            diversity=share(painted),
            subject=estimate(lambda subjects: float(subjects.mean()), painted.subjects.mean(1), seed=seed),
        )
        for way, painted in ways.items()
    ]


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    header = [
        "",
        "error",
        "lower than the base's by",
        "fused, imagined is lower by",
        "diversity, of the base's",
        "subject",
    ]
    return table(
        header,
        [
            [
                row.way,
                *(shown(found) for found in (row.error, row.below_base, row.above_fused, row.diversity, row.subject)),
            ]
            for row in rows
        ],
    )


def picture_grid(ways: Mapping[str, Sequence[Sequence[bytes]]], *, pairs: int = 8, side: int = 128) -> bytes:
    """The first picture of the first pairs, a line for each way, as PNG."""
    lines = []
    for groups in ways.values():
        some = [Image.open(io.BytesIO(group[0])).convert("RGB").resize((side, side)) for group in groups[:pairs]]
        lines.append(np.concatenate([np.asarray(one) for one in some], axis=1))
    file = io.BytesIO()
    Image.fromarray(np.concatenate(lines)).save(file, "PNG")
    return file.getvalue()
