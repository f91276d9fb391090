"""The embedded judge is as sure as it is right, on a small sample; `emofeedback-train nano judge-certainty` measures
it on a large one."""

from __future__ import annotations

import asyncio

from emofeedback.domain.assessment import Assessment
from emofeedback.domain.questions import QuestionAnswer
from emofeedback.judge.local import LocalJudge
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback_trainer.evaluation.judge import image_of
from emofeedback_trainer.nano.measure.judge import judged
from emofeedback_trainer.nano.measure.questions import asked
from emofeedback_trainer.nano.models.judge_certainty import figures, questions, scenes


def test_its_intervals_hold_what_they_claim_and_its_confidence_is_near_its_accuracy() -> None:
    samples = scenes("evaluation", 96)
    judge = LocalJudge.load(NANO_PROFILE.judge)
    try:
        outcomes = asyncio.run(judged(judge, [image_of(sample) for sample in samples]))
    finally:
        judge.close()
    found = figures(outcomes, samples)
    assert found.n >= 94
    # Three standard errors of a share of 0.8 of 96.
    assert 0.68 <= found.valence_held <= 0.92 and 0.68 <= found.arousal_held <= 0.92
    assert max(found.valence_length, found.arousal_length) < 3.0
    # Four of them: these scenes happen to be easy ones.
    assert abs(found.confidence - found.accuracy) < 0.17
    # Weights that have not learned dominance leave it away, always.
    says = {outcome.dominance is not None for outcome in outcomes if isinstance(outcome, Assessment)}
    assert says == {found.dominance_held is not None}
    assert found.dominance_held is None or 0.68 <= found.dominance_held <= 0.92


def test_its_confidence_in_answers_among_options_is_near_how_often_they_are_right() -> None:
    choices = questions("evaluation", 48)
    judge = LocalJudge.load(NANO_PROFILE.judge)
    try:
        outcomes = asyncio.run(judge.ask([asked(choice) for choice in choices]))
    finally:
        judge.close()
    said = [
        (outcome.confidence, outcome.text == choice.right)
        for outcome, choice in zip(outcomes, choices, strict=True)
        if isinstance(outcome, QuestionAnswer) and outcome.confidence is not None
    ]
    assert len(said) > 24
    confidence, right = (sum(column) / len(said) for column in zip(*said, strict=True))
    # Three standard errors of a share of 0.6 of 30, and what the fit leaves.
    assert abs(confidence - right) < 0.3
