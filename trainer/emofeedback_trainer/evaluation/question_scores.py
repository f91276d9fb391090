"""What answers to closed questions come to, by what is asked after; of VECBench's groups whether confidence holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emofeedback_trainer.core.tables import table
from emofeedback_trainer.evaluation.matching import Matched
from emofeedback_trainer.evaluation.metrics import (
    Estimate,
    accuracy,
    brier,
    estimate,
    expected_calibration_error,
    roc_auc,
    weighted_f1,
)
from emofeedback_trainer.evaluation.provenance import Provenance, plain, shown
from emofeedback_trainer.evaluation.questions import AnsweredQuestion

GROUPS: Mapping[str, tuple[str, ...]] = {
    "ID VSA": ("FI-2", "WebEmo-2"),
    "ID VER": ("FI-8", "EmoSet-8", "WebEmo-7", "WebEmo-25"),
    "OOD VER": ("Abstract-8", "Artphoto-8", "UnbiasedEmo-6"),
}
"""VECBench's tasks as its authors put them together: polarity, emotion, and emotion on sets not trained on."""
_PERCENT = 100.0


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How good the answers to some questions are, in percent."""

    accuracy: Estimate
    f1: Estimate
    """Weighted by class: the right options' texts are the classes."""
    by_language_model: Estimate | None
    """Accuracy of the options that a language model takes the answers for; None where none was asked."""


@dataclass(frozen=True, kw_only=True)
class Believable:
    """Whether the confidence of a group's answers can be believed, in percent, of those that state one."""

    ece: Estimate
    brier: Estimate
    roc_auc: Estimate
    """NaN where all are right or all wrong."""


@dataclass(frozen=True, kw_only=True)
class QuestionScores:
    """What a file of answers comes to."""

    by_topic: Mapping[str, Answers]
    by_group: Mapping[str, Answers]
    confidence: Mapping[str, Believable]
    """By group, those that state any."""
    unparsed: int
    """Answers that choose no option by the rule; they are wrong."""
    matched_unparsed: int | None
    """The same by a language model's word; None where none was asked."""
    asked: int
    """Answers that the language model read."""
    unconfident: int
    """Answers of VECBench's groups that state no confidence."""
    without_key: int
    """Questions that nobody says the right answer of; they are left out."""

    def to_json(self, provenance: Provenance) -> dict[str, Any]:
        """As `--json` prints it."""
        content: dict[str, Any] = plain({**vars(self), "provenance": provenance})
        return content

    def to_markdown(self, provenance: Provenance) -> str:
        """The tables, and where they come from."""
        rows = [
            (name, shown(one.accuracy, 2), shown(one.by_language_model, 2), shown(one.f1, 2), f"{one.accuracy.n:,}")
            for name, one in (*self.by_topic.items(), *self.by_group.items())
        ]
        lines = [table(("questions", "right, %", "by a language model, %", "F1, %", "n"), rows)]
        if self.confidence:
            believed = [
                (name, shown(one.ece, 2), shown(one.brier, 2), shown(one.roc_auc, 2), f"{one.ece.n:,}")
                for name, one in self.confidence.items()
            ]
            lines += ["", table(("confidence", "ECE, %", "Brier, %", "ROC AUC, %", "n"), believed)]
        notes = (
            f"Answers that could not be read by rule, counted as wrong: {self.unparsed:,}. Questions left out because "
            f"nobody says the right answer: {self.without_key:,}."
        )
        if self.matched_unparsed is not None:
            notes += (
                f" The language model read {self.asked:,}, and found no option in {self.matched_unparsed:,} of all."
            )
        if self.by_group:
            notes += f" Answers that state no confidence: {self.unconfident:,}."
        return "\n".join([*lines, "", notes, "", provenance.to_markdown()])


def with_key(answers: Sequence[AnsweredQuestion]) -> list[AnsweredQuestion]:
    """Those whose right answer is known."""
    return [one for one in answers if one.truth]


def score(answers: Sequence[AnsweredQuestion], *, matched: Matched | None = None, seed: int = 0) -> QuestionScores:
    """The figures of all answers whose right one is known.

    Args:
        matched: a language model's reading of `with_key(answers)`.
    """
    known = with_key(answers)
    chosen = [one.chosen for one in known]

    def of(topics: Sequence[str]) -> Answers:
        places = [place for place, one in enumerate(known) if one.topic in topics]
        return _answers(known, chosen, matched.chosen if matched else None, places, seed)

    there = {one.topic for one in known}
    grouped = {topic for topics in GROUPS.values() for topic in topics}
    right = [letter == one.truth for letter, one in zip(chosen, known, strict=True)]
    confidence = {
        name: one for name, topics in GROUPS.items() if (one := _believable(known, right, topics, seed)) is not None
    }
    return QuestionScores(
        by_topic={topic: of((topic,)) for topic in sorted(there)},
        by_group={name: of(topics) for name, topics in GROUPS.items() if there & set(topics)},
        confidence=confidence,
        unparsed=chosen.count(None),
        matched_unparsed=matched.chosen.count(None) if matched else None,
        asked=matched.asked if matched else 0,
        unconfident=sum(one.confidence is None for one in known if one.topic in grouped),
        without_key=len(answers) - len(known),
    )


def _answers(
    known: Sequence[AnsweredQuestion],
    chosen: Sequence[str | None],
    read: Sequence[str | None] | None,
    places: Sequence[int],
    seed: int,
) -> Answers:
    true = [known[place].options[known[place].truth].lower() for place in places]
    said = [known[place].options[letter].lower() if (letter := chosen[place]) else "" for place in places]
    # Numbers: an interval compares every answer with every class two thousand times.
    _, codes = np.unique(np.array(true + said), return_inverse=True)
    truth, predicted = codes[: len(true)], codes[len(true) :]
    return Answers(
        accuracy=estimate(_in_percent(accuracy), truth, predicted, seed=seed),
        f1=estimate(_in_percent(weighted_f1), truth, predicted, seed=seed),
        by_language_model=None
        if read is None
        else estimate(
            lambda drawn: float(_PERCENT * np.mean(drawn)),
            [float(read[place] == known[place].truth) for place in places],
            seed=seed,
        ),
    )


def _believable(
    known: Sequence[AnsweredQuestion], right: Sequence[bool], topics: Sequence[str], seed: int
) -> Believable | None:
    pairs = [
        (one.confidence, float(hit))
        for one, hit in zip(known, right, strict=True)
        if one.topic in topics and one.confidence is not None
    ]
    if not pairs:
        return None
    said, hits = np.array(pairs).T
    return Believable(
        ece=estimate(_in_percent(lambda c, r: expected_calibration_error(c, r, closed="left")), said, hits, seed=seed),
        brier=estimate(_in_percent(brier), said, hits, seed=seed),
        roc_auc=estimate(_in_percent(roc_auc), said, hits, seed=seed),
    )


def _in_percent(statistic: Callable[[Any, Any], float]) -> Callable[[Any, Any], float]:
    return lambda one, other: _PERCENT * statistic(one, other)
