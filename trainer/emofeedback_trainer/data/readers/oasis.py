"""OASIS (Kurdi, Lozano and Banaji, 2017): 900 pictures with normative valence and arousal on 1-7.

OASIS.csv             "", Theme, Category, Source, Valence_mean, Valence_SD, ..., Arousal_mean, ...
images/<Theme>.jpg
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.rows import Row, table

SOURCE = "oasis"
LICENSE = "OASIS: ratings free to use; each picture under its own license, named by the authors"
SPLITS = ()

_LOWEST, _HIGHEST = 1.0, 7.0


def rows(folder: Path) -> Iterator[Row]:
    """One row per picture."""
    return table(folder, "OASIS.csv", ("Theme", "Category", "Valence_mean", "Arousal_mean"))


def sample(row: Row) -> Sample:
    """One picture; its label is OASIS' kind of subject, for the ratings name no emotion."""
    theme = row.text("Theme")
    return Sample(
        id=theme,
        source=SOURCE,
        license=LICENSE,
        image=row.path("Theme", f"images/{theme}.jpg"),
        valence=row.rating("Valence_mean", _LOWEST, _HIGHEST),
        arousal=row.rating("Arousal_mean", _LOWEST, _HIGHEST),
        label=row.text("Category"),
    )
