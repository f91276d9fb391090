"""EEmo-Bench's description task (arXiv 2504.16405): free answers marked by a language model in five rounds.

The benchmark's mark is one number a round, 0, 1 or 2, for how completely, accurately and relevantly an answer says what
the reference says; the score is the mean over rounds and answers, in percent of 2. Marks that a published answer file
holds score as published. Our own rounds ask for that mark and, beside it, for four more of the same scale:
completeness, precision, relevance, conciseness. The words of the question are our own, so a score by another model or
in other words than the benchmark's is near its figures and not the same. How often two rounds give the same mark is
told, since one round of a model that doesn't agree with itself says little.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from emofeedback.domain.assessment import Decoding
from emofeedback.domain.replies import answer
from emofeedback_trainer.evaluation.language_model import Converses
from emofeedback_trainer.evaluation.metrics import Estimate, estimate
from emofeedback_trainer.evaluation.prompts import MARKS, OVERALL, adjudication_question

HIGHEST = 2
"""Of a mark; the lowest is 0."""
ROUNDS = 5
_PERCENT = 100.0
_MARK = re.compile(rf"\b({'|'.join((*MARKS, OVERALL))})\b[\"'*\s]*[:=][\"'*\s]*(\d+(?:\.\d+)?)", re.IGNORECASE)

Marks = Mapping[str, int]
"""One round's marks by name; empty where the round can't be read."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """A free answer and what it is held against."""

    dimension: str
    """What was asked for, such as `Valence comparison`; empty where the file doesn't say."""
    question: str
    truth: str
    """A reference answer, or where there is none the labels in words."""
    response: str
    """Empty where there is none: its score is 0, and nobody is asked."""
    rounds: tuple[Marks, ...] = ()
    """Marks that the answer file holds."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """What the descriptions of an answer file come to, in percent of the highest mark."""

    score: Estimate | None
    """By the overall mark, as the benchmark's; None where no round of any answer could be read."""
    by_dimension: Mapping[str, Estimate]
    by_mark: Mapping[str, Estimate]
    """Completeness and the others, where they were asked for."""
    agreement: Estimate | None
    """How often two rounds of one answer give the same overall mark; None with fewer than two."""
    spread: float | None
    """Mean standard deviation of an answer's overall mark over its rounds, in points of 0 to 2."""
    unread_rounds: int
    left_out: int
    """Answers none of whose rounds could be read."""
    unanswered: int


async def adjudicated(
    model: Converses, descriptions: Sequence[Description], *, rounds: int = ROUNDS, seed: int = 0
) -> list[Description]:
    """The descriptions with a model's marks in place of those that they had.

    Raises:
        EmoFeedbackError: as the model raises.
    """
    asked = [place for place, one in enumerate(descriptions) if one.response.strip()]
    questions = [
        adjudication_question(descriptions[place].question, descriptions[place].truth, descriptions[place].response)
        for place in asked
    ]
    marks: dict[int, list[Marks]] = {place: [] for place in asked}
    for turn in range(rounds):
        decoding = Decoding(max_new_tokens=256, temperature=1.0, seed=seed + turn)
        for place, reply in zip(asked, await model.converse(questions, decoding), strict=True):
            marks[place].append(stated_marks(reply))
    return [
        Description(
            dimension=one.dimension,
            question=one.question,
            truth=one.truth,
            response=one.response,
            rounds=tuple(marks.get(place, ())),
        )
        for place, one in enumerate(descriptions)
    ]


def stated_marks(reply: str) -> Marks:
    """The marks that a reply gives, each the last one of its name. Empty where it gives no overall mark, or one that is
    no whole number of 0 to 2."""
    said = {name.lower(): float(number) for name, number in _MARK.findall(answer(reply))}
    if OVERALL not in said or any(mark not in range(HIGHEST + 1) for mark in said.values()):
        return {}
    return {name: int(mark) for name, mark in said.items()}


def described(descriptions: Sequence[Description], *, seed: int = 0) -> Described:
    """What the marks come to; an answer that never came is worth 0."""
    unanswered = [one for one in descriptions if not one.response.strip()]
    judged = [(one, readable) for one in descriptions if one.response.strip() and (readable := _readable(one))]
    scored = [(one.dimension, _mean(rounds, OVERALL)) for one, rounds in judged]
    scored += [(one.dimension, 0.0) for one in unanswered]
    named = sorted({name for name, _ in scored if name})
    marks = [name for name in MARKS if any(name in marks for _, rounds in judged for marks in rounds)]
    same = [same for _, rounds in judged if (same := _agreement(rounds)) is not None]
    spreads = [float(np.std([marks[OVERALL] for marks in rounds])) for _, rounds in judged if len(rounds) > 1]
    return Described(
        score=_estimated([score for _, score in scored], seed),
        by_dimension={
            name: found for name in named if (found := _estimated([score for of, score in scored if of == name], seed))
        },
        by_mark={
            name: found
            for name in marks
            if (
                found := _estimated(
                    [
                        _mean([marks for marks in rounds if name in marks], name)
                        for _, rounds in judged
                        if any(name in marks for marks in rounds)
                    ]
                    + [0.0] * len(unanswered),
                    seed,
                )
            )
        },
        agreement=_estimated(same, seed),
        spread=float(np.mean(spreads)) if spreads else None,
        unread_rounds=sum(len(one.rounds) for one in descriptions) - sum(len(rounds) for _, rounds in judged),
        left_out=len(descriptions) - len(unanswered) - len(judged),
        unanswered=len(unanswered),
    )


def _readable(description: Description) -> list[Marks]:
    return [marks for marks in description.rounds if OVERALL in marks]


def _mean(rounds: Sequence[Marks], name: str) -> float:
    return _PERCENT * float(np.mean([marks[name] for marks in rounds])) / HIGHEST


def _agreement(rounds: Sequence[Marks]) -> float | None:
    """Share of pairs of rounds with the same overall mark, in percent."""
    pairs = [one[OVERALL] == other[OVERALL] for one, other in combinations(rounds, 2)]
    return _PERCENT * float(np.mean(pairs)) if pairs else None


def _estimated(values: Sequence[float], seed: int) -> Estimate | None:
    return estimate(lambda drawn: float(np.mean(drawn)), values, seed=seed) if values else None
