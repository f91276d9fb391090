"""How sure a judge is, and what corrects it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, Emotion
from emofeedback.domain.assessment import Assessment, AssessmentFailure, Distribution
from emofeedback.judge.certainty import UNKNOWN, Certainty, distribution, ranked, tempered
from emofeedback.judge.domain import weighed
from support.fakes import UNREADABLE, assessment

scale = st.floats(SCALE_MIN, SCALE_MAX)
widths = st.floats(0.05, 20)
shares = st.dictionaries(st.sampled_from(Emotion), st.floats(0.001, 1), min_size=2)


def feeling(felt: dict[Emotion, float]) -> Assessment:
    total = sum(felt.values())
    emotions = ranked({emotion: share / total for emotion, share in felt.items()})
    return dataclasses.replace(
        assessment(6.3, 2.2), emotion=emotions[0].emotion, confidence=emotions[0].share, emotions=emotions
    )


def holds(over: Distribution | None, rating: float) -> bool:
    return over is not None and SCALE_MIN <= over.low <= rating <= over.high <= SCALE_MAX


@given(st.dictionaries(scale, st.floats(1e-6, 1), min_size=1, max_size=12))
def test_a_distribution_keeps_the_mean_and_holds_it(places: dict[float, float]) -> None:
    mean = sum(place * share for place, share in places.items()) / sum(places.values())
    mean = min(max(mean, SCALE_MIN), SCALE_MAX)
    over = distribution(places, mean)
    assert len(over.shares) == 9 and min(over.shares) >= 0 and sum(over.shares) == pytest.approx(1)
    assert sum(step * share for step, share in enumerate(over.shares, 1)) == pytest.approx(mean)
    assert holds(over, mean)


def test_the_interval_holds_four_fifths_of_a_wide_distribution() -> None:
    ratings = np.clip(np.random.default_rng(0).normal(5, 1.2, 4000), SCALE_MIN, SCALE_MAX)
    whole, counts = np.unique(ratings.round(), return_counts=True)
    over = distribution(dict(zip(whole.tolist(), (counts / len(ratings)).tolist(), strict=True)), 5.0)
    assert np.mean((over.low <= ratings) & (ratings <= over.high)) == pytest.approx(0.8, abs=0.02)


@given(shares, st.floats(0.2, 5))
def test_a_temperature_keeps_the_order_and_moves_all_shares_one_way(felt: dict[Emotion, float], warmth: float) -> None:
    seen = feeling(felt)
    after = Certainty(temperature=warmth).apply(seen)
    assert isinstance(after, Assessment)
    assert sum(one.share for one in after.emotions) == pytest.approx(1)
    assert after.confidence == after.emotions[0].share == pytest.approx(max(one.share for one in after.emotions))
    assert (after.confidence >= seen.confidence - 1e-9) if warmth <= 1 else (after.confidence <= seen.confidence + 1e-9)
    assert (after.point, after.emotion, after.dominance) == (seen.point, seen.emotion, seen.dominance)


def test_the_temperature_divides_log_odds() -> None:
    after = tempered({Emotion.AWE: 0.8, Emotion.FEAR: 0.2}, 2.0)
    assert after[Emotion.AWE] / after[Emotion.FEAR] == pytest.approx(4**0.5)


@given(scale, widths, widths)
def test_an_interval_of_any_width_holds_its_rating_and_stays_on_the_scale(one: float, v: float, a: float) -> None:
    after = Certainty(valence_width=v, arousal_width=a).apply(assessment(one, 5.0))
    assert isinstance(after, Assessment)
    assert holds(after.valence_distribution, one) and holds(after.arousal_distribution, 5.0)


def test_the_width_stretches_the_interval_and_leaves_the_shares() -> None:
    seen = assessment(5.0, 5.0)
    after = Certainty(valence_width=2.0).apply(seen)
    assert isinstance(after, Assessment) and after.valence_distribution and seen.valence_distribution
    assert (after.valence_distribution.low, after.valence_distribution.high) == pytest.approx((4.2, 5.8))
    assert after.valence_distribution.shares == seen.valence_distribution.shares


def test_by_itself_it_changes_nothing() -> None:
    seen = feeling({Emotion.AWE: 0.7, Emotion.FEAR: 0.3})
    after = Certainty().apply(seen)
    assert isinstance(after, Assessment)
    assert [one.share for one in after.emotions] == pytest.approx([one.share for one in seen.emotions])
    assert Certainty().apply(UNREADABLE) is UNREADABLE


def test_a_judge_whose_probabilities_are_not_known_keeps_its_confidence() -> None:
    seen = Assessment(valence=7, arousal=3, emotion=Emotion.AWE, confidence=1.0)
    assert Certainty(temperature=3.0, valence_width=2.0).apply(seen) == seen
    assert isinstance(weighed(seen, 2.0), Assessment)


def test_it_is_read_back_and_without_a_file_changes_nothing(tmp_path: Path) -> None:
    assert Certainty.load(tmp_path) == Certainty()
    kept = Certainty(temperature=1.45, valence_width=0.9, arousal_width=1.1, choice_temperature=1.7)
    kept.save(tmp_path)
    assert Certainty.load(tmp_path) == kept


def test_a_file_from_before_dominance_leaves_its_interval_as_the_judge_says_it(tmp_path: Path) -> None:
    (tmp_path / "certainty.json").write_text('{"temperature": 1.4, "valence_width": 0.7, "arousal_width": 0.8}')
    assert Certainty.load(tmp_path) == Certainty(temperature=1.4, valence_width=0.7, arousal_width=0.8)
    assert Certainty.load(tmp_path).choice_temperature == 1
    over = distribution({6.0: 1.0}, 6.0)
    seen = dataclasses.replace(assessment(5.0, 5.0), dominance=6.0, dominance_distribution=over)
    after = Certainty.load(tmp_path).apply(seen)
    assert isinstance(after, Assessment) and after.dominance_distribution == over
    wider = Certainty(dominance_width=2.0).apply(seen)
    assert isinstance(wider, Assessment) and wider.dominance == 6.0 and wider.dominance_distribution is not None
    assert (wider.dominance_distribution.low, wider.dominance_distribution.high) == pytest.approx((5.2, 6.8))


@pytest.mark.parametrize("name", ["temperature", "dominance_width", "choice_temperature"])
@pytest.mark.parametrize("value", ["0.0", "-1.0", "NaN", "Infinity"])
def test_a_file_with_a_number_that_is_none_is_refused_by_its_key(tmp_path: Path, name: str, value: str) -> None:
    (tmp_path / "certainty.json").write_text(f'{{"{name}": {value}}}')
    with pytest.raises(ValueError, match=f"^{name} is"):
        Certainty.load(tmp_path)


@given(st.floats(0, 60), st.floats(0, 60))
def test_the_more_surprising_the_picture_the_flatter_the_shares_and_the_wider_the_interval(a: float, b: float) -> None:
    seen = feeling({Emotion.AWE: 0.7, Emotion.FEAR: 0.3})
    less, more = (weighed(seen, surprise) for surprise in sorted((a, b)))
    assert isinstance(less, Assessment) and isinstance(more, Assessment)
    for one in (less, more):
        assert one.confidence == pytest.approx(one.ranking()["awe"])
        assert sum(one.ranking().values()) == pytest.approx(1)
        assert holds(one.valence_distribution, one.valence)
    assert more.ranking()["awe"] <= less.ranking()["awe"] + 1e-12
    assert less.valence_distribution and more.valence_distribution
    assert more.valence_distribution.low <= less.valence_distribution.low + 1e-12
    assert more.valence_distribution.high >= less.valence_distribution.high - 1e-12


def test_of_a_picture_from_another_world_nothing_is_known() -> None:
    known = distribution({6.0: 1.0}, 6.0)
    lost = weighed(dataclasses.replace(assessment(5.0, 5.0), dominance=6.0, dominance_distribution=known), 60.0)
    assert isinstance(lost, Assessment) and not isinstance(lost, AssessmentFailure)
    for over in (lost.valence_distribution, lost.arousal_distribution, lost.dominance_distribution):
        assert over is not None and over.shares == pytest.approx(UNKNOWN.shares)
    assert [one.share for one in lost.emotions] == pytest.approx([1 / 8] * 8)
