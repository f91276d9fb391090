"""Rows of published files, and how a reader takes values from them: every refusal names file, row and column."""

from __future__ import annotations

import ast
import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN
from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.data.records import BadRow

EXTRA_CELLS = "cells past the header"
"""Under which a row of a table keeps what its header has no column for."""


class BadCell(ValueError):
    """A row that makes no sample; `bad` says why."""

    def __init__(self, bad: BadRow) -> None:
        super().__init__(str(bad))
        self.bad = bad


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a source: a line of a table, or an entry of a list."""

    folder: Path
    """The source's folder."""
    file: str
    """Path within the folder."""
    number: int
    """As `BadRow.row`."""
    cells: Mapping[str, Any] = field(default_factory=dict)
    """Texts of a table; whatever the file held, of other formats."""

    def bad(self, column: str, problem: str) -> BadCell:
        """The error that refuses this row."""
        return BadCell(BadRow(file=self.file, row=self.number, column=column, problem=problem))

    def text(self, column: str) -> str:
        """A cell that isn't empty, without the white space around it."""
        value = self.cells.get(column)
        if not isinstance(value, str) or not value.strip():
            raise self.bad(column, "is empty" if value is None or isinstance(value, str) else "is no text")
        return value.strip()

    def number_in(self, column: str, low: float, high: float) -> float:
        """A finite number within the source's own range."""
        return self.checked(column, self.cells.get(column), low, high)

    def rating(self, column: str, low: float, high: float) -> float:
        """A rating of the source's own scale, brought to the project's 1-9."""
        return to_scale(self.number_in(column, low, high), low, high)

    def checked(self, column: str, value: Any, low: float, high: float) -> float:
        """A value as a finite number within a range; `column` is where it stands."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            problem = "is empty" if value is None or value == "" else f"is {value!r}, it must be a number"
            raise self.bad(column, problem) from None
        if math.isnan(number):
            raise self.bad(column, "is NaN")
        if not low <= number <= high:
            raise self.bad(column, f"is {number:g}, it must lie in [{low:g}, {high:g}]")
        return number

    def literal(self, column: str) -> list[Any]:
        """A list written as Python writes it; read, never run."""
        text = self.text(column)
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            value = None
        if not isinstance(value, list):
            raise self.bad(column, f"is {text[:60]!r}, it must be a list such as [6.0, 4.0, 7.0]")
        return value

    def image(self, column: str, name: str) -> Path:
        """An image file by its path within the source's folder."""
        within = PurePosixPath(name)
        if within.is_absolute() or ".." in within.parts:
            raise self.bad(column, f"names {name!r}, which lies outside the data set's folder")
        path = self.folder / within  # by name alone: a folder of pictures may be a link to another disk
        if not path.is_file():
            raise self.bad(column, f"names {name!r}, and there is no such image file")
        return path


def to_scale(value: float, low: float, high: float) -> float:
    """A rating on [low, high] as the same place on [1, 9]."""
    return SCALE_MIN + (value - low) * (SCALE_MAX - SCALE_MIN) / (high - low)


def table(folder: Path, name: str, columns: Sequence[str], *, delimiter: str = ",", quote: str = '"') -> Iterator[Row]:
    """The rows of a CSV or TSV file with a header line.

    Raises:
        InvalidRequest: no such file, no UTF-8, a column is missing, or a quote is never closed.
    """
    with _existing(folder, name).open(encoding="utf-8-sig", newline="") as file:
        lines = csv.DictReader(file, delimiter=delimiter, quotechar=quote, restkey=EXTRA_CELLS, strict=True)
        try:
            header = lines.fieldnames or ()
            for column in columns:
                if column not in header:
                    raise InvalidRequest.of(f"{name} row 1 column {column}", f"is missing; the header has {header}")
            for cells in lines:
                yield Row(folder=folder, file=name, number=lines.line_num, cells=cells)
        except UnicodeDecodeError as error:
            raise InvalidRequest.of(f"{name} row {lines.line_num + 1}", f"is not UTF-8: {error.reason}") from error
        except csv.Error as error:
            raise InvalidRequest.of(f"{name} row {lines.line_num}", f"can't be read: {error}") from error


def json_file(folder: Path, name: str, kind: type[list[Any]] | type[dict[str, Any]]) -> Any:
    """What a JSON file holds, a list or an object.

    Raises:
        InvalidRequest: no such file, no JSON (with its line and column), or the other kind.
    """
    try:
        content = json.loads(_existing(folder, name).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InvalidRequest.of(
            f"{name} row {error.lineno} column {error.colno}", f"is no JSON: {error.msg}"
        ) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest.of(name, f"can't be read: {error}") from error
    if not isinstance(content, kind):
        raise InvalidRequest.of(name, f"must hold a {'list' if kind is list else 'JSON object'}")
    return content


def _existing(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise InvalidRequest.of(name, f"is missing in {folder}")
    return path
