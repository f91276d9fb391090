"""The words that data sets have for emotions, and which of them are among Mikels' eight."""

from __future__ import annotations

from emofeedback.domain.affect import Emotion

_MIKELS_AS_WRITTEN = {
    **{emotion.value: emotion for emotion in Emotion},
    "content": Emotion.CONTENTMENT,
    "sad": Emotion.SADNESS,
}
"""Abstract-8 and ArtPhoto shorten two of the eight."""


def mikels(word: str) -> Emotion | None:
    """The one of the eight that a source's category names, whatever its case; None where it names another feeling.

    Only the same word counts: joy, say, may be amusement or contentment, so it is neither.
    """
    return _MIKELS_AS_WRITTEN.get(word.strip().lower())
