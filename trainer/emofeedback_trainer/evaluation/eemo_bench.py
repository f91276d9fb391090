"""EEmo-Bench (arXiv 2504.16405): a model's answers scored as the benchmark scores them.

An answer that can't be read, or is null because nothing came back, is wrong, and counted. A rating like that takes no
part in the correlations, and is counted too; so is an answer that a row lacks and others of the file have. A question
two of whose options read the same has no one right answer: it is left out, as it is in the published figures (1,005
What/How questions on pairs, of 1,006 in the file).

Answers to closed questions are read by rule, and where a language model was asked by it as well: both figures are told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emofeedback_trainer.core.tables import table
from emofeedback_trainer.data.records import AXES
from emofeedback_trainer.evaluation.adjudication import Described, described
from emofeedback_trainer.evaluation.eemo_bench_answers import Answers, Question, Rating
from emofeedback_trainer.evaluation.matching import Matched
from emofeedback_trainer.evaluation.metrics import Estimate, correlation, estimate, ranking_score, srcc
from emofeedback_trainer.evaluation.provenance import Provenance, plain, shown
from emofeedback_trainer.evaluation.replies import chosen_option, is_ambiguous

_PERCENT = 100.0


@dataclass(frozen=True, kw_only=True)
class Perception:
    """Accuracy on closed questions, in percent."""

    by_kind: Mapping[str, Estimate]
    by_dimension: Mapping[str, Estimate]
    unparsed: int
    ambiguous: int
    """Questions left out."""
    matched: MatchedPerception | None
    """The same by a language model's reading; None where none was asked."""


@dataclass(frozen=True, kw_only=True)
class MatchedPerception:
    """Accuracy on closed questions, in percent, of the options that a language model takes the answers for."""

    by_kind: Mapping[str, Estimate]
    by_dimension: Mapping[str, Estimate]
    unparsed: int
    """Answers that choose no option by the model's word."""
    asked: int
    """Answers that the model read; the others are an option and nothing else."""


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
    description: Described | None

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
                **({"by_language_model": _matched_json(one.matched)} if one.matched else {}),
            }
        if self.ranking:
            score = round(self.ranking.value, 2)
            content["ranking"] = {"score": score, "unparsed": self.unparsed_rankings, "figures": self.ranking}
        if self.ratings or self.unparsed_ratings:
            content["ratings"] = {**self.ratings, "unparsed": self.unparsed_ratings}
        if self.description:
            content["description"] = self.description
        plain_content: dict[str, Any] = plain({**content, "provenance": provenance})
        return plain_content

    def to_markdown(self, provenance: Provenance) -> str:
        """One table, and where it comes from."""
        rows = [
            (f"perception, {name}, %", found, 2)
            for names in ((self.perception.by_kind, self.perception.by_dimension) if self.perception else ())
            for name, found in names.items()
        ]
        if self.perception and self.perception.matched:
            rows += [
                (f"perception, {name}, read by a language model, %", found, 2)
                for names in (self.perception.matched.by_kind, self.perception.matched.by_dimension)
                for name, found in names.items()
            ]
        if self.ranking:
            rows.append(("ranking score, %", self.ranking, 2))
        rows += [
            (f"{axis}, {name.upper()}", found, 3) for axis, both in self.ratings.items() for name, found in both.items()
        ]
        if self.description:
            rows += _description_rows(self.description)
        wrong = (self.perception.unparsed if self.perception else 0) + self.unparsed_rankings
        cells = [(name, shown(found, digits), f"{found.n:,}") for name, found, digits in rows]
        left_out = self.perception.ambiguous if self.perception else 0
        notes = (
            f"Answers that could not be read, counted as wrong: {wrong}. Ratings that could not be read, left out: "
            f"{self.unparsed_ratings}. Questions left out as ambiguous: {left_out}."
        )
        more = [
            *([_matched_note(self.perception.matched)] if self.perception and self.perception.matched else []),
            *([_description_note(self.description)] if self.description else []),
        ]
        lines = [table(("EEmo-Bench", "value", "n"), cells), "", " ".join([notes, *more])]
        return "\n".join([*lines, "", provenance.to_markdown()])


def _matched_json(found: MatchedPerception) -> dict[str, Any]:
    return {
        **{kind: round(one.value, 2) for kind, one in found.by_kind.items()},
        "by_dimension": {name: round(one.value, 2) for name, one in found.by_dimension.items()},
        "unparsed": found.unparsed,
        "asked": found.asked,
        "figures": {**found.by_kind, "by_dimension": found.by_dimension},
    }


def _matched_note(found: MatchedPerception) -> str:
    return f"The language model read {found.asked:,} answers, and found no option in {found.unparsed:,} of all."


def _description_rows(found: Described) -> list[tuple[str, Estimate, int]]:
    rows = [("description, %", found.score, 2)]
    rows += [(f"description, {name}, %", one, 2) for name, one in found.by_dimension.items()]
    rows += [(f"description, mark of {name}, %", one, 2) for name, one in found.by_mark.items()]
    rows.append(("description, two rounds that agree, %", found.agreement, 2))
    return [(name, one, digits) for name, one, digits in rows if one]


def _description_note(found: Described) -> str:
    spread = (
        "" if found.spread is None else f" An answer's mark varies by {found.spread:.3f} of 2 (SD) over its rounds."
    )
    return (
        f"Descriptions that never came, with a score of 0: {found.unanswered}. Rounds that could not be read: "
        f"{found.unread_rounds}; descriptions left out for that: {found.left_out}.{spread}"
    )


def clear_questions(answers: Answers) -> list[Question]:
    """The closed questions that have one right answer, in their order."""
    return [question for question in answers.questions if not is_ambiguous(question.options)]


def score(answers: Answers, *, matched: Matched | None = None, seed: int = 0) -> Scores:
    """The benchmark's metrics, each where the file has answers for it.

    Args:
        matched: a language model's reading of `clear_questions`.
    """
    return Scores(
        perception=_perception(answers, matched, seed) if answers.questions else None,
        ranking=_mean([ranking_score(one.truth, one.predicted) for one in answers.rankings], seed),
        unparsed_rankings=sum(not one.predicted for one in answers.rankings),
        ratings={
            axis: {"srcc": estimate(srcc, *columns, seed=seed), "plcc": estimate(correlation, *columns, seed=seed)}
            for axis in AXES
            if len((columns := _columns(answers.ratings, axis))[0])
        },
        unparsed_ratings=sum(one.predicted is None for one in answers.ratings),
        description=described(answers.descriptions, seed=seed) if answers.descriptions else None,
    )


def _perception(answers: Answers, matched: Matched | None, seed: int) -> Perception:
    clear = clear_questions(answers)
    by_rule = [chosen_option(question.response, question.options) for question in clear]
    return Perception(
        by_kind=_accuracy(clear, by_rule, lambda question: question.kind, seed),
        by_dimension=_accuracy(clear, by_rule, lambda question: question.dimension, seed),
        unparsed=by_rule.count(None),
        ambiguous=len(answers.questions) - len(clear),
        matched=MatchedPerception(
            by_kind=_accuracy(clear, matched.chosen, lambda question: question.kind, seed),
            by_dimension=_accuracy(clear, matched.chosen, lambda question: question.dimension, seed),
            unparsed=matched.chosen.count(None),
            asked=matched.asked,
        )
        if matched
        else None,
    )


def _accuracy(
    questions: Sequence[Question], chosen: Sequence[str | None], group_of: Callable[[Question], str], seed: int
) -> dict[str, Estimate]:
    """In percent, by group; questions without one are in none."""
    groups: dict[str, list[float]] = {}
    for question, letter in zip(questions, chosen, strict=True):
        if group := group_of(question):
            groups.setdefault(group, []).append(_PERCENT * (letter == question.correct))
    return {group: found for group, hits in groups.items() if (found := _mean(hits, seed))}


def _mean(values: Sequence[float], seed: int) -> Estimate | None:
    return estimate(lambda drawn: float(np.mean(drawn)), values, seed=seed) if values else None


def _columns(ratings: Sequence[Rating], axis: str) -> tuple[list[float], list[float]]:
    """Truth and prediction of the images whose rating on this axis could be read."""
    pairs = [(one.truth, one.predicted) for one in ratings if one.axis == axis and one.predicted is not None]
    return [truth for truth, _ in pairs], [predicted for _, predicted in pairs]
