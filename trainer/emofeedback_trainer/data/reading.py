"""Reads a published data set: every row becomes one `Sample`, or is refused by name, or is counted and left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.data.readers import (
    abstract8,
    aesbench,
    artemis,
    artphoto,
    eemo_bench,
    emoset,
    emotic,
    emoticrafter,
    emotion6,
    findingemo,
    oasis,
    uniaa,
    vecbench,
)
from emofeedback_trainer.data.records import BadRow, Sample
from emofeedback_trainer.data.rows import BadCell, Row


class Layout(Protocol):
    """What a module of `readers` has."""

    @property
    def SOURCE(self) -> str: ...
    @property
    def SPLITS(self) -> tuple[str, ...]: ...

    rows: Callable[[Path], Iterator[Row]]
    sample: Callable[[Row], Sample]


LAYOUTS: Mapping[str, Layout] = {
    layout.SOURCE: layout
    for layout in (
        emoset,
        emotic,
        oasis,
        emotion6,
        artphoto,
        abstract8,
        findingemo,
        emoticrafter,
        artemis,
        eemo_bench,
        vecbench,
        uniaa,
        aesbench,
    )
}
"""By the name under which a data set is asked for."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a folder held."""

    samples: tuple[Sample, ...]
    skipped: tuple[BadRow, ...]
    """Rows that were left out, where that was asked for."""


def read(name: str, folder: Path, *, skip_bad: bool = False) -> Reading:
    """A data set in its published layout, in the order of its files.

    Args:
        name: one of `LAYOUTS`.
        skip_bad: leave out rows that make no sample, and say which, instead of refusing the whole.

    Raises:
        InvalidRequest: no such data set or folder; a file or a column of it is missing; a split holds no sample; or,
            without `skip_bad`, the first bad row, with file, row and column.
    """
    if name not in LAYOUTS:
        raise InvalidRequest.of("name", f"{name!r} is not one of {', '.join(LAYOUTS)}")
    if not folder.is_dir():
        raise InvalidRequest.of("folder", f"{folder} is not a folder")
    layout = LAYOUTS[name]
    samples: list[Sample] = []
    skipped: list[BadRow] = []
    for found in _found(layout, folder):
        if isinstance(found, Sample):
            samples.append(found)
        elif skip_bad:
            skipped.append(found)
        else:
            raise InvalidRequest.of(found.place, f"{found.problem} (--skip-bad leaves such rows out and counts them)")
    _check_splits(layout, folder, samples, skipped)
    return Reading(samples=tuple(samples), skipped=tuple(skipped))


def _found(layout: Layout, folder: Path) -> Iterator[Sample | BadRow]:
    """Each row's sample, or what is wrong with the row; an id that was there before is wrong."""
    places: dict[str, Row] = {}
    for row in layout.rows(folder):
        if row.problem:
            yield row.bad("", row.problem).bad
            continue
        try:
            sample = layout.sample(row)
        except BadCell as error:
            yield error.bad
            continue
        if (first := places.setdefault(sample.id, row)) is not row:
            yield row.bad("", f"has the id {sample.id!r} of {first.file} row {first.number}").bad
        else:
            yield sample


def _check_splits(layout: Layout, folder: Path, samples: Iterable[Sample], skipped: list[BadRow]) -> None:
    there = {sample.split for sample in samples}
    left_out = f", {len(skipped)} bad rows are left out, the first: {skipped[0]}" if skipped else ""
    for split in layout.SPLITS:
        if split not in there:
            raise InvalidRequest.of(f"split {split}", f"holds no sample in {folder}{left_out}")
    if not there:
        raise InvalidRequest.of("folder", f"{folder} holds no sample of {layout.SOURCE}{left_out}")
