"""EEmo-Logic's rewards (arXiv 2602.01173, second stage). Pure functions; all in [0, 1].

    R = eta R_format + R_format (gate_rank R_rank + gate_vad R_vad + gate_emotion R_emotion)

with one open gate per sample: that of its task (`grpo.reward_functions` puts the sum together).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN
from emofeedback.domain.taxonomies import EKMAN
from emofeedback_trainer.data.eemodb.ekman import EKMAN_FILE, affect_distance
from emofeedback_trainer.evaluation.metrics import ranking_score

_BY_AFFECT, _BY_WORDS = 0.6, 0.4


def ranking_reward(truth: Sequence[str], predicted: Sequence[str]) -> float:
    """The benchmark's ranking score on [0, 1], squared: the last points count most."""
    return (ranking_score(truth, predicted) / 100) ** 2


def hybrid_reward(error: float, *, far: float = 0.5, reach: float = 1.0, width: float = 0.1) -> float:
    """Linear decay far from the truth, which always shows the way, plus a Gaussian near it, which asks for precision.

    far max(0, 1 - d / reach) + (1 - far) exp(-d^2 / 2 width^2), d = |error| / 8. The constants are unpublished.

    Args:
        error: in points of the 1-9 scale.
        far: weight of the linear part, in [0, 1].
        reach: the distance d at which the linear part ends.
        width: standard deviation of the Gaussian, in units of d.
    """
    d = abs(error) / (SCALE_MAX - SCALE_MIN)
    return far * max(0.0, 1 - d / reach) + (1 - far) * math.exp(-(d**2) / (2 * width**2))


def vad_reward(said: Sequence[float | None] | None, truth: Sequence[float]) -> float:
    """The hybrid reward's mean over valence, arousal and dominance; 0 for an axis, or for all, where nothing was said.

    Args:
        said: on the 1-9 scale, in the order of the truth.
    """
    if said is None:
        return 0.0
    pairs = zip(said, truth, strict=True)
    return sum(0.0 if one is None else hybrid_reward(one - true) for one, true in pairs) / len(truth)


def dominance_reward(said: float | None, truth: float) -> float:
    """The hybrid reward of the third axis, which is asked on its own; 0 where nothing on the 1-9 scale was said."""
    return 0.0 if said is None or not SCALE_MIN <= said <= SCALE_MAX else hybrid_reward(said - truth)


def similarity_rewards(anchors: ArrayLike, embedding_similarity: ArrayLike) -> NDArray[np.float64]:
    """What each emotion earns where another one is true, shape (n, n), indexed [truth, predicted]; 1 on the diagonal.

    (0.6 S + 0.4 E^2)^3: S is nearness on the valence-arousal-dominance scale, 1 minus the distance over the truth's
    largest; E the similarity of the words' embeddings over the largest between two different words, clipped to [0, 1].

    Args:
        anchors: valence, arousal and dominance of each emotion, shape (n, 3).
        embedding_similarity: shape (n, n), need not be symmetric.
    """
    points, words = np.asarray(anchors, np.float64), np.array(embedding_similarity, np.float64)
    away = affect_distance(points[:, None], points[None])
    near = 1 - away / away.max(axis=1, keepdims=True)
    others = ~np.eye(len(words), dtype=bool)
    alike = np.clip(words / words[others].max(), 0, 1)
    np.fill_diagonal(alike, 1)
    rewards: NDArray[np.float64] = (_BY_AFFECT * near + _BY_WORDS * alike**2) ** 3
    return rewards


def similarity_reward(truth: str, predicted: str) -> float:
    """What naming one of `EKMAN` earns where another one, or the same, is true; 0 for any other word.

    Raises:
        ValueError: the truth is none of them.
    """
    if truth not in EKMAN:
        raise ValueError(f"{truth!r} is none of {', '.join(EKMAN)}")
    return _ekman_rewards().get((truth, predicted), 0.0)


@cache
def _ekman_rewards() -> dict[tuple[str, str], float]:
    table = json.loads(EKMAN_FILE.read_text(encoding="utf-8"))
    rewards = similarity_rewards(table["anchors"], table["embedding_similarity"])
    return {
        (true, said): float(rewards[row, column])
        for row, true in enumerate(table["labels"])
        for column, said in enumerate(table["labels"])
    }
