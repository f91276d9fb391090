"""Which entries stay: the whole plane, no emotion and no policy alone. Pure functions.

The plane is cut into 8 x 8 cells of 32 entries each. Where a cell, an emotion or an age is over its limit, the entry of
the lowest worth goes: how far the witness confirms its label, times how little the others of its cell look like it,
times 0.9 for each generation of policies since.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, AffectPoint, Emotion
from emofeedback_trainer.emotional_memory.entries import Entry

CELLS = 8
"""Cells a side of the plane."""
PER_CELL = 32
CAPACITY = CELLS * CELLS * PER_CELL
LARGEST_EMOTION = CAPACITY // 4
"""Entries of one emotion: a quarter of what there is room for."""
GENERATIONS = 3
"""Generations of policies that are kept: the newest and those before it."""
_AGEING = 0.9
_BITS = 64


def cell(point: AffectPoint) -> tuple[int, int]:
    """Column (valence) and row (arousal) of a point's cell, 0 to 7, both counted from the low end."""

    def place(value: float) -> int:
        return min(CELLS - 1, int((value - SCALE_MIN) / (SCALE_MAX - SCALE_MIN) * CELLS))

    return place(point.valence), place(point.arousal)


def reliability(entry: Entry) -> float:
    """How far the witness confirms the label, in (0, 1]: exp(-d^2 / 2), d their Euclidean distance in points."""
    gap = (entry.witnessed.valence - entry.label.valence, entry.witnessed.arousal - entry.label.arousal)
    return math.exp(-(gap[0] ** 2 + gap[1] ** 2) / 2)


def novelty(signature: int, others: Iterable[int]) -> float:
    """How little the most similar of the other pictures looks like this one: differing bits of 64; 1 without others."""
    return min(((signature ^ other).bit_count() for other in others), default=_BITS) / _BITS


def surplus(entries: Sequence[Entry]) -> tuple[str, ...]:
    """The entries that have to go, by their sha256, in the order in which they go."""
    newest = max((entry.generation for entry in entries), default=0)
    out = [entry.sha256 for entry in entries if newest - entry.generation >= GENERATIONS]
    gone = set(out)
    cells: defaultdict[tuple[int, int], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.sha256 not in gone:
            cells[cell(entry.label)].append(entry)
    for place in sorted(cells):
        inside = cells[place]
        while len(inside) > PER_CELL:
            worths = _worths(inside, newest)
            lowest = min(range(len(inside)), key=lambda index: (worths[index], inside[index].sha256))
            out.append(inside.pop(lowest).sha256)
    return (*out, *_of_large_emotions(cells.values(), newest))


def _of_large_emotions(cells: Collection[Sequence[Entry]], newest: int) -> list[str]:
    counts = Counter(entry.emotion for inside in cells for entry in inside)
    out: list[str] = []
    for emotion in Emotion:
        if (over := counts[emotion] - LARGEST_EMOTION) > 0:
            ranked = sorted(
                (worth, entry.sha256)
                for inside in cells
                for entry, worth in zip(inside, _worths(inside, newest), strict=True)
                if entry.emotion is emotion
            )
            out += [sha256 for _, sha256 in ranked[:over]]
    return out


def drawing_shares(labels: Sequence[AffectPoint]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """How often each entry should be drawn so that every cell that has any is seen equally often; sums to 1.

    Args:
        labels: at least one.
    """
    places = [cell(label) for label in labels]
    counts = {place: places.count(place) for place in set(places)}
    return np.array([1 / (len(counts) * counts[place]) for place in places])


def _worths(inside: Sequence[Entry], newest: int) -> list[float]:
    bits = np.array([entry.signature for entry in inside], np.uint64)
    differing = np.bitwise_count(bits[:, None] ^ bits[None, :]).astype(float)
    np.fill_diagonal(differing, _BITS)
    return [
        reliability(entry) * nearest / _BITS * _AGEING ** (newest - entry.generation)
        for entry, nearest in zip(inside, differing.min(axis=1), strict=True)
    ]
