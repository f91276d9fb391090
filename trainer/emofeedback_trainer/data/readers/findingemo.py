"""FindingEmo (Mertens et al., 2024): social scenes, valence on -3..3, arousal on 0..6, one of Plutchik's 24 emotions.

annotations_single.ann      CSV: index, user, image_path, ..., valence, arousal, emotion, ...
Run_1/..., Run_2/...        the pictures, where `image_path` says; some of the published links are dead
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.rows import Row, table
from emofeedback_trainer.data.taxonomies import mikels

SOURCE = "findingemo"
LICENSE = "FindingEmo: annotations CC BY-NC-SA 4.0; pictures for non-commercial research only"
SPLITS = ()


def rows(folder: Path) -> Iterator[Row]:
    """One row per annotation."""
    return table(folder, "annotations_single.ann", ("index", "image_path", "valence", "arousal", "emotion"))


def sample(row: Row) -> Sample:
    """One annotated picture."""
    label = row.text("emotion")
    return Sample(
        id=row.text("index"),
        source=SOURCE,
        license=LICENSE,
        image=row.path("image_path", row.text("image_path").lstrip("/")),
        valence=row.rating("valence", -3, 3),
        arousal=row.rating("arousal", 0, 6),
        emotion=mikels(label),
        label=label,
    )
