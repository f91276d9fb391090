"""A judge's domain tells the pictures of its world from others, and its confidence is worth what that leaves of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.domain.assessment import Assessment, AssessmentFailure
from emofeedback.judge.domain import CHANCE, DOMAIN_FILE, Domain, World, weighed
from emofeedback_trainer.nano.models.judge_domain import fitted, threshold_pictures
from emofeedback_trainer.nano.world.foreign_pictures import PHOTOGRAPHS
from support.fakes import UNREADABLE, assessment

bits = st.floats(0, 1e4)
confidences = st.floats(0, 1)


def cloud(rng: np.random.Generator, count: int, offset: float = 0.0) -> np.ndarray:
    """Points that vary in three directions of a space of 600, and little in all others."""
    directions = np.random.default_rng(1).normal(size=(3, 600))
    return rng.normal(size=(count, 3)) @ directions + 0.1 * rng.normal(size=(count, 600)) + offset


@pytest.fixture(scope="module")
def domain() -> Domain:
    rng = np.random.default_rng(2)
    return fitted(cloud(rng, 800), cloud(rng, 200, offset=3.0))


def test_it_tells_points_of_its_world_from_others_it_was_not_fitted_on(domain: Domain) -> None:
    rng = np.random.default_rng(3)
    assert np.mean(domain.surprise(cloud(rng, 400)) > 1) < 0.05
    assert np.mean(domain.surprise(cloud(rng, 100, offset=3.5)) > 1) == 1


def test_the_pictures_that_set_the_threshold_shape_nothing_else() -> None:
    rng = np.random.default_rng(6)
    own, others = cloud(rng, 800), cloud(rng, 200, offset=3.0)
    one = fitted(own, others)
    own[threshold_pictures(len(own))] += 0.5
    other = fitted(own, others)
    np.testing.assert_array_equal(one.world.axes, other.world.axes)
    np.testing.assert_array_equal(one.weights, other.weights)
    assert one.offset != other.offset


def test_no_photograph_is_in_both_splits() -> None:
    assert set(PHOTOGRAPHS["calibration"]).isdisjoint(PHOTOGRAPHS["test"])


def test_it_is_read_back_as_it_was_written(domain: Domain, tmp_path: Path) -> None:
    assert Domain.load(tmp_path) is None
    domain.save(tmp_path)
    again = Domain.load(tmp_path)
    points = np.concatenate([cloud(np.random.default_rng(4), 20), cloud(np.random.default_rng(5), 20, offset=3.0)])
    assert again is not None and again.surprise(points) == pytest.approx(domain.surprise(points), rel=0.05, abs=0.05)
    assert (tmp_path / DOMAIN_FILE).stat().st_size < 1_000_000


@given(means=st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=6), weight=st.floats(-100, 100))
def test_surprise_is_a_finite_number_of_bits_for_any_values(means: list[float], weight: float) -> None:
    world = World.fitted(np.random.default_rng(0).normal(size=(50, 6)), 2)
    domain = Domain(world=world, weights=np.full(6, weight), offset=0.0)
    [surprise] = domain.surprise(np.array([means]))
    assert np.isfinite(surprise) and surprise >= 0


@given(confidence=confidences, one=bits, other=bits)
def test_the_more_surprising_the_less_is_the_confidence_worth_down_to_chance(
    confidence: float, one: float, other: float
) -> None:
    felt = assessment(7.0, 3.0)
    felt = type(felt)(valence=7.0, arousal=3.0, emotion=felt.emotion, confidence=confidence)
    less, more = (weighed(felt, surprise) for surprise in sorted((one, other)))
    assert isinstance(less, Assessment) and isinstance(more, Assessment)
    assert min(confidence, CHANCE) - 1e-12 <= more.confidence <= less.confidence + 1e-12 <= confidence + 2e-12
    same = weighed(felt, 0.0)
    assert isinstance(same, Assessment) and same.confidence == pytest.approx(confidence)
    assert (more.point, more.emotion, more.domain_score) == (felt.point, felt.emotion, max(one, other))


def test_where_the_surprise_is_not_known_the_outcome_stays_as_it_is() -> None:
    felt = assessment(7.0, 3.0)
    assert weighed(felt, None) is felt and felt.in_domain is None
    assert isinstance(weighed(UNREADABLE, 5.0), AssessmentFailure)
