"""The witness: who confirms a picture's label before the judge may learn from it.

It is a network of its own, with no weights, no data and no training in common with the judge or with the critic of the
tables. How far it can be trusted is measured on real pictures first.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.generation import ModelInfo
from emofeedback_trainer.core.dotted import DOTTED, imported_function
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.evaluation.judge import image_of
from emofeedback_trainer.evaluation.metrics import correlation

WITNESSES = {"nano": "emofeedback_trainer.nano.models.witness:load_witness"}
"""Short names of the witnesses that come with the trainer; others are named as `module:function`, a function without
arguments that loads one."""
LEAST_CORRELATION = 0.9
"""Below it on real pictures, on either axis, a witness confirms nothing."""
_FEWEST = 30
"""Real pictures below which a correlation says nothing."""


class Witness(Protocol):
    """Somebody who reads pictures and has no part in the judge."""

    def look(self, images: Sequence[Image.Image]) -> Sequence[AffectPoint]:
        """Valence and arousal of each picture."""
        ...

    @property
    def info(self) -> ModelInfo:
        """Who looks."""
        ...


@dataclass(frozen=True, kw_only=True)
class Trust:
    """How a witness reads real pictures whose labels are known."""

    pictures: int
    valence_r: float
    arousal_r: float
    variance: float
    """Mean square of its error, over both axes, in squared points."""


def load_witness(source: str) -> Witness:
    """A witness by its short name or by `module:attribute`.

    Raises:
        InvalidRequest: there is none.
    """
    place = WITNESSES.get(source, source)
    if not DOTTED.fullmatch(place):
        known = ", ".join(map(repr, WITNESSES))
        raise InvalidRequest.of("witness", f"{source!r} is neither {known} nor module:function")
    witness: Witness = imported_function(place, "witness")()
    return witness


def trust(witness: Witness, samples: Sequence[Sample], *, least: float = LEAST_CORRELATION) -> Trust:
    """How well the witness reads samples that have valence and arousal.

    Raises:
        FailedPrecondition: not well enough, or there are too few of them to tell.
    """
    known = [sample for sample in samples if sample.valence is not None and sample.arousal is not None]
    if len(known) < _FEWEST:
        raise FailedPrecondition(
            f"the witness has {len(known)} labelled held-out pictures to show itself on, it needs {_FEWEST}: "
            "name data with a larger split `val`"
        )
    read = witness.look([Image.open(io.BytesIO(image_of(sample))).convert("RGB") for sample in known])
    seen = np.array([(point.valence, point.arousal) for point in read])
    true = np.array([(sample.valence, sample.arousal) for sample in known], np.float64)
    found = [correlation(true[:, axis], seen[:, axis]) for axis in (0, 1)]
    if min(found) < least:
        raise FailedPrecondition(
            f"the witness follows these pictures' labels with r {found[0]:.2f} (valence) and {found[1]:.2f} (arousal), "
            f"at least {least:g} is needed on both: nothing is taken on its word"
        )
    return Trust(
        pictures=len(known), valence_r=found[0], arousal_r=found[1], variance=float(np.square(seen - true).mean())
    )


def label_deviation(
    labels: Sequence[AffectPoint], witnessed: Sequence[AffectPoint], *, own: float, witness_variance: float
) -> float:
    """Standard deviation of painted pictures' labels around what they truly make people feel, on either axis.

    What the witness differs from the labels by is its own error, known from real pictures, and the painting's.

    Args:
        labels: of pictures painted in one way, not empty.
        own: standard deviation of the labels themselves, as people gave them.
    """
    gaps = [(w.valence - p.valence, w.arousal - p.arousal) for w, p in zip(witnessed, labels, strict=True)]
    painting = max(0.0, float(np.square(gaps).mean()) - witness_variance)
    return float(np.sqrt(own**2 + painting))
