"""AesBench (Huang et al., 2024): an expert's closed questions on each of 2,800 pictures, one of them on what it evokes.

AesBench_evaluation.json    {<name of the picture>: {"AesP_data": {"Question", "Options"}, "AesE_data": ..., ...}, ...}
images/<name>

`Options` is a text, `A) ...` a line. AesP asks what is perceived, AesE what is felt, AesA1 how good the picture is. The
authors keep the answers and score what is sent to them; where an entry has a letter as `Answer` it is read.
EEmo-Logic's copy of the file, test_AesBench_AesE.json, will do as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emofeedback_trainer.data.records import ClosedQuestion, Sample
from emofeedback_trainer.data.rows import Row, json_file

SOURCE = "aesbench"
LICENSE = "AesBench: CC BY-NC, for evaluation only: its authors forbid training on it"
SPLITS = ()

_FILES = ("AesBench_evaluation.json", "test_AesBench_AesE.json")
_TOPICS = ("AesP", "AesE", "AesA1")
_OPTION = re.compile(r"^\s*([A-Z])\)\s*(.+?)\s*$", re.MULTILINE)


def rows(folder: Path) -> Iterator[Row]:
    """One row per picture, in the order of the file."""
    file = next((name for name in _FILES if (folder / name).is_file()), _FILES[0])
    for number, (name, entry) in enumerate(json_file(folder, file, dict).items(), start=1):
        cells = entry if isinstance(entry, dict) else {}
        yield Row(folder=folder, file=file, number=number, cells={**cells, "name": name})


def sample(row: Row) -> Sample:
    """One picture with its closed questions."""
    name = row.text("name")
    questions = tuple(_question(row, topic) for topic in _TOPICS if f"{topic}_data" in row.cells)
    if not questions:
        raise row.bad("", f"has none of {', '.join(f'{topic}_data' for topic in _TOPICS)}")
    return Sample(
        id=name,
        source=SOURCE,
        license=LICENSE,
        image=row.path("name", f"images/{name}"),
        questions=questions,
        split="test",
    )


def _question(row: Row, topic: str) -> ClosedQuestion:
    column = f"{topic}_data"
    asked: Any = row.cells[column]
    asked = asked if isinstance(asked, dict) else {}
    fields = {name: asked.get(name, "") for name in ("Question", "Options", "Answer")}
    if not all(isinstance(value, str) for value in fields.values()) or not fields["Question"].strip():
        raise row.bad(column, "must be an object with a text as Question and one as Options")
    options = dict(_OPTION.findall(fields["Options"]))
    if len(options) < 2 or list(options) != [chr(ord("A") + place) for place in range(len(options))]:
        raise row.bad(f"{column}.Options", "must be two options or more, 'A) ...' a line")
    letter = fields["Answer"].strip()[:1]
    if letter and letter not in options:
        raise row.bad(f"{column}.Answer", f"is {fields['Answer'][:60]!r}, which is the letter of none of the options")
    return ClosedQuestion(
        topic=topic,
        text=fields["Question"].strip(),
        options=tuple(options.values()),
        answer=options.get(letter, ""),
    )
