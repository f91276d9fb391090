"""The table of EEmo-Logic's stages: what each variant scores, and what it gained over the one that it begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofeedback.domain.taxonomies import EKMAN
from emofeedback_trainer.core.tables import table as markdown_table
from emofeedback_trainer.data.eemodb.questions import LETTERS
from emofeedback_trainer.data.records import AXES
from emofeedback_trainer.evaluation.metrics import Estimate, estimate, mae, ranking_score, srcc
from emofeedback_trainer.evaluation.provenance import Provenance, plain, shown
from emofeedback_trainer.evaluation.replies import chosen_option, named_emotions
from emofeedback_trainer.judge.rewards import written_answer, written_assessment
from emofeedback_trainer.judge.stages import Asked, Quiz, StageReplies
from emofeedback_trainer.judge.tasks import ranked_labels

_SCORED: Mapping[Asked, str] = {
    "perception": "questions, one picture",
    "pair": "questions, two",
    "ranking": "ranking score",
    "emotion": "class",
}
Units = NDArray[np.float64]
"""A score for each question, NaN where its reply can't be read."""


@dataclass(frozen=True, kw_only=True)
class StageRow:
    """One variant."""

    name: str
    what: str
    scores: Mapping[Asked, Estimate]
    """Percent, an unreadable reply 0: the questions and classes that are right, EEmo-Bench's ranking score. What the
    test split has no labels for is left out, here and below."""
    errors: Mapping[str, Estimate]
    """Mean |error| of each axis in points of the 1-9 scale, over the readable replies."""
    correlations: Mapping[str, Estimate]
    """Spearman's, likewise, in [-1, 1]."""
    readable: float
    """Share of all replies, in [0, 1]."""
    gained: Mapping[Asked, Estimate]
    """Percent points over the start, question by question; empty where the start is not in the comparison."""


def stage_rows(found: Sequence[StageReplies], quiz: Quiz, *, seed: int) -> list[StageRow]:
    """Every variant, with bootstrap intervals over the questions and the pictures."""
    marks = {one.variant.name: _marks(one, quiz) for one in found}
    table = []
    for one in found:
        own, start = marks[one.variant.name], marks.get(one.variant.start)
        ratings = _ratings(one, quiz)
        table.append(
            StageRow(
                name=one.variant.name,
                what=one.variant.what,
                scores={task: estimate(_mean, _counted(units), seed=seed) for task, units in own.items()},
                errors={axis: estimate(mae, *pairs, seed=seed) for axis, pairs in ratings.items()},
                correlations={axis: estimate(srcc, *pairs, seed=seed) for axis, pairs in ratings.items()},
                readable=_readable(own, one.replies["vad"]),
                gained={}
                if start is None
                else {
                    task: estimate(_mean, _counted(units) - _counted(start[task]), seed=seed)
                    for task, units in own.items()
                },
            )
        )
    return table


def to_markdown(table: Sequence[StageRow], provenance: Provenance) -> str:
    """One table; gains stand in the JSON."""
    header = ("", *_SCORED.values(), *(f"{axis} MAE" for axis in AXES), *(f"{axis} SRCC" for axis in AXES), "readable")
    rows = [
        (
            row.what,
            *(shown(row.scores.get(task), 1) for task in _SCORED),
            *(shown(row.errors.get(axis), 2) for axis in AXES),
            *(shown(row.correlations.get(axis), 2) for axis in AXES),
            f"{row.readable:.1%}",
        )
        for row in table
    ]
    told = "Questions, class and ranking in %, unreadable replies counted as wrong; V-A-D over the readable ones."
    return "\n\n".join([told, markdown_table(header, rows), provenance.to_markdown()])


def to_json(table: Sequence[StageRow], provenance: Provenance) -> dict[str, Any]:
    """As `--json` prints it."""
    content: dict[str, Any] = plain({"rows": table, "provenance": provenance})
    return content


def _marks(one: StageReplies, quiz: Quiz) -> dict[Asked, Units]:
    """Every scored reply's percent."""
    marks: dict[Asked, Units] = {}
    for task, asked in quiz.closed.items():
        chosen = [
            (chosen_option(reply, dict(zip(LETTERS, question.options, strict=False))), question.answer)
            for question, reply in zip(asked, one.replies[task], strict=True)
        ]
        marks[task] = _percents([None if said is None else float(said == right) for said, right in chosen])
    rankings = zip(quiz.of_task("ranking"), one.replies["ranking"], strict=True)
    named = [(ranked_labels(sample), named_emotions(reply, EKMAN)) for sample, reply in rankings]
    marks["ranking"] = _percents([ranking_score(truth, said) / 100 if said else None for truth, said in named])
    classes = zip(quiz.of_task("emotion"), one.replies["emotion"], strict=True)
    answered = [((written_answer(reply) or "").lower().strip(" ."), sample.label) for sample, reply in classes]
    marks["emotion"] = _percents([float(said == truth) if said in EKMAN else None for said, truth in answered])
    return {task: units for task, units in marks.items() if len(units)}


def _ratings(found: StageReplies, quiz: Quiz) -> dict[str, tuple[list[float], list[float]]]:
    """By axis, the truth and what the readable replies say."""
    replies = map(written_assessment, found.replies["vad"])
    pairs = [(sample, reply) for sample, reply in zip(quiz.of_task("vad"), replies, strict=True) if reply]
    rated = {
        axis: [(getattr(sample, axis), one) for sample, reply in pairs if (one := getattr(reply, axis)) is not None]
        for axis in AXES
    }
    return {axis: ([true for true, _ in both], [said for _, said in both]) for axis, both in rated.items() if both}


def _readable(marks: Mapping[Asked, Units], assessments: Sequence[str]) -> float:
    read = [bool(written_assessment(reply)) for reply in assessments]
    read += [not unread for units in marks.values() for unread in np.isnan(units)]
    return sum(read) / len(read)


def _percents(shares: Sequence[float | None]) -> Units:
    return np.array([np.nan if share is None else 100 * share for share in shares], np.float64)


def _counted(units: Units) -> Units:
    """An unreadable reply is a wrong one."""
    return np.nan_to_num(units, nan=0.0)


def _mean(values: Units) -> float:
    return float(np.mean(values))
