"""Rows of published files, and how a reader takes values from them: every refusal names file, row and column."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN
from emofeedback.domain.errors import InvalidRequest
from emofeedback.storage.tables import read_table, to_number
from emofeedback.storage.texts import file_within, parse_json, read_lines, read_text
from emofeedback_trainer.data.records import BadRow


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
    problem: str = ""
    """What is wrong with the row as a whole; empty where nothing is."""
    decimal_comma: bool = False
    """Whether a comma in a text is a decimal comma."""

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
            if isinstance(value, bool):
                raise ValueError("JSON's true and false are no numbers")
            number = to_number(value, decimal_comma=self.decimal_comma) if isinstance(value, str) else float(value)
        except (TypeError, ValueError, OverflowError):
            problem = "is empty" if value is None or value == "" else f"is {str(value)[:60]!r}, it must be a number"
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

    def texts(self, column: str) -> tuple[str, ...]:
        """A list of texts, none of them empty, without the white space around them."""
        value = self.cells.get(column)
        if not isinstance(value, list) or not all(isinstance(text, str) and text.strip() for text in value):
            raise self.bad(column, "must be a list of texts that aren't empty")
        return tuple(text.strip() for text in value)

    def path(self, column: str, name: str) -> Path:
        """A file by its path within the source's folder."""
        try:
            return file_within(self.folder, name)
        except ValueError as error:
            raise self.bad(column, str(error)) from error


def to_scale(value: float, low: float, high: float) -> float:
    """A rating on [low, high] as the same place on [1, 9]."""
    return SCALE_MIN + (value - low) * (SCALE_MAX - SCALE_MIN) / (high - low)


def listed(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder whose names match a pattern in either case, by name.

    Those that a Mac leaves beside its files (`._a.csv`), and hidden ones, are none of them.
    """
    names = (path.name for path in folder.iterdir() if not path.name.startswith("."))
    return [folder / name for name in sorted(names) if fnmatchcase(name.lower(), pattern)]


def table(folder: Path, name: str, columns: Sequence[str], *, quote: str = '"') -> Iterator[Row]:
    """The rows of a table with a header line.

    Raises:
        InvalidRequest: no such file, or as `read_table`.
    """
    for row in read_table(_existing(folder, name), columns, name=name, quote=quote):
        yield Row(
            folder=folder,
            file=name,
            number=row.number,
            cells=row.cells,
            problem=row.problem,
            decimal_comma=row.decimal_comma,
        )


def whole_table(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """The rows of a table of which none may be left out.

    Raises:
        InvalidRequest: as `table`, or a row has more cells than the header has columns.
    """
    for row in table(path.parent, path.name, columns):
        if row.problem:
            raise row.bad("", row.problem).bad.error()
        yield row


def json_file(folder: Path, name: str, kind: type[list[Any]] | type[dict[str, Any]]) -> Any:
    """What a JSON file holds, a list or an object.

    Raises:
        InvalidRequest: no such file, no JSON (with its line and column), or the other kind.
    """
    try:
        content = json.loads(read_text(_existing(folder, name)))
    except json.JSONDecodeError as error:
        raise InvalidRequest.of(
            f"{name} row {error.lineno} column {error.colno}", f"is no JSON: {error.msg}"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidRequest.of(name, f"can't be read: {error}") from error
    if not isinstance(content, kind):
        raise InvalidRequest.of(name, f"must hold a {'list' if kind is list else 'JSON object'}")
    return content


def json_lines(folder: Path, name: str) -> Iterator[Row]:
    """The objects of a file that has one a line; a line that is none is a bad row.

    Raises:
        InvalidRequest: no such file, or it is in another encoding than a text's.
    """
    path = _existing(folder, name)
    try:
        for number, line in read_lines(path):
            cells, problem = _object(line)
            yield Row(folder=folder, file=name, number=number, cells=cells, problem=problem)
    except (OSError, ValueError) as error:
        raise InvalidRequest.of(name, f"can't be read: {error}") from error


def _object(line: str) -> tuple[Mapping[str, Any], str]:
    """What a line holds, and what is wrong with it."""
    try:
        content = parse_json(line)
    except ValueError as error:
        return {}, f"is no JSON: {error}"
    return (content, "") if isinstance(content, dict) else ({}, "must be a JSON object")


def _existing(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise InvalidRequest.of(name, f"is missing in {folder}")
    return path
