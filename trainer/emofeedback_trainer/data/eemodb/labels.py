"""The categories of many sources as Ekman's six emotions and neutral: by synonym, else by where a category lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emofeedback.domain.taxonomies import EKMAN_OF

_SYNONYMS = {
    "anger": "anger angry rage fury furious annoyance annoyed irritation irritated frustration hate hatred outrage",
    "disgust": "disgust disgusted disgusting loathing aversion revulsion repulsion contempt distaste",
    "fear": "fear fearful afraid scared frightened terror terrified horror apprehension anxiety anxious panic dread",
    "joy": "joy joyful happiness happy amused content ecstasy serenity delight delighted pleasure cheerful elation "
    "excited",
    "sadness": "sadness sad grief sorrow sorrowful pensiveness melancholy despair depressed suffering lonely",
    "surprise": "surprise surprised amazement amazed astonishment astonished distraction",
    "neutral": "neutral calm indifference indifferent boredom none",
}
"""Nouns and adjectives that name one of the seven, beside Mikels' eight. Words that name none of them clearly (trust,
yearning) are left to the clustering."""
_NAMED = {
    **{mikels.value: emotion for mikels, emotion in EKMAN_OF.items()},
    **{word: emotion for emotion, words in _SYNONYMS.items() for word in words.split()},
}


def to_ekman(category: str, clusters: Mapping[str, str]) -> str | None:
    """The one of `taxonomies.EKMAN` that a category names.

    Args:
        clusters: for categories without a synonym, `Clustering.labels`.

    Returns:
        None where neither knows it.
    """
    return _NAMED.get(category.strip().lower()) or clusters.get(category)


def votes_to_ekman(votes: Sequence[Sequence[str]], clusters: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """Each annotator's emotions in that person's order, each once; annotators of whom none is left are dropped."""
    mapped = (tuple(dict.fromkeys(filter(None, (to_ekman(one, clusters) for one in vote)))) for vote in votes)
    return tuple(vote for vote in mapped if vote)
