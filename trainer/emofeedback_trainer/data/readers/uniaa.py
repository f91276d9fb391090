"""UNIAA-QA (Zhou et al., 2024): closed questions on the aesthetics of pictures, 464 of them on the mood they convey.

UNIAA_QA.json           [{"img_path", "question", "candidates": [2 to 5], "correct_ans", "dimension", "category"}, ...]
<img_path>              the pictures, where the file says

Or, instead, the questions on mood that EEmo-Logic is measured on (arXiv 2602.01173), rows of the same columns:

test_UNIAA_Sent.json

A sample is a question, for one picture may have several; its label is the question's category.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.data.records import ClosedQuestion, Sample
from emofeedback_trainer.data.rows import Row, json_file

SOURCE = "uniaa"
LICENSE = "UNIAA: as its authors state where they publish it; photographs belong to their photographers"
SPLITS = ()

_FILES = ("UNIAA_QA.json", "test_UNIAA_Sent.json")
_OPTIONS = range(2, 6)


def rows(folder: Path) -> Iterator[Row]:
    """One row per question."""
    name = next((name for name in _FILES if (folder / name).is_file()), None)
    if name is None:
        raise InvalidRequest.of(_FILES[0], f"is missing in {folder}, and so is {_FILES[1]}")
    for number, entry in enumerate(json_file(folder, name, list), start=1):
        yield Row(folder=folder, file=name, number=number, cells=entry if isinstance(entry, dict) else {})


def sample(row: Row) -> Sample:
    """One question with its picture."""
    options, answer = row.texts("candidates"), row.text("correct_ans")
    if len(options) not in _OPTIONS:
        raise row.bad("candidates", f"has {len(options)} options, it must have {_OPTIONS[0]} to {_OPTIONS[-1]}")
    if answer not in options:
        raise row.bad("correct_ans", f"is {answer[:60]!r}, which is none of the candidates")
    return Sample(
        id=str(row.number),
        source=SOURCE,
        license=LICENSE,
        image=row.path("img_path", row.text("img_path")),
        label=row.text("category") if row.cells.get("category") else "",
        questions=(
            ClosedQuestion(topic=row.text("dimension"), text=row.text("question"), options=options, answer=answer),
        ),
        split="test",
    )
