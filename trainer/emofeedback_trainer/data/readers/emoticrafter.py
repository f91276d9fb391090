"""EmotiCrafter's prompts (Dang et al., 2025): pairs of a neutral and an emotional prompt, with V and A on -3..3.

    *.csv       Neutral_Prompt, Emotional_Prompt, Arousal, Valence

There are no pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.rows import Row, listed, table

SOURCE = "emoticrafter"
LICENSE = "EmotiCrafter: as its authors state where they publish it"
SPLITS = ()

_LOWEST, _HIGHEST = -3.0, 3.0


def rows(folder: Path) -> Iterator[Row]:
    """One row per pair, of all CSV files in the folder, by name."""
    files = listed(folder, "*.csv")
    if not files:
        raise InvalidRequest.of("*.csv", f"is missing in {folder}: a table of prompts is needed")
    for path in files:
        yield from table(folder, path.name, ("Neutral_Prompt", "Emotional_Prompt", "Arousal", "Valence"))


def sample(row: Row) -> Sample:
    """One pair of prompts."""
    return Sample(
        id=f"{Path(row.file).stem}:{row.number}",
        source=SOURCE,
        license=LICENSE,
        neutral_prompt=row.text("Neutral_Prompt"),
        emotional_prompt=row.text("Emotional_Prompt"),
        valence=row.rating("Valence", _LOWEST, _HIGHEST),
        arousal=row.rating("Arousal", _LOWEST, _HIGHEST),
    )
