"""ArtPhoto (Machajdik and Hanbury, 2010): art photographs whose artists named what they should evoke.

amusement_0001.jpg, ..., sad_0166.jpg       the class is the name's first word
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.rows import Row
from emofeedback_trainer.data.taxonomies import mikels

SOURCE = "artphoto"
LICENSE = "ArtPhoto: research use, cite Machajdik and Hanbury (2010); photographs belong to their artists"
SPLITS = ()


def rows(folder: Path) -> Iterator[Row]:
    """One row per JPEG file, by name."""
    for path in sorted(folder.glob("*.jpg")):
        yield Row(folder=folder, file=path.name, number=0)


def sample(row: Row) -> Sample:
    """One photograph."""
    word = row.file.partition("_")[0]
    emotion = mikels(word)
    if emotion is None:
        raise row.bad("", f"begins with {word!r}, it must begin with one of the eight emotions and an underscore")
    return Sample(
        id=Path(row.file).stem,
        source=SOURCE,
        license=LICENSE,
        image=row.image("", row.file),
        emotion=emotion,
        label=emotion.value,
    )
