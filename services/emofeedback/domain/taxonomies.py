"""Other names for what people feel, and how the shares of Mikels' eight are told in them."""

from __future__ import annotations

from collections.abc import Mapping

from emofeedback.domain.affect import Emotion
from emofeedback.domain.errors import InvalidRequest

EKMAN = ("anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral")
"""Ekman's six and neutral, in the order of Emotion6's columns."""

EKMAN_OF: Mapping[Emotion, str] = {
    Emotion.AMUSEMENT: "joy",
    Emotion.AWE: "surprise",
    Emotion.CONTENTMENT: "joy",
    Emotion.EXCITEMENT: "joy",
    Emotion.ANGER: "anger",
    Emotion.DISGUST: "disgust",
    Emotion.FEAR: "fear",
    Emotion.SADNESS: "sadness",
}
"""Which of Ekman's a feeling is. Four of the eight have the same name; amusement, contentment and excitement are kinds
of joy, as EEmo-Logic's synonyms have it; awe is amazement (`affect.emotion_named`), and amazement is surprise."""

_TAXONOMIES: Mapping[str, tuple[tuple[str, ...], Mapping[Emotion, str]]] = {
    "mikels": (tuple(Emotion), {emotion: emotion.value for emotion in Emotion}),
    "ekman": (EKMAN, EKMAN_OF),
}
TAXONOMIES = tuple(_TAXONOMIES)
"""Names that `told_in` knows."""


def told_in(taxonomy: str, shares: Mapping[Emotion, float]) -> dict[str, float]:
    """Shares of Mikels' eight by the names of a taxonomy, largest first; of equal ones its first. They sum to what they
    summed to; no shares are none in any taxonomy.

    Neutral has a share of 0: a judge that is asked which of the eight it is never says that it is none.

    Raises:
        InvalidRequest: the taxonomy is none of `TAXONOMIES`.
    """
    check_taxonomy(taxonomy)
    if not shares:
        return {}
    names, name_of = _TAXONOMIES[taxonomy]
    told = dict.fromkeys(names, 0.0)
    for emotion, share in shares.items():
        told[name_of[emotion]] += share
    return dict(sorted(told.items(), key=lambda item: -item[1]))


def check_taxonomy(name: str) -> None:
    """Raises `InvalidRequest` for a name that is none of `TAXONOMIES`."""
    if name not in TAXONOMIES:
        raise InvalidRequest.of("taxonomy", f"is {name!r}, it must be one of {', '.join(TAXONOMIES)}")
