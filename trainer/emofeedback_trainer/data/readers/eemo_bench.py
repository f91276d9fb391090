"""EEmo-Bench's single pictures (Gao et al., 2025): three ranked emotions, and valence, arousal, dominance on 1-9.

eemo_bench_single*.json     [{"image_name", "category", "emotion_list": [[name, weight] x 3],
                              "Valence": [mean, SD, ...], "Arousal": [...], "Dominance": [...], ...}, ...]
images/<image_name>         optional; without the folder, samples have no picture
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.taxonomies import EKMAN
from emofeedback_trainer.data.records import AXES, RankedEmotion, Sample
from emofeedback_trainer.data.rows import Row, json_file, listed
from emofeedback_trainer.data.taxonomies import mikels

SOURCE = "eemo-bench"
LICENSE = "EEmo-Bench: as its authors state where they publish it; for evaluation"
SPLITS = ()

_PLACES = 3


def rows(folder: Path) -> Iterator[Row]:
    """One row per picture."""
    files = listed(folder, "eemo_bench_single*.json")
    if not files:
        raise InvalidRequest.of("eemo_bench_single*.json", f"is missing in {folder}")
    for path in files:
        for number, entry in enumerate(json_file(folder, path.name, list), start=1):
            cells = entry if isinstance(entry, dict) else {}
            yield Row(folder=folder, file=path.name, number=number, cells=cells)


def sample(row: Row) -> Sample:
    """One picture; its label is the first of its ranked emotions."""
    name = row.text("image_name")
    ranking = _ranking(row)
    valence, arousal, dominance = (_mean(row, axis.capitalize()) for axis in AXES)
    return Sample(
        id=name,
        source=SOURCE,
        license=LICENSE,
        image=row.path("image_name", f"images/{name}") if (row.folder / "images").is_dir() else None,
        valence=valence,
        arousal=arousal,
        dominance=dominance,
        emotion=mikels(ranking[0].label),
        label=ranking[0].label,
        ranking=ranking,
        split="test",
    )


def _ranking(row: Row) -> tuple[RankedEmotion, ...]:
    places = row.cells.get("emotion_list")
    if not (
        isinstance(places, list) and len(places) == _PLACES and all(isinstance(p, list) and len(p) == 2 for p in places)
    ):
        raise row.bad("emotion_list", f"must be {_PLACES} pairs of an emotion and its weight")
    for place, (label, _) in enumerate(places):
        if label not in EKMAN:
            raise row.bad(f"emotion_list[{place}]", f"is {label!r}, it must be one of {', '.join(EKMAN)}")
    ranking = tuple(
        RankedEmotion(label=label, weight=row.checked(f"emotion_list[{place}]", weight, 0, float("inf")))
        for place, (label, weight) in enumerate(places)
    )
    if any(after.weight > before.weight for before, after in pairwise(ranking)):
        raise row.bad("emotion_list", "must be in falling order of weight")
    return ranking


def _mean(row: Row, column: str) -> float:
    values = row.cells.get(column)
    if not isinstance(values, list) or not values:
        raise row.bad(column, "must be a list that begins with the mean rating")
    return row.checked(f"{column}[0]", values[0], SCALE_MIN, SCALE_MAX)
