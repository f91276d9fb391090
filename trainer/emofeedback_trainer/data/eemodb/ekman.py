"""Where Ekman's six emotions and neutral lie in valence, arousal and dominance (EEmo-Logic, arXiv 2602.01173)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emofeedback.domain.taxonomies import EKMAN

_AXIS_WEIGHTS = np.array([0.5, 0.3, 0.2])
"""Of valence, arousal and dominance in the squared distance of two emotions."""


EKMAN_FILE = Path(__file__).with_name("ekman.json")


def affect_distance(one: ArrayLike, other: ArrayLike) -> NDArray[np.float64]:
    """How far apart points (..., 3) of valence, arousal and dominance lie, shape (...), in points of the 1-9 scale:
    sqrt(.5 dV^2 + .3 dA^2 + .2 dD^2)."""
    squares = np.square(np.asarray(one, np.float64) - np.asarray(other, np.float64))
    distances: NDArray[np.float64] = np.sqrt((_AXIS_WEIGHTS * squares).sum(axis=-1))
    return distances


def ekman_anchors() -> dict[str, tuple[float, float, float]]:
    """Valence, arousal and dominance of each word of `EKMAN`, on 1-9, in that order."""
    table = json.loads(EKMAN_FILE.read_text(encoding="utf-8"))
    anchors = {label: tuple(anchor) for label, anchor in zip(table["labels"], table["anchors"], strict=True)}
    return {label: anchors[label] for label in EKMAN}
