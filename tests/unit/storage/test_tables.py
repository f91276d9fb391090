"""Tables that people hand in: the number that was meant, or a refusal by file and row."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emofeedback.cli.calibrate import RatedPicture, read_ratings
from emofeedback.domain.errors import InvalidRequest
from emofeedback.storage.tables import read_table, to_number
from emofeedback_trainer.data.eemodb.comments import with_comments
from emofeedback_trainer.data.lexicon import read_lexicon
from emofeedback_trainer.data.records import Sample

COLUMNS = ("image", "valence", "arousal")


def pictures(folder: Path, *names: str) -> None:
    for name in names or ("a.jpg", "b.jpg", "c.jpg"):
        (folder / name).write_bytes(b"any")


def ratings(folder: Path, text: str | bytes) -> list[tuple[str, float | None, float | None]]:
    table = folder / "ratings.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    read: Sequence[RatedPicture] = read_ratings(table)
    return [(picture.path.name, picture.valence, picture.arousal) for picture in read]


RATED = [("a.jpg", 7.5, 3.2), ("b.jpg", 2.5, 8.0)]
PLAIN = "image,valence,arousal\na.jpg,7.5,3.2\nb.jpg,2.5,8\n"
SIBLINGS: dict[str, str | bytes] = {
    "as scripts write it": PLAIN,
    "with a byte order mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "in UTF-16, as Excel's Unicode text": PLAIN.replace(",", "\t").encode("utf-16"),
    "semicolons and decimal commas": "image;valence;arousal\na.jpg;7,5;3,2\nb.jpg;2,5;8\n",
    "semicolons and points": PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "a hint for spreadsheets": "sep=;\nimage;valence;arousal\na.jpg;7,5;3,2\nb.jpg;2,5;8\n",
    "old Mac's line ends": PLAIN.replace("\n", "\r"),
    "Windows' line ends": PLAIN.replace("\n", "\r\n"),
    "comments": "# ratings of Ada, 2026\n#by hand, at noon\n" + PLAIN.replace("b.jpg", "# then, after lunch\n#\nb.jpg"),
    "blanks after commas": PLAIN.replace(",", ", "),
    "quotes": 'image,valence,arousal\n"a.jpg", "7.5",3.2\n"b.jpg","2.5",8\n',
    "more columns in another order": "arousal,who,image,valence\n3.2,ada,a.jpg,7.5\n8,ada,b.jpg,2.5\n",
    "empty rows and cells at the end": "image,valence,arousal,,\na.jpg,7.5,3.2,,,\n,,,,\n\nb.jpg,2.5,8,,\n",
}


@pytest.mark.parametrize("kind", SIBLINGS)
def test_a_table_reads_the_same_however_it_was_saved(kind: str, tmp_path: Path) -> None:
    pictures(tmp_path)
    assert ratings(tmp_path, SIBLINGS[kind]) == RATED


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "decimal commas between commas": (
        "image,valence,arousal\na.jpg,7,5,3,2\nb.jpg,2,5,8,1\nc.jpg,4,5,4,5\n",
        r"ratings\.csv row 2: has more cells than the header",
    ),
    "a decimal comma in quotes": ('image,valence,arousal\na.jpg,"7,5",3\n', r"row 2 column valence: is '7,5'"),
    "grouped thousands": ("image;valence;arousal\na.jpg;1.234,5;3\n", r"row 2 column valence: is '1\.234,5'"),
    "Python's underscores": ("image,valence,arousal\na.jpg,0_7,3\n", r"row 2 column valence: is '0_7'"),
    "NaN": ("image,valence,arousal\na.jpg,nan,3\n", r"row 2 column valence: is nan, it must lie in"),
    "a column that is there twice": ("image,valence,arousal,valence\na.jpg,7,3,1\n", "row 1 column valence: stands 2"),
    "a missing column": ("# by Ada\nimage,valence\na.jpg,7\n", "row 2 column arousal: is missing; the header has"),
    "nothing": ("", "row 1 column image: is missing"),
    "Windows-1252": ("image,valence,arousal\ncaf\xe9.jpg,7,3\n".encode("cp1252"), r"ratings\.csv row 2: is not UTF-8"),
    "an open quote": ('image,valence,arousal\n"a.jpg,7,3\n', r"ratings\.csv row 2: can't be read"),
    "an over-long name": (f"image,valence,arousal\n{'a' * 5000}.jpg,7,3\n", "row 2 column image: names .* and so on"),
    "a name that leaves the folder": ("image,valence,arousal\n../a.jpg,7,3\n", "which lies outside the folder"),
    "a name from the root": ("image,valence,arousal\n/etc/passwd,7,3\n", "which lies outside the folder"),
    "a name with a null": ("image,valence,arousal\na\0.jpg,7,3\n", "row 2 column image: names .*no such file"),
    "a folder": ("image,valence,arousal\n.,7,3\n", "row 2 column image: names '.', and there is no such file"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_could_be_read_as_another_number_or_is_no_file_is_refused_by_row(kind: str, tmp_path: Path) -> None:
    pictures(tmp_path)
    text, said = REFUSED[kind]
    with pytest.raises(InvalidRequest, match=said) as refusal:
        ratings(tmp_path, text)
    assert len(str(refusal.value)) < 300


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"ratings\.csv: can't be read: No such file"):
        read_ratings(tmp_path / "ratings.csv")


def test_every_command_refuses_rows_with_more_cells_than_the_header(tmp_path: Path) -> None:
    said = tmp_path / "said.csv"
    said.write_text("source,id,comment\noasis,1,calm, and wide\n")
    with pytest.raises(InvalidRequest, match=r"said\.csv row 2: has more cells"):
        with_comments([Sample(id="1", source="oasis", license="free")], said)
    words = tmp_path / "words.csv"
    words.write_text("Word,V.Mean.Sum,V.SD.Sum,A.Mean.Sum,A.SD.Sum,D.Mean.Sum\nawe,6,5,1,3,1,5\n")
    with pytest.raises(InvalidRequest, match=r"words\.csv row 2: has more cells"):
        read_lexicon(words)


def test_a_lexicon_from_a_german_spreadsheet_has_the_same_figures(tmp_path: Path) -> None:
    words = tmp_path / "words.csv"
    words.write_text("Word;V.Mean.Sum;V.SD.Sum;A.Mean.Sum;A.SD.Sum;D.Mean.Sum\nawe;6,5;1,25;3;1,5;5\n;6;1;3;1;5\n")
    with pytest.raises(InvalidRequest, match=r"words\.csv row 3 column Word: is empty"):
        read_lexicon(words)
    words.write_text(words.read_text().replace("\n;6;1;3;1;5", ""))
    assert (read_lexicon(words)["awe"].valence_mean, read_lexicon(words)["awe"].valence_sd) == (6.5, 1.25)


# Any table: what comes back is what was written, or the row is refused.

value = st.decimals(1, 9, places=2).map(lambda number: f"{number:f}") | st.just("")
cell = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufeff"), max_size=12)
beginning = st.sampled_from(["", "\ufeff", "# a note, with commas; and more\n", "#x\n\n"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    rows=st.lists(st.tuples(cell, value, value), min_size=1, max_size=6),
    delimiter=st.sampled_from(",;\t"),
    decimal=st.sampled_from(",."),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    before=beginning,
)
def test_no_table_gives_another_number_than_the_one_written(
    tmp_path: Path,
    rows: list[tuple[str, str, str]],
    delimiter: str,
    decimal: str,
    end: str,
    quoting: int,
    before: str,
) -> None:
    text = io.StringIO()
    written = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    written.writerow(COLUMNS)
    for name, *values in rows:
        written.writerow([f"x{name}", *(number.replace(".", decimal) for number in values)])
    path = tmp_path / "table.csv"
    path.write_bytes((before + text.getvalue()).encode())
    read = list(read_table(path, COLUMNS, name="table.csv"))
    assert [row.cells["image"] for row in read] == [f"x{name}".strip() for name, *_ in rows]
    for row, (_, *values) in zip(read, rows, strict=True):
        assert not row.problem
        for column, number in zip(COLUMNS[1:], values, strict=True):
            if not number:
                assert not row.cells[column]
            elif delimiter == "," and decimal == ",":
                with pytest.raises(ValueError):
                    to_number(row.cells[column], decimal_comma=row.decimal_comma)
            else:
                assert to_number(row.cells[column], decimal_comma=row.decimal_comma) == float(number)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.binary(max_size=80), name=st.text(max_size=300))
def test_no_bytes_and_no_name_end_in_anything_but_a_refusal(tmp_path: Path, data: bytes, name: str) -> None:
    pictures(tmp_path)
    for text in (
        data,
        b"image,valence,arousal\n" + data,
        f"image;valence;arousal\n{name};7;3".encode(errors="replace"),
    ):
        try:
            ratings(tmp_path, text)
        except InvalidRequest as error:
            assert "ratings.csv" in str(error)
