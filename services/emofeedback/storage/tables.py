"""Tables of text that people hand in, as spreadsheets and scripts write them: one reader for all commands.

1. Cells stand between commas, semicolons or tabs, whichever make the header hold the columns that are needed.
2. Where they don't stand between commas, a comma in a number is a decimal comma.
3. Before the header, lines that begin with `#`, and `sep=;`, are passed over; below it, lines that begin with `# ` or
   are `#` alone. A row whose first cell begins so has it in quotes.
4. Rows without anything in them are passed over; any row with more in it than the header has columns is marked.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emofeedback.domain.errors import InvalidRequest
from emofeedback.storage.texts import read_text

_DELIMITERS = (",", ";", "\t")
_BEFORE_HEADER = re.compile(r"#|sep=.\s*$")
_COMMENT = re.compile(r"#(\s|$)")


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One row below the header."""

    number: int
    """Number of the line on which it ends, counted from 1."""
    cells: Mapping[str, str]
    """By column; without white space around them, and empty where the row is shorter than the header."""
    problem: str
    """What is wrong with the row as a whole; empty where nothing is."""
    decimal_comma: bool
    """Whether a comma in a number is a decimal comma."""


def read_table(path: Path, columns: Sequence[str], *, name: str, quote: str = '"') -> Iterator[TableRow]:
    """The rows of a table with a header line.

    Args:
        columns: that the header must have, each once.
        name: what messages call the file.
        quote: around cells that hold delimiters or line ends.

    Raises:
        InvalidRequest: the file can't be read, is not UTF-8 (or UTF-16 with its mark), a column is missing or there
            twice, or a quote is not closed; file and row are named.
    """
    try:
        # Carriage returns alone end lines as well; characters such as U+2028 don't.
        lines = list(io.StringIO(read_text(path), newline=""))
    except OSError as error:
        raise InvalidRequest.of(name, f"can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        row = len(error.object[: error.start].splitlines() or [b""])
        raise InvalidRequest.of(f"{name} row {row}", f"is not UTF-8: {error.reason}") from error
    delimiter = _delimiter(lines, columns, quote)
    number = 0
    try:
        records = _records(lines, delimiter, quote)
        number, header = next(records, (1, []))
        _check_header(header, columns, f"{name} row {number}")
        for number, cells in records:
            surplus = any(cells[len(header) :])
            yield TableRow(
                number=number,
                cells=dict(zip(header, cells + [""] * len(header), strict=False)),
                problem="has more cells than the header has columns" if surplus else "",
                decimal_comma=delimiter != ",",
            )
    except csv.Error as error:
        raise InvalidRequest.of(f"{name} row {number + 1}", f"can't be read: {error}") from error


def to_number(text: str, *, decimal_comma: bool) -> float:
    """A number as a table has it, NaN and infinity included.

    Raises:
        ValueError: it is none. Python's `1_5` is none, nor is a number that groups its thousands.
    """
    if "_" in text:
        raise ValueError(f"{text!r} is no number")
    return float(text.replace(",", ".") if decimal_comma else text)


def _check_header(header: Sequence[str], columns: Sequence[str], place: str) -> None:
    for column in columns:
        if column not in header:
            raise InvalidRequest.of(f"{place} column {column}", f"is missing; the header has {list(header)}")
        if header.count(column) > 1:
            raise InvalidRequest.of(f"{place} column {column}", f"stands {header.count(column)} times in the header")


def _delimiter(lines: Sequence[str], columns: Sequence[str], quote: str) -> str:
    """What makes the header hold the needed columns, or else, for the message, most columns."""

    def found(delimiter: str) -> tuple[int, int]:
        try:
            _, header = next(_records(lines, delimiter, quote), (1, []))
        except csv.Error:
            return 0, 0
        return len(set(columns) & set(header)), len(header)

    return max(_DELIMITERS, key=found)


def _records(lines: Sequence[str], delimiter: str, quote: str) -> Iterator[tuple[int, list[str]]]:
    """The header and the rows that have something in them, each with the number of its last line."""
    number, in_record, passed_over = 0, False, _BEFORE_HEADER

    def fed() -> Iterator[str]:
        nonlocal number, in_record
        for number, line in enumerate(lines, 1):  # noqa: B007 -- read where the record is yielded
            # Inside a record, what looks like a comment is part of a quoted cell.
            if in_record or not passed_over.match(line):
                in_record = True
                yield line

    for cells in csv.reader(fed(), delimiter=delimiter, quotechar=quote, skipinitialspace=True, strict=True):
        in_record = False
        stripped = [cell.strip() for cell in cells]
        if any(stripped):
            passed_over = _COMMENT
            yield number, stripped
