"""A lexicon of affective norms: what people feel at single words, read from the user's own copy of the published CSV.

The layout is that of Warriner, Kuperman and Brysbaert (2013): `Word, V.Mean.Sum, V.SD.Sum, ...`, then `A.*` and `D.*`,
all on 1-9. Its license doesn't let it ride along; the numbers of eight emotion words are facts, in `affect.LEXICON`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emofeedback.domain.affect import LEXICON, SCALE_MAX, SCALE_MIN, Emotion, LexiconStatistics
from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.data.rows import BadCell, Row, whole_table

Lexicon = Mapping[str, LexiconStatistics]
"""By lower-case word."""

_COLUMNS = ("Word", "V.Mean.Sum", "V.SD.Sum", "A.Mean.Sum", "A.SD.Sum", "D.Mean.Sum")
_SMALLEST_SD = 0.01


def read_lexicon(path: Path) -> Lexicon:
    """The words of a lexicon file.

    Raises:
        InvalidRequest: no such file or column, a figure off its range, or a word that stands there twice.
    """
    words: dict[str, LexiconStatistics] = {}
    for row in whole_table(path, _COLUMNS):
        try:
            word = row.text("Word").lower()
            if word in words:
                raise row.bad("Word", f"{word!r} was an earlier row's already")
            words[word] = _statistics(row)
        except BadCell as error:
            raise error.bad.error() from error
    if not words:
        raise InvalidRequest.of(path.name, "has no rows")
    return words


def emotion_statistics(lexicon: Lexicon | None) -> Mapping[Emotion, LexiconStatistics]:
    """How people rate the words of the eight emotions; None: the built-in numbers.

    Raises:
        InvalidRequest: the lexicon lacks one of the eight.
    """
    if lexicon is None:
        return LEXICON
    for emotion in Emotion:
        if emotion.value not in lexicon:
            raise InvalidRequest.of("lexicon", f"has no row for {emotion.value!r}, all eight emotions are needed")
    return {emotion: lexicon[emotion.value] for emotion in Emotion}


def comment_affect(comments: Sequence[str], lexicon: Lexicon) -> NDArray[np.float64] | None:
    """What comments speak of: the mean over their words that the lexicon knows, a word counting as often as it comes.

    Returns:
        Valence, arousal and dominance on 1-9, shape (3,); None where it knows none of the words.
    """
    known = [
        (word.valence_mean, word.arousal_mean, word.dominance_mean)
        for comment in comments
        for text in re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", comment.lower())
        if (word := lexicon.get(text)) is not None
    ]
    return np.mean(known, axis=0) if known else None


def _statistics(row: Row) -> LexiconStatistics:
    def figure(column: str, low: float, high: float) -> float:
        return row.checked(column, row.cells.get(column), low, high)

    means = {axis: figure(f"{axis}.Mean.Sum", SCALE_MIN, SCALE_MAX) for axis in "VAD"}
    sds = {axis: figure(f"{axis}.SD.Sum", _SMALLEST_SD, SCALE_MAX - SCALE_MIN) for axis in "VA"}
    return LexiconStatistics(
        valence_mean=means["V"],
        valence_sd=sds["V"],
        arousal_mean=means["A"],
        arousal_sd=sds["A"],
        dominance_mean=means["D"],
    )
