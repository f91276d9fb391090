"""The domain's vocabulary: points on the valence-arousal plane, emotion taxonomies, lexicon statistics.

Everything here is plain arithmetic on the 1-9 scale that the rest of the project speaks. Nothing below knows of
models, services or files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

SCALE_MIN = 1.0
"""Lower end of the valence, arousal and dominance scale (Self-Assessment Manikin, nine steps)."""
SCALE_MAX = 9.0
"""Upper end of the scale."""
SCALE_MIDDLE = (SCALE_MIN + SCALE_MAX) / 2


class Emotion(StrEnum):
    """The eight categories of Mikels et al. (2005), which EmoSet uses."""

    AMUSEMENT = "amusement"
    AWE = "awe"
    CONTENTMENT = "contentment"
    EXCITEMENT = "excitement"
    ANGER = "anger"
    DISGUST = "disgust"
    FEAR = "fear"
    SADNESS = "sadness"


_NEAR_WORDS = {
    Emotion.AMUSEMENT: "amused amusing cheerful cheerfulness fun funny humor laughter mirth playful",
    Emotion.AWE: "admiration amazed amazement astonished astonishment awed reverence wonder",
    Emotion.CONTENTMENT: (
        "calm comfort content gratitude love peace peaceful pleasure relaxation relaxed relief satisfaction serene "
        "serenity tenderness tranquil tranquility"
    ),
    Emotion.EXCITEMENT: (
        "delight ecstasy elation enthusiasm euphoria excited happiness happy joy joyful thrill thrilled"
    ),
    Emotion.ANGER: "aggression angry annoyance annoyed fury furious hate hatred rage",
    Emotion.DISGUST: "aversion disgusted loathing nausea repulsion revulsion",
    Emotion.FEAR: "afraid anxiety anxious dread fright frightened horror panic scared scary terror worry",
    Emotion.SADNESS: (
        "despair depressed depression gloom grief loneliness lonely melancholy misery nostalgia sad sorrow unhappy"
    ),
}
"""Words that people say, by the one of the eight whose feeling they name."""


def emotion_named(word: str) -> Emotion | None:
    """The emotion that a word names, in capitals or not, or else the nearest of the eight; None where it names none."""
    plain = word.strip().casefold()
    if plain in list(Emotion):
        return Emotion(plain)
    return next((emotion for emotion, words in _NEAR_WORDS.items() if plain in words.split()), None)


@dataclass(frozen=True)
class AffectPoint:
    """A point on the valence-arousal plane; both coordinates in [1, 9].

    Raises:
        ValueError: a coordinate is not finite or lies outside the scale; the message names it.
    """

    valence: float
    """Unpleasant (1) to pleasant (9)."""
    arousal: float
    """Calm (1) to stirred (9)."""

    def __post_init__(self) -> None:
        for axis in ("valence", "arousal"):
            value = getattr(self, axis)
            if not (math.isfinite(value) and SCALE_MIN <= value <= SCALE_MAX):
                raise ValueError(f"{axis} is {value:g}, it must lie in [{SCALE_MIN:g}, {SCALE_MAX:g}]")


@dataclass(frozen=True, kw_only=True)
class LexiconStatistics:
    """Mean and standard deviation of the human ratings of one word, on the 1-9 scale."""

    valence_mean: float
    valence_sd: float
    arousal_mean: float
    arousal_sd: float
    dominance_mean: float

    @property
    def point(self) -> AffectPoint:
        """The word's mean place on the plane."""
        return AffectPoint(self.valence_mean, self.arousal_mean)


def _word(v: float, v_sd: float, a: float, a_sd: float, d: float) -> LexiconStatistics:
    return LexiconStatistics(valence_mean=v, valence_sd=v_sd, arousal_mean=a, arousal_sd=a_sd, dominance_mean=d)


LEXICON: Mapping[Emotion, LexiconStatistics] = {
    Emotion.AMUSEMENT: _word(7.00, 1.56, 4.82, 2.70, 6.59),
    Emotion.AWE: _word(6.85, 1.79, 3.83, 2.85, 5.85),
    Emotion.CONTENTMENT: _word(6.62, 2.27, 4.60, 2.87, 6.58),
    Emotion.EXCITEMENT: _word(7.62, 1.38, 6.21, 2.50, 6.33),
    Emotion.ANGER: _word(2.50, 1.36, 5.93, 2.77, 5.14),
    Emotion.DISGUST: _word(3.32, 2.40, 5.00, 2.35, 4.84),
    Emotion.FEAR: _word(2.93, 1.79, 6.14, 2.76, 3.32),
    Emotion.SADNESS: _word(2.40, 1.10, 2.81, 2.25, 3.84),
}
"""Single figures for the eight category words from Warriner, Kuperman and Brysbaert (2013)."""


def distance(a: AffectPoint, b: AffectPoint) -> float:
    """The project's one error measure: |dV| + |dA|, in [0, 16] (EmoFeedback^2, section 4.1, both errors summed)."""
    return abs(a.valence - b.valence) + abs(a.arousal - b.arousal)


def clip_to_scale(value: float) -> float:
    """The nearest value inside [1, 9]."""
    return min(max(value, SCALE_MIN), SCALE_MAX)


def target_phrase(point: AffectPoint) -> str:
    """How a numeric target is written inside a caption, for generators that were trained to read it."""
    return f"valence {point.valence:.0f}, arousal {point.arousal:.0f}"


_TARGET = re.compile(r", valence [1-9], arousal [1-9]$")


def split_target(caption: str) -> tuple[str, str]:
    """A caption without the numeric target that stands behind it, and that target with its comma; empty: none."""
    start = found.start() if (found := _TARGET.search(caption)) else len(caption)
    return caption[:start], caption[start:]


_VALENCE_WORDS = ((2.5, "very unpleasant"), (4.25, "unpleasant"), (5.75, "neutral"), (7.5, "pleasant"))
_AROUSAL_WORDS = ((2.5, "very calm"), (4.25, "calm"), (5.75, "awake"), (7.5, "stirring"))


def describe(point: AffectPoint) -> str:
    """Two words for a point, for people and for models that read words better than numbers: "pleasant, calm"."""
    valence = next((word for limit, word in _VALENCE_WORDS if point.valence < limit), "very pleasant")
    arousal = next((word for limit, word in _AROUSAL_WORDS if point.arousal < limit), "thrilling")
    return f"{valence}, {arousal}"
