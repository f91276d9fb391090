"""Abstract paintings (Machajdik and Hanbury, 2010): how many people chose each of Mikels' eight for a painting.

    ABSTRACT_groundTruth.csv    '', 'Amusement', 'Anger', 'Awe', 'Content', 'Disgust', 'Excitement', 'Fear', 'Sad'
    abstract_0001.jpg           beside it

Names in the file stand in single quotes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from emofeedback_trainer.data.records import RankedEmotion, Sample
from emofeedback_trainer.data.rows import Row, table
from emofeedback_trainer.data.taxonomies import mikels

SOURCE = "abstract8"
LICENSE = "Abstract paintings: research use, cite Machajdik and Hanbury (2010); paintings belong to their artists"
SPLITS = ()

_NAME = ""
_COUNTS = ("Amusement", "Anger", "Awe", "Content", "Disgust", "Excitement", "Fear", "Sad")
_MOST_VOTES = 1000
"""Far over any count of the published file: a larger number is none."""


def rows(folder: Path) -> Iterator[Row]:
    """One row per painting."""
    return table(folder, "ABSTRACT_groundTruth.csv", (_NAME, *_COUNTS), quote="'")


def sample(row: Row) -> Sample:
    """One painting. Where two emotions lead with as many votes it has none, as in the literature, but the ranking."""
    name = row.text(_NAME)
    votes = {column: row.number_in(column, 0, _MOST_VOTES) for column in _COUNTS}
    ranked = sorted(((count, column) for column, count in votes.items() if count), key=lambda item: -item[0])
    if not ranked:
        raise row.bad("'Amusement' to 'Sad'", "are all 0, a painting has at least one vote")
    tied = len(ranked) > 1 and ranked[0][0] == ranked[1][0]
    emotion = None if tied else mikels(ranked[0][1])
    return Sample(
        id=name,
        source=SOURCE,
        license=LICENSE,
        image=row.path("''", name),
        emotion=emotion,
        label=emotion.value if emotion else "",
        ranking=tuple(RankedEmotion(label=str(mikels(column)), weight=count) for count, column in ranked),
    )
