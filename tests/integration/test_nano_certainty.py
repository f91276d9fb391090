"""The embedded judge is as sure as it is right, on a small sample; `emofeedback-train nano judge-certainty` measures
it on a large one."""

from __future__ import annotations

import asyncio

from emofeedback.domain.assessment import Assessment
from emofeedback.judge.local import LocalJudge
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback_trainer.evaluation.judge import image_of
from emofeedback_trainer.nano.measure.judge import judged
from emofeedback_trainer.nano.models.judge_certainty import figures, scenes


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
