"""What a person asks to feel: a point of the scale, or an emotion that stands for one."""

from __future__ import annotations

from emofeedback.domain.affect import LEXICON, SCALE_MAX, SCALE_MIN, AffectPoint, Emotion
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.text import did_you_mean
from emofeedback.domain.validation import fields


def target_point(valence: float, arousal: float, field: str = "target") -> AffectPoint:
    """The point, where both coordinates lie on the scale."""
    fields.require(
        fields.number(f"{field}.valence", valence, SCALE_MIN, SCALE_MAX),
        fields.number(f"{field}.arousal", arousal, SCALE_MIN, SCALE_MAX),
    )
    return AffectPoint(valence, arousal)


def emotion_point(name: str) -> AffectPoint:
    """The lexicon's mean for one of the eight emotions."""
    try:
        return LEXICON[Emotion(name)].point
    except ValueError:
        problem = f"{name!r} is not one of {', '.join(Emotion)}{did_you_mean(name, Emotion)}"
        raise InvalidRequest.of("target.emotion", problem) from None


def target_from(valence: float | None, arousal: float | None, emotion: str | None) -> AffectPoint:
    """What a person asked for: valence and arousal, or else an emotion."""
    if emotion is not None and (valence is not None or arousal is not None):
        raise InvalidRequest.of("target", "has a point and an emotion, it must be one of the two")
    if emotion is not None:
        return emotion_point(emotion)
    if valence is None and arousal is None:
        raise InvalidRequest.of("target", "is missing, it must be a point (valence and arousal) or an emotion")
    if valence is None or arousal is None:
        missing = "valence" if valence is None else "arousal"
        raise InvalidRequest.of(f"target.{missing}", "is missing, a point needs both valence and arousal")
    return target_point(valence, arousal)
