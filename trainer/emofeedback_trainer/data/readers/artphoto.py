"""ArtPhoto (Machajdik and Hanbury, 2010): art photographs whose artists named what they should evoke.

amusement_0001.jpg, ..., sad_0166.jpg       the class is the name's first word
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.rows import Row, listed
from emofeedback_trainer.data.taxonomies import mikels

SOURCE = "artphoto"
LICENSE = "ArtPhoto: research use, cite Machajdik and Hanbury (2010); photographs belong to their artists"
SPLITS = ()


_READ = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp")
_NOT_READ = (".avif", ".bmp", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".tif", ".tiff")
"""Endings of pictures, in either case."""


def rows(folder: Path) -> Iterator[Row]:
    """One row per file with a picture's ending, by name."""
    for path in listed(folder, "*"):
        if path.suffix.lower() in _READ + _NOT_READ:
            yield Row(folder=folder, file=path.name, number=0)


def sample(row: Row) -> Sample:
    """One photograph."""
    if Path(row.file).suffix.lower() in _NOT_READ:
        raise row.bad("", "is not a PNG, JPEG or WebP image: convert it")
    word = row.file.partition("_")[0]
    emotion = mikels(word)
    if emotion is None:
        raise row.bad("", f"begins with {word!r}, it must begin with one of the eight emotions and an underscore")
    return Sample(
        id=Path(row.file).stem,
        source=SOURCE,
        license=LICENSE,
        image=row.path("", row.file),
        emotion=emotion,
        label=emotion.value,
    )
