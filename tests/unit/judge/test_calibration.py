"""Personal calibration: what is learned of a person, when it is refused, and that a map keeps the order of pictures."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, Emotion
from emofeedback.domain.assessment import Assessment, AssessmentFailure
from emofeedback.domain.errors import FailedPrecondition, NotFound
from emofeedback.domain.generation import ModelInfo
from emofeedback.judge.calibration import (
    KNOTS,
    MINIMUM_IMAGES,
    AxisCalibration,
    Calibration,
    Ratings,
    Refusal,
    calibrated,
    fit_axis,
    fit_values,
)
from emofeedback.judge.calibration_store import CalibrationStore
from support.fakes import assessment

JUDGE = ModelInfo(name="judge", digest="sha256:" + "a" * 64)
SEEN = np.linspace(1.5, 8.5, 20)
rating = st.floats(SCALE_MIN, SCALE_MAX)


def noisy(ratings: Ratings, seed: int = 0, sd: float = 0.5) -> Ratings:
    return np.clip(ratings + np.random.default_rng(seed).normal(0, sd, len(ratings)), SCALE_MIN, SCALE_MAX)


def fitted(judged: Ratings, rated: Ratings) -> AxisCalibration:
    fit = fit_axis(judged, rated)
    assert isinstance(fit, AxisCalibration)
    return fit


def test_a_person_who_uses_half_the_scale_is_seen_so() -> None:
    fit = fitted(SEEN, noisy(5 + 0.5 * (SEEN - 5)))
    assert fit.values == pytest.approx((3, 5, 7), abs=0.5)
    assert fit.error < 0.6 < fit.judge_error
    assert fit.apply(8) == pytest.approx(6.5, abs=0.3)


def test_the_gain_holds_on_pictures_that_were_not_rated() -> None:
    random = np.random.default_rng(3)
    judged = random.uniform(1, 9, 300)
    rated = noisy(4 + 0.4 * (judged - 4), seed=4)
    fit = fitted(judged[:30], rated[:30])
    unseen = np.array([fit.apply(value) for value in judged[30:]])
    gain = np.mean(np.abs(judged[30:] - rated[30:])) - np.mean(np.abs(unseen - rated[30:]))
    assert gain == pytest.approx(fit.judge_error - fit.error, abs=0.3) and gain > 0.5


@pytest.mark.parametrize("count", [0, MINIMUM_IMAGES - 1])
def test_too_few_pictures_are_refused(count: int) -> None:
    fit = fit_axis(SEEN[:count], SEEN[:count] / 2 + 0.5)
    assert fit == Refusal(reason=f"{count} pictures are rated, at least 10 are needed")


def test_people_who_agree_with_the_judge_are_refused_but_for_a_few_by_chance() -> None:
    fits = [fit_axis(SEEN, noisy(SEEN, seed)) for seed in range(20)]
    refusals = [fit for fit in fits if isinstance(fit, Refusal)]
    assert len(refusals) >= 17 and all("no gain beyond its standard error" in refusal.reason for refusal in refusals)
    for fit in fits:
        if isinstance(fit, AxisCalibration):  # and then it does no harm
            assert np.mean([abs(fit.apply(value) - value) for value in SEEN]) < 0.4


def test_ten_exact_ratings_count_for_far_more_than_the_prior() -> None:
    few = np.linspace(1.5, 8.5, 10)
    assert fit_values(few, few + 1) == pytest.approx(np.array(KNOTS) + 1, abs=0.2)


def test_without_ratings_a_map_is_the_judges() -> None:
    assert fit_values(np.array([]), np.array([])) == pytest.approx(np.array(KNOTS))


@given(st.lists(st.tuples(rating, rating), min_size=1, max_size=20))
def test_a_map_keeps_the_order_of_pictures_and_no_other_such_map_fits_better(pairs: list[tuple[float, float]]) -> None:
    judged, rated = np.array(pairs).T
    values = fit_values(judged, rated)
    slopes = np.diff(values) / np.diff(KNOTS)
    assert np.all(slopes >= 0.1 - 1e-6)

    def loss(candidate: Ratings) -> float:
        errors = np.interp(judged, KNOTS, candidate) - rated
        low, middle, high = candidate - np.array(KNOTS)
        level, tilt, bend = (low + middle + high) / 3, (high - low) / 2, (low - 2 * middle + high) / 2
        return float(np.sum(errors**2) + level**2 + tilt**2 + 3 * bend**2)

    for step in np.random.default_rng(0).normal(0, 0.3, (30, 3)):
        other = values + step
        if np.all(np.diff(other) / np.diff(KNOTS) >= 0.1):
            assert loss(values) <= loss(other) + 1e-6


@given(rating, rating)
def test_a_calibrated_rating_stays_on_the_scale_and_in_order(one: float, other: float) -> None:
    fit = AxisCalibration(values=(-2, 6, 11), images=10, judge_error=1, error=0.5, standard_error=0.1)
    low, high = sorted((one, other))
    assert SCALE_MIN <= fit.apply(low) <= fit.apply(high) <= SCALE_MAX


def calibration() -> Calibration:
    return calibrated("ada", JUDGE, {"valence": fitted(SEEN, noisy(SEEN / 2 + 1)), "arousal": Refusal(reason="few")})


def test_only_what_was_learned_is_changed() -> None:
    seen = Assessment(valence=8, arousal=3, emotion=Emotion.AWE, confidence=0.7, reasoning="It glows.")
    after = calibration().apply(seen)
    assert isinstance(after, Assessment) and after.valence == pytest.approx(5, abs=0.4)
    assert dataclasses.replace(after, valence=8) == seen
    assert calibration().apply(AssessmentFailure(reason="no")) == AssessmentFailure(reason="no")


@given(rating, rating)
def test_a_persons_distribution_and_interval_go_with_the_rating(valence: float, arousal: float) -> None:
    seen = assessment(valence, arousal)
    after = calibration().apply(seen)
    assert isinstance(after, Assessment) and after.valence_distribution is not None
    over = after.valence_distribution
    assert over.low <= after.valence <= over.high
    assert sum(over.shares) == pytest.approx(1)
    mean = sum(step * share for step, share in enumerate(over.shares, 1))
    assert mean == pytest.approx(after.valence, abs=0.15)  # the map has knots; a mean of what it maps isn't its value
    assert (after.arousal_distribution, after.emotions) == (seen.arousal_distribution, seen.emotions)


def test_nothing_learned_is_said_with_the_reasons() -> None:
    refusals = {"valence": Refusal(reason="no gain"), "arousal": Refusal(reason="9 pictures")}
    with pytest.raises(FailedPrecondition, match="no calibration for ada: valence: no gain; arousal: 9 pictures"):
        calibrated("ada", JUDGE, refusals)  # type: ignore[arg-type]


# --- the store ---------------------------------------------------------------------------------------------------


def test_a_person_is_kept_and_a_later_calibration_takes_the_place(tmp_path: Path) -> None:
    store = CalibrationStore(str(tmp_path / "people"))
    earlier = calibration()
    assert store.write(earlier) == f"{tmp_path}/people/ada.json"
    assert store.read("ada", JUDGE) == earlier
    later = dataclasses.replace(earlier, valence=None, arousal=earlier.valence)
    store.write(later)
    assert store.read("ada", JUDGE) == later
    assert [path.name for path in (tmp_path / "people").iterdir()] == ["ada.json"]


def test_an_unknown_person_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no calibration for user 'ada'.*emofeedback calibrate"):
        CalibrationStore(str(tmp_path)).read("ada", JUDGE)


@pytest.mark.parametrize("change", ["cut", "values", "rename"])
def test_a_damaged_file_is_said_to_be_damaged(change: str, tmp_path: Path) -> None:
    store = CalibrationStore(str(tmp_path))
    store.write(calibration())
    file = tmp_path / "ada.json"
    content = json.loads(file.read_text())
    content["valence"]["values"] = [5, 4, 3] if change == "values" else content["valence"]["values"]
    content["judge" if change == "rename" else "other"] = {"name": 1}
    file.write_text(json.dumps(content)[: 40 if change == "cut" else None])
    with pytest.raises(FailedPrecondition, match="of user 'ada' can't be read"):
        store.read("ada", JUDGE)


def test_a_calibration_belongs_to_the_judge_that_it_was_fitted_on(tmp_path: Path) -> None:
    store = CalibrationStore(str(tmp_path))
    store.write(calibration())
    with pytest.raises(FailedPrecondition, match="fit it again"):
        store.read("ada", ModelInfo(name="judge", digest="sha256:" + "b" * 64))


def test_a_store_that_cannot_be_used_says_so() -> None:
    with pytest.raises(FailedPrecondition, match="the calibrations at nowhere://people can't be used"):
        CalibrationStore("nowhere://people").read("ada", JUDGE)
