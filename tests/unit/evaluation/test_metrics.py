"""Metrics: golden values, agreement with the libraries that have them, and what must hold for any data."""

import itertools
import random
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import brier_score_loss, f1_score, roc_auc_score
from torch import tensor
from torchmetrics.functional.classification import binary_calibration_error

from emofeedback.domain.taxonomies import EKMAN
from emofeedback_trainer.evaluation.metrics import (
    accuracy,
    bootstrap,
    brier,
    correlation,
    estimate,
    expected_calibration_error,
    line,
    macro_f1,
    mae,
    ranking_score,
    reliability,
    roc_auc,
    srcc,
    weighted_f1,
)

TRUTH = ("joy", "neutral", "surprise")
confidences = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def test_errors_and_correlations_are_those_of_the_libraries() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 9, 50).round(1)  # with ties
    said = truth + rng.normal(0, 1, 50)
    assert mae([2.0, 5.0], [2.5, 4.0]) == 0.75
    assert srcc(truth, said) == pytest.approx(spearmanr(truth, said).statistic)
    assert correlation(truth, said) == pytest.approx(pearsonr(truth, said).statistic)


def test_what_doesnt_vary_follows_nothing() -> None:
    assert correlation([1.0, 2.0, 3.0], [4.0, 4.0, 4.0]) == 0
    assert srcc([5.0], [5.0]) == 0
    assert line(np.array([2.0, 8.0]), np.array([5.0, 5.0])) == (0.0, 0.0)
    assert line(np.array([5.0, 5.0]), np.array([2.0, 8.0])) == (0.0, 0.0)


def test_weighted_f1_counts_classes_as_often_as_they_are_there() -> None:
    truth, said = ["a", "a", "b", "c", "c", "c"], ["a", "b", "b", "a", "c", "unknown"]
    expected = f1_score(truth, said, average="weighted", zero_division=0)
    assert weighted_f1(truth, said) == pytest.approx(expected)


def test_roc_auc_is_that_of_the_library_and_undefined_where_all_are_right() -> None:
    scores, right = [0.1, 0.5, 0.5, 0.9, 0.3, 0.5], [0, 1, 0, 1, 1, 0]
    assert roc_auc(scores, right) == pytest.approx(roc_auc_score(right, scores))
    assert np.isnan(roc_auc(scores, [1] * 6))


def test_a_bins_end_belongs_to_it_or_to_the_next() -> None:
    # Both in one bin, where they make up for each other, or each in its own.
    confidences, right = [0.5, 0.5625], [0, 1]
    assert expected_calibration_error(confidences, right, closed="left") == pytest.approx(abs(1.0625 - 1) / 2)
    assert expected_calibration_error(confidences, right) == pytest.approx((0.5 + 0.4375) / 2)
    assert expected_calibration_error([1.0, 0.0], [1, 1], closed="left") == 0.5


def test_macro_f1_counts_rare_classes_as_much_as_frequent_ones() -> None:
    rng = np.random.default_rng(1)
    truth, said = rng.choice(["fear", "joy", "awe"], 80, p=[0.8, 0.1, 0.1]), rng.choice(["fear", "joy", "anger"], 80)
    expected = f1_score(truth, said, labels=np.unique(truth), average="macro", zero_division=0.0)
    assert macro_f1(truth, said) == pytest.approx(expected)
    assert accuracy(["fear", "joy"], ["fear", "awe"]) == 0.5


@pytest.mark.parametrize(
    ("predicted", "score"),
    [
        (("joy", "neutral", "surprise"), 100),  # 50 for the hits, 50 for the order
        (("surprise", "neutral", "joy"), 50),  # all hit, the order is the reverse
        (("joy", "surprise", "neutral"), 50 + 25 * (1 / 3 + 1)),
        (("joy", "fear", "surprise"), 35 + 25 * 2 * 2 / 3),  # two shared, in their order
        (("surprise", "fear", "joy"), 35),
        (("anger", "joy", "fear"), 25),  # one shared has no order
        (("anger", "fear", "disgust"), 0),
        ((), 0),
        (("joy", "joy", "neutral", "surprise"), 100),  # said twice, counted once
    ],
)
def test_the_ranking_score_is_half_hits_and_half_order(predicted: tuple[str, ...], score: float) -> None:
    assert ranking_score(TRUTH, predicted) == pytest.approx(score)


def test_the_ranking_score_goes_by_places_and_not_by_the_alphabet() -> None:
    """Correlating the words themselves ranks them alphabetically: the order of the names must not matter."""
    scores = set()
    for names in itertools.permutations(TRUTH):
        scores.add(ranking_score(names, (names[0], names[2], names[1])))
    assert len(scores) == 1


def test_a_random_guess_scores_as_published_where_two_shared_emotions_count_a_third() -> None:
    draw = random.Random(0)
    scores = [ranking_score(draw.sample(EKMAN, 3), draw.sample(EKMAN, 3), two_shared=1 / 3) for _ in range(1500)]
    assert np.mean(scores) == pytest.approx(25.48, abs=2)


@settings(max_examples=60)
@given(confidences)
def test_calibration_error_and_brier_score_are_those_of_the_libraries(pairs: list[tuple[float, bool]]) -> None:
    said, right = [confidence for confidence, _ in pairs], [int(hit) for _, hit in pairs]
    inside = [min(max(value, 1e-3), 1 - 1e-3) for value in said]
    inside = [value if abs(value * 10 - round(value * 10)) > 1e-4 else value + 5e-4 for value in inside]
    expected = binary_calibration_error(tensor(inside), tensor(right), n_bins=10, norm="l1")
    assert expected_calibration_error(inside, right) == pytest.approx(float(expected), abs=1e-5)
    assert brier(said, right) == pytest.approx(brier_score_loss(right, said, pos_label=1))


@settings(max_examples=60)
@given(confidences, st.integers(1, 15))
def test_every_prediction_is_in_one_bin_of_the_reliability_table(pairs: list[tuple[float, bool]], bins: int) -> None:
    table = reliability([c for c, _ in pairs], [float(hit) for _, hit in pairs], bins=bins)
    assert len(table) == bins and sum(one.n for one in table) == len(pairs)
    for one in table:
        if one.n:
            assert one.low - 1e-12 <= one.confidence <= one.high + 1e-12


def test_an_interval_holds_the_value_and_narrows_with_more_data() -> None:
    rng = np.random.default_rng(2)
    few, many = (estimate(mae, np.zeros(n), rng.normal(0, 1, n)) for n in (20, 500))
    for found in (few, many):
        assert found.low <= found.value <= found.high
    assert many.high - many.low < (few.high - few.low) / 2
    assert (few.n, many.n) == (20, 500)


def test_the_interval_depends_on_the_seed_alone() -> None:
    truth, said = np.arange(30.0), np.arange(30.0)[::-1]
    assert estimate(mae, truth, said, seed=3) == estimate(mae, truth, said, seed=3)
    assert estimate(mae, truth, said, seed=3) != estimate(mae, truth, said, seed=4)


@pytest.mark.parametrize("columns", [([], []), ([1.0], [1.0, 2.0])])
def test_columns_that_do_not_fit_are_refused(columns: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError, match="one length and not empty"):
        estimate(mae, *columns)


def test_a_line_has_its_correlation_and_slope() -> None:
    targets = np.array([2.0, 4.0, 6.0, 8.0])
    assert line(targets, 0.5 * targets + 3) == pytest.approx((1.0, 0.5))
    assert line(targets, 10 - targets) == pytest.approx((-1.0, -1.0))


def mean_of(sample: NDArray[np.float64], drawn: NDArray[np.intp]) -> float:
    return float(sample[drawn].mean())


def test_bootstrap_intervals_hold_the_true_mean_as_often_as_they_promise() -> None:
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(100):
        sample = rng.normal(3.0, 1.0, 48)
        low, high = bootstrap(partial(mean_of, sample), 48, draws=200)
        held += low < 3.0 < high
    assert 85 <= held <= 100


def test_bootstrap_is_the_same_every_time() -> None:
    values = np.arange(10.0)
    assert len({bootstrap(lambda drawn: float(values[drawn].mean()), 10) for _ in range(3)}) == 1
