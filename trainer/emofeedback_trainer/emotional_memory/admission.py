"""Which painted pictures the memory takes. Pure functions: readings and pictures in, a reason for refusal out.

The judge has no say: what it learns from must not be what it thinks already. Nor has the critic, by which tables are
made.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import numpy as np
from PIL import Image

from emofeedback.domain.affect import AffectPoint
from emofeedback_trainer.evaluation.picture_statistics import brightness, edges, saturation, to_array

Refusal = Literal["witness", "alignment", "brightness", "saturation", "edges", "duplicate"]
"""Why a picture is not taken: the first of these that holds."""
REFUSALS: tuple[Refusal, ...] = get_args(Refusal)
LARGEST_GAP = 1.0
"""Points by which the witness may differ from the label, on either axis."""
_DUPLICATE_BITS = 3
"""Pictures whose signatures differ in so few bits, or fewer, are the same to look at."""
_QUANTILE = 0.01
"""Of the real pictures so many lie below each lower bound, and as many above each upper one."""
_STATISTICS = {"brightness": brightness, "saturation": saturation, "edges": edges}
_THUMBNAIL = (9, 8)


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a picture looks like, whatever it shows."""

    brightness: float
    saturation: float
    edges: float
    signature: int


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Where the real pictures of a data folder lie; each range holds 98 % of them."""

    brightness: tuple[float, float]
    saturation: tuple[float, float]
    edges: tuple[float, float]
    alignment: float
    """Cosine with their captions that 99 % of them reach."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A painted picture that asks to be taken."""

    label: AffectPoint
    witnessed: AffectPoint
    alignment: float
    look: Look


def look_at(picture: Image.Image) -> Look:
    """Statistics and signature of a picture, taken at 128 pixels a side: its size must not count."""
    small = picture.convert("RGB").resize((128, 128), Image.Resampling.BOX)
    pixels = to_array(small)
    return Look(
        **{name: measure(pixels) for name, measure in _STATISTICS.items()},
        signature=signature(small),
    )


def signature(picture: Image.Image) -> int:
    """64 bits: whether each of 8 x 8 places is brighter than the one to its right (Krawetz's difference hash)."""
    gray = np.asarray(picture.convert("L").resize(_THUMBNAIL, Image.Resampling.BOX), np.int16)
    bits = (gray[:, 1:] > gray[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def bounds_of(looks: Sequence[Look], alignments: Sequence[float]) -> Bounds:
    """The bounds of real pictures and of how well they fit their captions; both not empty."""
    ranges = {}
    for name in _STATISTICS:
        low, high = np.quantile([getattr(look, name) for look in looks], [_QUANTILE, 1 - _QUANTILE])
        ranges[name] = (float(low), float(high))
    return Bounds(**ranges, alignment=float(np.quantile(alignments, _QUANTILE)))


def refusal(candidate: Candidate, bounds: Bounds, signatures: Collection[int]) -> Refusal | None:
    """Why the memory doesn't take a picture; None: it does.

    Args:
        signatures: of what is in the memory, or was taken before it.
    """
    gap = max(
        abs(candidate.witnessed.valence - candidate.label.valence),
        abs(candidate.witnessed.arousal - candidate.label.arousal),
    )
    if not gap <= LARGEST_GAP:
        return "witness"
    if not candidate.alignment >= bounds.alignment:
        return "alignment"
    ranges: Mapping[Refusal, tuple[float, float]] = {
        "brightness": bounds.brightness,
        "saturation": bounds.saturation,
        "edges": bounds.edges,
    }
    values = asdict(candidate.look)
    for name, (low, high) in ranges.items():
        if not low <= values[name] <= high:
            return name
    if any((candidate.look.signature ^ other).bit_count() <= _DUPLICATE_BITS for other in signatures):
        return "duplicate"
    return None
