"""EEmo-Bench (arXiv 2504.16405): a model's answer file scored as the benchmark scores it.

Two layouts, as the benchmark and EEmo-Logic publish them, both a JSON list:

- closed questions, a row each: `question_type`, `perceptual_dimension`, `options` (a mapping, or one written as text),
  `correct_answer` (a letter) and the model's `response`;
- single images, a row each: the ground truth (`image_name`, `emotion_list`, `Valence`, `Arousal`, `Dominance`,
  `judge_A`, `judge_answer`, `choose_A`, `choose_answer`) and any of the model's `judge_response`, `choose_response`,
  `predict_emotion_list`, `valence_predict`, `arousal_predict`, `dominance_predict`. Truth and predictions may also be
  two files whose rows have the same `image_name`.

An answer that can't be read, or is null because nothing came back, is wrong, and counted. A rating like that takes no
part in the correlations, and is counted too; so is an answer that a row lacks and others of the file have. A question
two of whose options read the same has no one right answer: it is left out, as it is in the published figures (1,005
What/How questions on pairs, of 1,006 in the file).
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.taxonomies import EKMAN
from emofeedback.judge.numbers import stated_number
from emofeedback.storage.texts import read_text
from emofeedback_trainer.core.tables import table
from emofeedback_trainer.data.records import AXES
from emofeedback_trainer.evaluation.metrics import Estimate, correlation, estimate, ranking_score, srcc
from emofeedback_trainer.evaluation.provenance import Provenance, plain, shown
from emofeedback_trainer.evaluation.replies import chosen_option, is_ambiguous, named_emotions

KINDS = {"judge": "Yes-or-No", "choose": "What/How"}
"""The two closed questions of a single image, and the type of each."""
_ANSWERS = {*(f"{kind}_response" for kind in KINDS), *(f"{axis}_predict" for axis in AXES), "predict_emotion_list"}
"""The columns of a single image's answers."""
_PERCENT = 100.0


@dataclass(frozen=True, kw_only=True)
class Question:
    """A closed question with a model's answer."""

    kind: str
    """`Yes-or-No` or `What/How`."""
    dimension: str
    """What it asks after, such as `Valence perception`; empty where the file doesn't say."""
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


@dataclass(frozen=True, kw_only=True)
class Perception:
    """Accuracy on closed questions, in percent."""

    by_kind: Mapping[str, Estimate]
    by_dimension: Mapping[str, Estimate]
    unparsed: int
    ambiguous: int
    """Questions left out."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What an answer file comes to; None for a task that it has no answers to."""

    perception: Perception | None
    ranking: Estimate | None
    """In percent."""
    unparsed_rankings: int
    ratings: Mapping[str, Mapping[str, Estimate]]
    """By axis: `srcc` and `plcc`."""
    unparsed_ratings: int

    def to_json(self, provenance: Provenance) -> dict[str, Any]:
        """Values by themselves, where a reader looks for them, and their intervals beside them."""
        content: dict[str, Any] = {}
        if self.perception:
            one = self.perception
            content["perception"] = {
                **{kind: round(found.value, 2) for kind, found in one.by_kind.items()},
                "by_dimension": {name: round(found.value, 2) for name, found in one.by_dimension.items()},
                "unparsed": one.unparsed,
                "ambiguous": one.ambiguous,
                "figures": {**one.by_kind, "by_dimension": one.by_dimension},
            }
        if self.ranking:
            score = round(self.ranking.value, 2)
            content["ranking"] = {"score": score, "unparsed": self.unparsed_rankings, "figures": self.ranking}
        if self.ratings or self.unparsed_ratings:
            content["ratings"] = {**self.ratings, "unparsed": self.unparsed_ratings}
        plain_content: dict[str, Any] = plain({**content, "provenance": provenance})
        return plain_content

    def to_markdown(self, provenance: Provenance) -> str:
        """One table, and where it comes from."""
        rows = [
            (f"perception, {name}, %", found, 2)
            for names in ((self.perception.by_kind, self.perception.by_dimension) if self.perception else ())
            for name, found in names.items()
        ]
        if self.ranking:
            rows.append(("ranking score, %", self.ranking, 2))
        rows += [
            (f"{axis}, {name.upper()}", found, 3) for axis, both in self.ratings.items() for name, found in both.items()
        ]
        wrong = (self.perception.unparsed if self.perception else 0) + self.unparsed_rankings
        cells = [(name, shown(found, digits), f"{found.n:,}") for name, found, digits in rows]
        left_out = self.perception.ambiguous if self.perception else 0
        notes = (
            f"Answers that could not be read, counted as wrong: {wrong}. Ratings that could not be read, left out: "
            f"{self.unparsed_ratings}. Questions left out as ambiguous: {left_out}."
        )
        return "\n".join([table(("EEmo-Bench", "value", "n"), cells), "", notes, "", provenance.to_markdown()])


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
    for place, row in rows:
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
    if not (questions or rankings or ratings):
        raise InvalidRequest.of(str(responses), "holds no answers: see `--help` for the columns that are looked for")
    return Answers(rows=len(rows), questions=tuple(questions), rankings=tuple(rankings), ratings=tuple(ratings))


def score(answers: Answers, *, seed: int = 0) -> Scores:
    """The benchmark's metrics, each where the file has answers for it."""
    return Scores(
        perception=_perception(answers.questions, seed) if answers.questions else None,
        ranking=_mean([ranking_score(one.truth, one.predicted) for one in answers.rankings], seed),
        unparsed_rankings=sum(not one.predicted for one in answers.rankings),
        ratings={
            axis: {"srcc": estimate(srcc, *columns, seed=seed), "plcc": estimate(correlation, *columns, seed=seed)}
            for axis in AXES
            if len((columns := _columns(answers.ratings, axis))[0])
        },
        unparsed_ratings=sum(one.predicted is None for one in answers.ratings),
    )


def _perception(questions: Sequence[Question], seed: int) -> Perception:
    clear = [question for question in questions if not is_ambiguous(question.options)]
    chosen = [chosen_option(question.response, question.options) for question in clear]
    right = [_PERCENT * (letter == question.correct) for letter, question in zip(chosen, clear, strict=True)]

    def by(name: Callable[[Question], str]) -> dict[str, Estimate]:
        groups: dict[str, list[float]] = {}
        for question, hit in zip(clear, right, strict=True):
            if name(question):
                groups.setdefault(name(question), []).append(hit)
        return {group: found for group, hits in groups.items() if (found := _mean(hits, seed))}

    return Perception(
        by_kind=by(lambda question: question.kind),
        by_dimension=by(lambda question: question.dimension),
        unparsed=chosen.count(None),
        ambiguous=len(questions) - len(clear),
    )


def _mean(values: Sequence[float], seed: int) -> Estimate | None:
    return estimate(lambda drawn: float(np.mean(drawn)), values, seed=seed) if values else None


def _columns(ratings: Sequence[Rating], axis: str) -> tuple[list[float], list[float]]:
    """Truth and prediction of the images whose rating on this axis could be read."""
    pairs = [(one.truth, one.predicted) for one in ratings if one.axis == axis and one.predicted is not None]
    return [truth for truth, _ in pairs], [predicted for _, predicted in pairs]


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
    return [(f"{path} row {number}", row) for number, row in enumerate(content, 1)]


def _question(place: str, row: Mapping[str, Any]) -> Question:
    return _closed(
        place,
        kind=_text(place, row, "question_type"),
        dimension=str(row.get("perceptual_dimension") or ""),
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
                options=options_of(place, row, f"{name}_A"),
                correct=_text(place, row, f"{name}_answer"),
                response=_reply(place, row, f"{name}_response"),
            )


def _closed(place: str, *, options: Mapping[str, str], correct: str, **fields: str) -> Question:
    if correct not in options:
        raise InvalidRequest.of(place, f"its right answer {correct!r} is none of the options {', '.join(options)}")
    return Question(options=options, correct=correct, **fields)


def _ranking(place: str, row: Mapping[str, Any]) -> Iterator[Ranking]:
    if "predict_emotion_list" not in row:
        return
    try:
        truth = tuple(str(emotion).lower() for emotion, _ in row["emotion_list"])
    except (LookupError, TypeError, ValueError) as error:
        raise InvalidRequest.of(f"{place} column emotion_list", "must be a list of [emotion, weight]") from error
    predicted = row["predict_emotion_list"]
    text = ", ".join(map(str, predicted)) if isinstance(predicted, list) else str(predicted or "")
    yield Ranking(truth=truth, predicted=named_emotions(text, EKMAN))


def _ratings(place: str, row: Mapping[str, Any]) -> Iterator[Rating]:
    for axis in AXES:
        if f"{axis}_predict" not in row:
            continue
        column = axis.capitalize()
        mean = row[column][0] if isinstance(row.get(column), list) and row[column] else None
        truth = _finite(mean)
        if truth is None:
            raise InvalidRequest.of(f"{place} column {column}", "must be a list that begins with the mean, a number")
        said = row[f"{axis}_predict"]
        predicted = _finite(said) if isinstance(said, int | float) else stated_number(str(said), axis)
        yield Rating(axis=axis, truth=truth, predicted=predicted)


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
