"""Whether a picture is of the world that a judge learned, by what its own vision tower makes of it.

A small judge answers every picture with the same certainty, one of noise too. Its vision tower sees the difference: the
mean of each layer's values over a picture lies elsewhere for pictures of another kind (Lee et al. 2018). The means are
reduced to the directions in which the world's own pictures vary, each scaled to a variance of one. How far a picture
lies out along each of them, altogether (the Mahalanobis distance), and beyond them all, goes into a logistic regression
of the world's own pictures against others (outlier exposure, Hendrycks et al. 2019).

`emofeedback-train nano judge-domain` fits it and writes `domain.json` beside the judge's weights. A judge without this
file, every full-size one, can't tell; neither can one on vLLM, which keeps the values of its layers to itself.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofeedback.domain.affect import Emotion
from emofeedback.domain.assessment import Assessment, AssessmentOutcome
from emofeedback.judge.certainty import mixed

DOMAIN_FILE = "domain.json"
"""JSON, not safetensors: a checkpoint's digest stands for the weights that its readings come from, and this changes
none."""
CHANCE = 1 / len(Emotion)
"""What the confidence in an emotion is worth where nothing is known."""

Floats = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """Where the pictures of a world lie among the means of a vision tower's layers."""

    center: Floats
    """Shape (values,): the mean of the world's pictures."""
    spread: Floats
    """Shape (values,): their standard deviation, above 0."""
    axes: Floats
    """Shape (values, axes): the orthonormal directions in which the standardised values vary most."""
    variances: Floats
    """Shape (axes,): how much they vary along each."""

    @classmethod
    def fitted(cls, means: Floats, axes: int) -> World:
        """By principal components.

        Args:
            means: shape (pictures, values), of the world's pictures.
            axes: directions to keep.
        """
        center, spread = means.mean(axis=0), means.std(axis=0) + 1e-6
        variances, directions = np.linalg.eigh(np.cov(((means - center) / spread).T))
        return cls(center=center, spread=spread, axes=directions[:, ::-1][:, :axes], variances=variances[::-1][:axes])

    def signs(self, means: Floats) -> Floats:
        """What speaks for and against a picture's being of the world, shape (pictures, 2 * axes + 2), of order one.

        The place along each axis in standard deviations; how far out that is, either way; how far out altogether; how
        far beyond what the axes span.
        """
        standardised = (means - self.center) / self.spread
        along = standardised @ self.axes
        beyond = (standardised**2).sum(axis=1) - (along**2).sum(axis=1)
        places = along / np.sqrt(self.variances)
        return np.concatenate(
            [
                places,
                np.log1p(places**2),
                3 * np.log(1e-9 + (places**2).mean(axis=1, keepdims=True)),
                5 * np.log1p(np.maximum(beyond, 0) / means.shape[1])[:, None],
            ],
            axis=1,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Domain:
    """Tells the pictures of a judge's world from others."""

    world: World
    weights: Floats
    """Shape (2 * axes + 2,): of the signs."""
    offset: float
    """Weights times signs plus this is the log odds that a picture is not of the world."""

    def surprise(self, means: Floats) -> Floats:
        """`Assessment.domain_score` of pictures by the means of their layers, shape (pictures, values): minus the
        binary logarithm of the probability that they are of the world, in bits, shape (pictures,)."""
        log_odds = self.world.signs(means) @ self.weights + self.offset
        bits: Floats = np.logaddexp(0, log_odds) / np.log(2)
        return bits

    @classmethod
    def load(cls, folder: Path) -> Domain | None:
        """What `save` wrote into a checkpoint's folder; None where there is no such file."""
        path = folder / DOMAIN_FILE
        if not path.is_file():
            return None
        content = json.loads(path.read_text())
        arrays = {name: _unpacked(packed) for name, packed in content["arrays"].items()}
        weights = arrays.pop("weights")
        return cls(world=World(**arrays), weights=weights, offset=float(content["offset"]))

    def save(self, folder: Path) -> None:
        """Writes `domain.json`; the axes, its bulk, in half precision."""
        arrays = {field.name: getattr(self.world, field.name) for field in fields(World)} | {"weights": self.weights}
        packed = {name: _packed(array, "<f2" if name == "axes" else "<f4") for name, array in arrays.items()}
        (folder / DOMAIN_FILE).write_text(json.dumps({"offset": self.offset, "arrays": packed}, indent=1) + "\n")


def worth(confidence: float, surprise: float, chance: float) -> float:
    """What a confidence is worth where a picture is of the judge's world with a probability of 2 ** -surprise, and
    anything said is a guess where it is not: it falls towards `chance`, and never rises."""
    known: float = 2.0**-surprise
    return min(confidence, known * confidence + (1 - known) * chance)


def weighed(outcome: AssessmentOutcome, surprise: float | None) -> AssessmentOutcome:
    """The outcome with its domain score, and its confidence, shares and intervals at what they are then worth.

    Where the picture is of the judge's world, with probability 2 ** -surprise, the emotion is as likely as the judge
    says; where it is not, it is a guess among the eight, as the ratings are among the nine.

    Args:
        surprise: in bits; None where it isn't known: the outcome stays as it is.
    """
    if surprise is None or not isinstance(outcome, Assessment):
        return outcome
    known = 2.0**-surprise
    confidence = worth(outcome.confidence, surprise, CHANCE)
    return replace(mixed(known, outcome), domain_score=surprise, confidence=confidence)


def _packed(array: Floats, kind: str) -> dict[str, Any]:
    return {
        "shape": array.shape,
        "type": kind,
        "base64": base64.b64encode(array.astype(kind).tobytes()).decode(),
    }


def _unpacked(packed: Mapping[str, Any]) -> Floats:
    values = np.frombuffer(base64.b64decode(packed["base64"]), packed["type"])
    return values.reshape(packed["shape"]).astype(np.float64)
