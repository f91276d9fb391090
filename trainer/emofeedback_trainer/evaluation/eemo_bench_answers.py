"""EEmo-Bench's answer files (arXiv 2504.16405), read.

Two layouts, as the benchmark and EEmo-Logic publish them, both a JSON list:

- questions, a row each: `question_type`, `perceptual_dimension`, `options` (a mapping, or one written as text),
  `correct_answer` (a letter) and the model's `response`; of `Open_ended` ones `question`, `describing_dimension`,
  `correct_answer` (a text) and `response`;
- single images, a row each: the ground truth (`image_name`, `emotion_list`, `Valence`, `Arousal`, `Dominance`,
  `judge_A`, `judge_answer`, `choose_A`, `choose_answer`, on some `open_ended_Q`) and any of the model's
  `judge_response`, `choose_response`, `predict_emotion_list`, `valence_predict`, `arousal_predict`,
  `dominance_predict`, `open_ended_response`. Truth and predictions may also be two files whose rows have the same
  `image_name`.

The benchmark's own files name the model in a column: `response(gpt-4o)` is read as `response`, and the marks of a free
answer in `eval_result(gpt-4o)` are its rounds. A free answer on a single image has no reference there: it is held
against the image's labels in words.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.taxonomies import EKMAN
from emofeedback.judge.numbers import stated_number
from emofeedback.storage.texts import read_text
from emofeedback_trainer.data.records import AXES
from emofeedback_trainer.evaluation.adjudication import HIGHEST, Description, Marks
from emofeedback_trainer.evaluation.prompts import OVERALL
from emofeedback_trainer.evaluation.replies import named_emotions

KINDS = {"judge": "Yes-or-No", "choose": "What/How"}
"""The two closed questions of a single image, and the type of each."""
OPEN_RESPONSE = "open_ended_response"
"""The column of a free answer on a single image; the question's is `open_ended_Q`."""
_ANSWERS = {
    *(f"{kind}_response" for kind in KINDS),
    *(f"{axis}_predict" for axis in AXES),
    "predict_emotion_list",
    OPEN_RESPONSE,
}
"""The columns of a single image's answers."""
OPEN = "Open_ended"
"""The type of questions that are answered in prose."""
_OF_MODEL = re.compile(r"(response|eval_result)\(.*\)")
"""A column of a published file that names the model."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A closed question with a model's answer."""

    kind: str
    """`Yes-or-No` or `What/How`."""
    dimension: str
    """What it asks after, such as `Valence perception`; empty where the file doesn't say."""
    text: str
    """The question; empty where the file leaves it out."""
    options: Mapping[str, str]
    """Texts by letter."""
    correct: str
    """A letter."""
    response: str
    """Empty where there is none."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The emotions of one image, strongest first."""

    truth: tuple[str, ...]
    predicted: tuple[str, ...]
    """Empty where the answer can't be read."""


@dataclass(frozen=True, kw_only=True)
class Rating:
    """One axis of one image; truth and prediction may be on different scales."""

    axis: str
    truth: float
    predicted: float | None


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What an answer file holds."""

    rows: int
    questions: tuple[Question, ...] = ()
    rankings: tuple[Ranking, ...] = ()
    ratings: tuple[Rating, ...] = ()
    descriptions: tuple[Description, ...] = ()


def read_answers(responses: Path, truth: Path | None = None) -> Answers:
    """An answer file, with the ground truth of single images from another file where it doesn't hold them itself.

    Raises:
        InvalidRequest: a file can't be read or a row of it is none of the two layouts; file, row and column are named.
    """
    rows = read_rows(responses)
    known = {str(row.get("image_name")): row for _, row in read_rows(truth)} if truth else {}
    # A row that lacks a column of the others is one whose answer never came.
    unanswered = dict.fromkeys(column for _, row in rows for column in row if column in _ANSWERS)
    questions: list[Question] = []
    rankings: list[Ranking] = []
    ratings: list[Rating] = []
    descriptions: list[Description] = []
    for place, row in rows:
        if row.get("question_type") == OPEN:
            descriptions.append(_description(place, row))
            continue
        if "question_type" in row:
            questions.append(_question(place, row))
            continue
        if "image_name" not in row:
            raise InvalidRequest.of(place, "has neither question_type nor image_name: it is no row of an answer file")
        name = str(row["image_name"])
        if truth and name not in known:
            raise InvalidRequest.of(f"{place} column image_name", f"{name!r} is not in {truth}")
        whole = {**unanswered, **known.get(name, {}), **row}
        questions += _closed_questions(place, whole)
        rankings += _ranking(place, whole)
        ratings += _ratings(place, whole)
        descriptions += _description_of_one(place, whole)
    if not (questions or rankings or ratings or descriptions):
        raise InvalidRequest.of(str(responses), "holds no answers: see `--help` for the columns that are looked for")
    return Answers(
        rows=len(rows),
        questions=tuple(questions),
        rankings=tuple(rankings),
        ratings=tuple(ratings),
        descriptions=tuple(descriptions),
    )


def read_rows(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """A file's rows with their places, counted from 1, for messages.

    Raises:
        InvalidRequest: it is no JSON list of objects.
    """
    try:
        content = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidRequest.of(str(path), f"is not readable JSON: {error}") from error
    if not isinstance(content, list) or not content:
        raise InvalidRequest.of(str(path), "must be a JSON list of at least one row")
    for number, row in enumerate(content, 1):
        if not isinstance(row, Mapping):
            raise InvalidRequest.of(f"{path} row {number}", "must be an object")
    return [
        (f"{path} row {number}", {_OF_MODEL.sub(r"\1", column): value for column, value in row.items()})
        for number, row in enumerate(content, 1)
    ]


def _question(place: str, row: Mapping[str, Any]) -> Question:
    return _closed(
        place,
        kind=_text(place, row, "question_type"),
        dimension=str(row.get("perceptual_dimension") or ""),
        text=str(row.get("question") or ""),
        options=options_of(place, row, "options"),
        correct=_text(place, row, "correct_answer"),
        response=_reply(place, row, "response"),
    )


def _closed_questions(place: str, row: Mapping[str, Any]) -> Iterator[Question]:
    for name, kind in KINDS.items():
        if f"{name}_response" in row:
            yield _closed(
                place,
                kind=kind,
                dimension="",
                text=str(row.get(f"{name}_Q") or ""),
                options=options_of(place, row, f"{name}_A"),
                correct=_text(place, row, f"{name}_answer"),
                response=_reply(place, row, f"{name}_response"),
            )


def _closed(place: str, *, options: Mapping[str, str], correct: str, **fields: str) -> Question:
    if correct not in options:
        raise InvalidRequest.of(place, f"its right answer {correct!r} is none of the options {', '.join(options)}")
    return Question(options=options, correct=correct, **fields)


def _description(place: str, row: Mapping[str, Any]) -> Description:
    return Description(
        dimension=str(row.get("describing_dimension") or ""),
        question=_text(place, row, "question"),
        truth=_text(place, row, "correct_answer"),
        response=_reply(place, row, "response"),
        rounds=_rounds(place, row),
    )


def _rounds(place: str, row: Mapping[str, Any]) -> tuple[Marks, ...]:
    """The marks that a published file has of a free answer."""
    marks = row.get("eval_result", [])
    known = {str(mark): mark for mark in range(HIGHEST + 1)}
    if not isinstance(marks, list) or any(str(mark) not in known for mark in marks):
        raise InvalidRequest.of(f"{place} column eval_result", f"must be a list of marks of 0 to {HIGHEST}")
    return tuple({OVERALL: known[str(mark)]} for mark in marks)


def _description_of_one(place: str, row: Mapping[str, Any]) -> Iterator[Description]:
    if not row.get("open_ended_Q") or OPEN_RESPONSE not in row:
        return
    emotions = ", ".join(_emotions(place, row))
    ratings = ", ".join(f"{axis} {_true_mean(place, row, axis):.1f}" for axis in AXES)
    yield Description(
        dimension="",
        question=_text(place, row, "open_ended_Q"),
        truth=f"The emotions that the picture evokes, the strongest first: {emotions}. On scales of 1 to 9: {ratings}.",
        response=_reply(place, row, OPEN_RESPONSE),
    )


def _ranking(place: str, row: Mapping[str, Any]) -> Iterator[Ranking]:
    if "predict_emotion_list" not in row:
        return
    truth = _emotions(place, row)
    predicted = row["predict_emotion_list"]
    text = ", ".join(map(str, predicted)) if isinstance(predicted, list) else str(predicted or "")
    yield Ranking(truth=truth, predicted=named_emotions(text, EKMAN))


def _emotions(place: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    """The true emotions of an image, the strongest first."""
    try:
        return tuple(str(emotion).lower() for emotion, _ in row["emotion_list"])
    except (LookupError, TypeError, ValueError) as error:
        raise InvalidRequest.of(f"{place} column emotion_list", "must be a list of [emotion, weight]") from error


def _ratings(place: str, row: Mapping[str, Any]) -> Iterator[Rating]:
    for axis in AXES:
        if f"{axis}_predict" not in row:
            continue
        truth = _true_mean(place, row, axis)
        said = row[f"{axis}_predict"]
        predicted = _finite(said) if isinstance(said, int | float) else stated_number(str(said), axis)
        yield Rating(axis=axis, truth=truth, predicted=predicted)


def _true_mean(place: str, row: Mapping[str, Any], axis: str) -> float:
    column = axis.capitalize()
    truth = _finite(row[column][0] if isinstance(row.get(column), list) and row[column] else None)
    if truth is None:
        raise InvalidRequest.of(f"{place} column {column}", "must be a list that begins with the mean, a number")
    return truth


def _finite(value: Any) -> float | None:
    """A number of JSON; None where it is none, no finite one or too large for any figure."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        return None
    return float(value)


def options_of(place: str, row: Mapping[str, Any], column: str) -> Mapping[str, str]:
    """A row's options by letter: a mapping, or the text of one, which is read as a literal and never run.

    Raises:
        InvalidRequest: it is neither.
    """
    value = row.get(column)
    try:
        options = ast.literal_eval(value) if isinstance(value, str) else value
        if not isinstance(options, Mapping) or len(options) < 2:
            raise ValueError(f"{options!r}")
    except (SyntaxError, ValueError) as error:
        raise InvalidRequest.of(f"{place} column {column}", "must be two options or more by their letters") from error
    return {str(letter): str(text) for letter, text in options.items()}


def _text(place: str, row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    if not isinstance(value, str):
        raise InvalidRequest.of(f"{place} column {column}", f"must be a text, it is {value!r}")
    return value


def _reply(place: str, row: Mapping[str, Any], column: str) -> str:
    """A model's reply, empty where the row says that there is none: null, or the NaN that tables put there."""
    if column not in row:
        raise InvalidRequest.of(f"{place} column {column}", "is missing: the row holds no answer")
    value = row[column]
    return "" if value is None or value != value else str(value)
