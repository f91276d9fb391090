"""Confidence: self-consistency of sampled replies, and the temperature that makes it true."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emofeedback.domain.affect import Emotion
from emofeedback.domain.assessment import Assessment, AssessmentFailure
from emofeedback_trainer.evaluation.confidence import (
    Sampling,
    agreed,
    calibration,
    fit_temperature,
    self_consistent,
    tempered,
)
from support.fakes import ScriptedJudge, paint

FEAR, AWE = Emotion.FEAR, Emotion.AWE


def reply(valence: float, emotion: str) -> str:
    return f'<think>Hm.</think><answer>{{"valence": {valence}, "arousal": 5, "emotion": "{emotion}"}}</answer>'


def said(emotion: Emotion, valence: float = 5.0) -> Assessment:
    return Assessment(valence=valence, arousal=5.0, emotion=emotion, confidence=1.0)


async def test_the_emotion_of_most_sampled_replies_wins_and_their_share_is_the_confidence() -> None:
    # Reply by reply, each to both pictures.
    judge = ScriptedJudge(
        analyses=[reply(2, "fear"), "?", reply(3, "fear"), "?", reply(7, "awe"), "?", "garbage", reply(6, "awe")]
    )
    sampling = Sampling(replies=4, temperature=0.5, seed=10)
    first, second = await self_consistent(judge, [paint("a", 1), paint("b", 2)], sampling)
    assert isinstance(first, Assessment) and isinstance(second, Assessment)
    assert (first.emotion, first.confidence, first.valence) == (FEAR, 0.5, 4.0)
    assert (second.emotion, second.confidence, second.valence) == (AWE, 0.25, 6.0)
    assert [decoding.seed for decoding in judge.decodings[::2]] == [10, 11, 12, 13]
    assert {decoding.temperature for decoding in judge.decodings} == {0.5}


def test_of_equally_frequent_emotions_the_first_said_wins() -> None:
    outcome = agreed([said(AWE), said(FEAR), said(FEAR), said(AWE)])
    assert isinstance(outcome, Assessment) and outcome.emotion is AWE


def test_replies_that_can_not_be_read_at_all_are_a_failure() -> None:
    outcome = agreed([AssessmentFailure(reason="dark")] * 3)
    assert outcome == AssessmentFailure(reason="none of 3 sampled replies can be read")


def test_a_fitted_temperature_makes_overconfident_answers_true() -> None:
    rng = np.random.default_rng(0)
    true = rng.uniform(0.5, 0.95, 4000)
    right = (rng.random(4000) < true).astype(float)
    claimed = tempered(true, 1 / 2.5)  # sharper than the truth by 2.5
    temperature = fit_temperature(claimed[:2000], right[:2000])
    assert temperature == pytest.approx(2.5, rel=0.15)
    before, after = (calibration(c[2000:], right[2000:]) for c in (claimed, tempered(claimed, temperature)))
    assert after.ece < 0.04 < before.ece and after.brier < before.brier
    assert after.accuracy == before.accuracy


@settings(max_examples=50)
@given(st.lists(st.integers(1, 99).map(lambda percent: percent / 100), min_size=2, max_size=20), st.floats(0.1, 10))
def test_a_temperature_keeps_the_order_and_the_side_of_one_half(values: list[float], temperature: float) -> None:
    after = tempered(values, temperature)
    assert (np.diff(after[np.argsort(values)]) >= 0).all()
    assert ((after >= 0.5) == (np.array(values) >= 0.5)).all()
    if temperature >= 1:  # below, confidences may have come too near to 0 or 1 to be told apart
        assert tempered(after, 1 / temperature) == pytest.approx(np.array(values))


def test_answers_all_right_leave_the_temperature_within_its_bounds() -> None:
    assert 0.05 <= fit_temperature([0.9, 0.8, 1.0], [1, 1, 1]) < 0.1
