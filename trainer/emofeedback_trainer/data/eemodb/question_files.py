"""Questions in a data folder, beside its splits: `questions/<split>.jsonl`, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from emofeedback.domain.errors import InvalidRequest, NotFound
from emofeedback.storage.files import write_whole
from emofeedback.storage.texts import read_lines
from emofeedback_trainer.data.eemodb.questions import LETTERS, Question, Task

_PICTURES: Mapping[Task, tuple[int, ...]] = {"perception": (1,), "pair": (2,), "ranking": (1,), "description": (1, 2)}
"""How many pictures a question of each task may be about."""
_CLOSED: tuple[Task, ...] = ("perception", "pair")
"""Tasks whose questions have options."""


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
    if question.task not in _PICTURES:
        raise InvalidRequest.of(place, f"its task is {question.task!r}, it must be one of {', '.join(_PICTURES)}")
    if len(question.images) not in (wanted := _PICTURES[question.task]):
        meant = " or ".join(map(str, wanted))
        raise InvalidRequest.of(place, f"is about {len(question.images)} pictures, {question.task} is about {meant}")
    if question.task in _CLOSED and not 2 <= len(question.options) <= len(LETTERS):
        limit = f"{question.task} needs 2 to {len(LETTERS)}"
        raise InvalidRequest.of(place, f"has {len(question.options)} options, {limit}")
    if question.options and question.answer not in LETTERS[: len(question.options)]:
        raise InvalidRequest.of(place, f"its answer is {question.answer!r}, which is the letter of none of its options")
    return question


def _path(folder: Path, split: str) -> Path:
    return folder / "questions" / f"{split}.jsonl"
