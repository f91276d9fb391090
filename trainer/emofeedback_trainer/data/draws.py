"""Valence and arousal drawn for pictures of which only the emotion is known (EmoFeedback^2, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, Emotion, LexiconStatistics

Outside = Literal["truncate", "clip"]
"""What becomes of a Gaussian's share beyond the scale: it is spread over the scale, or put on its ends. The paper
doesn't say; 28 % of its draws concern it on one of the axes, and clipping piles them up at 1 and 9."""


def draw_affect(
    emotions: Sequence[Emotion],
    statistics: Mapping[Emotion, LexiconStatistics],
    rng: np.random.Generator,
    outside: Outside = "truncate",
) -> NDArray[np.float64]:
    """A draw for each emotion from the Gaussians of its word, the two axes apart.

    Returns:
        Valence and arousal in [1, 9], shape (len(emotions), 2), rounded to four decimals.
    """
    from scipy.stats import norm, truncnorm  # here, since it takes a second that no help need wait for

    words = [statistics[emotion] for emotion in emotions]
    mean = np.array([(word.valence_mean, word.arousal_mean) for word in words]).reshape(-1, 2)
    sd = np.array([(word.valence_sd, word.arousal_sd) for word in words]).reshape(-1, 2)
    shares = rng.random(mean.shape)
    if outside == "clip":
        drawn = norm.ppf(shares, mean, sd)
    else:
        drawn = truncnorm.ppf(shares, (SCALE_MIN - mean) / sd, (SCALE_MAX - mean) / sd, mean, sd)
    return np.clip(drawn, SCALE_MIN, SCALE_MAX).round(4)
