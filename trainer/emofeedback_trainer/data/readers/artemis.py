"""ArtEmis (Achlioptas et al., CVPR 2021): what people feel before paintings of WikiArt, and why, in their words.

artemis_dataset_release_v0.csv              art_style, painting, emotion, utterance, repetition: a row an annotator
wikiart/<art_style>/<painting>.jpg          WikiArt in its usual form, beside it

Or, instead of the table, the 1,920 paintings that EEmo-Logic is measured on (arXiv 2602.01173):

test_ArtEmis.json                           [{"art_style", "painting", "emotion": [...], "utterance": [...], ...}, ...]

A sample is a painting. Its emotion is the one that most people named; where two lead with as many votes it has none,
and "something else", the ninth answer, is none of Mikels' eight.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from emofeedback.domain.affect import Emotion
from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.data.records import RankedEmotion, Sample
from emofeedback_trainer.data.rows import Row, json_file, table
from emofeedback_trainer.data.taxonomies import mikels

SOURCE = "artemis"
LICENSE = "ArtEmis: annotations on its authors' terms, which are signed; paintings belong to their artists"
SPLITS = ()

TABLE, SUBSET = "artemis_dataset_release_v0.csv", "test_ArtEmis.json"
_COLUMNS = ("art_style", "painting", "emotion", "utterance")
_NAMES = (*Emotion, "something else")


def rows(folder: Path) -> Iterator[Row]:
    """One row per painting; its number is that of its first annotation."""
    if (folder / TABLE).is_file():
        yield from _paintings(folder)
    elif (folder / SUBSET).is_file():
        for number, entry in enumerate(json_file(folder, SUBSET, list), start=1):
            yield Row(folder=folder, file=SUBSET, number=number, cells=entry if isinstance(entry, dict) else {})
    else:
        raise InvalidRequest.of(TABLE, f"is missing in {folder}, and so is {SUBSET}")


def _paintings(folder: Path) -> Iterator[Row]:
    """The table's rows gathered by painting; those that are bad as rows come first, as they are."""
    found: dict[tuple[str, str], Row] = {}
    for row in table(folder, TABLE, _COLUMNS):
        if row.problem:
            yield row
            continue
        style, painting, emotion, utterance = (row.cells[column].strip() for column in _COLUMNS)
        cells = {"art_style": style, "painting": painting, "emotion": [], "utterance": []}
        first = found.setdefault((style, painting), Row(folder=folder, file=TABLE, number=row.number, cells=cells))
        first.cells["emotion"].append(emotion)
        first.cells["utterance"].append(utterance)
    yield from found.values()


def sample(row: Row) -> Sample:
    """One painting with everybody's vote and reason."""
    style, painting = row.text("art_style"), row.text("painting")
    felt = row.texts("emotion")
    if not felt:
        raise row.bad("emotion", "names nothing, a painting has at least one vote")
    for emotion in felt:
        if emotion not in _NAMES:
            raise row.bad("emotion", f"is {emotion[:60]!r}, it must be one of {', '.join(_NAMES)}")
    votes = Counter(felt).most_common()
    tied = len(votes) > 1 and votes[0][1] == votes[1][1]
    label = "" if tied else votes[0][0]
    return Sample(
        id=f"{style}/{painting}",
        source=SOURCE,
        license=LICENSE,
        image=row.path("painting", f"wikiart/{style}/{painting}.jpg"),
        emotion=mikels(label),
        label=label,
        ranking=tuple(RankedEmotion(label=emotion, weight=count) for emotion, count in votes),
        votes=tuple((emotion,) for emotion in felt),
        comments=row.texts("utterance"),
        split="test" if row.file == SUBSET else "",
    )
