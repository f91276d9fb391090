"""Questions in a data folder, beside its splits: `questions/<split>.jsonl`, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from emofeedback.domain.errors import InvalidRequest, NotFound
from emofeedback.storage.files import write_whole
from emofeedback.storage.texts import read_lines
from emofeedback_trainer.data.eemodb.questions import LETTERS, Question


def write_questions(folder: Path, split: str, questions: Sequence[Question]) -> None:
    """Writes a split's questions; raises as `storage.files.write_whole`."""
    lines = (json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in questions)
    write_whole(_path(folder, split), "".join(lines).encode())


def read_questions(folder: Path, split: str) -> list[Question]:
    """A split's questions, in the order in which they were written.

    Raises:
        NotFound: the folder has none.
        InvalidRequest: a line is no question; file and line are named.
    """
    path = _path(folder, split)
    if not path.is_file():
        raise NotFound(f"{folder} has no questions: {path.relative_to(folder)} is made by `data build-eemodb`")
    return [_question(f"{path.name} line {number}", line) for number, line in read_lines(path)]


def _question(place: str, line: str) -> Question:
    try:
        fields = json.loads(line)
        question = Question(**{**fields, "images": tuple(fields["images"]), "options": tuple(fields["options"])})
    except (LookupError, TypeError, ValueError) as error:
        raise InvalidRequest.of(place, f"is no question: {error}") from error
    if question.options and question.answer not in LETTERS[: len(question.options)]:
        raise InvalidRequest.of(place, f"its answer is {question.answer!r}, which is the letter of none of its options")
    return question


def _path(folder: Path, split: str) -> Path:
    return folder / "questions" / f"{split}.jsonl"
