"""Step 1 and the decisions that follow from it, as pure functions."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.optimization import Answer, Candidate, LoopOptions, OptimizationRequest, StopReason
from emofeedback.optimizer.loss import best_of, drift_floor, loss, mark_drift, stop_reason, worst_of
from emofeedback.profiles.profile import OptimizerSettings
from support.fakes import UNREADABLE, assessment

TARGET = AffectPoint(7.0, 3.0)
SETTINGS = OptimizerSettings(text_floor=0.5, image_floor=0.2, plateau_rounds=2, plateau_gain=0.1)
REQUEST = OptimizationRequest(prompt="a boat", target=TARGET, rounds=10)


def candidate(
    index: int = 0,
    error: float | None = 1.0,
    alignment: float = 0.5,
    on_subject: bool = True,
    domain_score: float | None = None,
) -> Candidate:
    """A candidate `error` away from the target; None stands for an unreadable reply."""
    outcome = UNREADABLE if error is None else replace(assessment(7.0 - error, 3.0), domain_score=domain_score)
    return Candidate(index=index, seed=index, outcome=outcome, loss=error, alignment=alignment, on_subject=on_subject)


def rounds(*errors: float | None) -> list[list[Candidate]]:
    """One round of one candidate for each error."""
    return [[candidate(error=error)] for error in errors]


def test_the_loss_is_the_sum_of_both_errors() -> None:
    assert loss(assessment(5.5, 4.0), TARGET) == pytest.approx(2.5)


def test_an_unreadable_picture_has_no_loss() -> None:
    assert loss(UNREADABLE, TARGET) is None


def test_the_drift_floor_lies_below_the_mean_of_round_one() -> None:
    first = [candidate(0, alignment=0.4), candidate(1, alignment=0.6)]
    assert drift_floor(first, SETTINGS) == pytest.approx(0.3)


def test_images_under_the_floor_have_lost_the_subject_those_on_it_have_not() -> None:
    marked = mark_drift([candidate(0, alignment=0.29), candidate(1, alignment=0.3)], 0.3)
    assert [c.on_subject for c in marked] == [False, True]


def test_the_best_is_the_nearest_over_all_rounds() -> None:
    judged = [[candidate(0, 2.0), candidate(1, 0.5)], [candidate(0, 1.0), candidate(1, 3.0)]]
    assert best_of(judged) == Answer(round=0, index=1, loss=0.5)


def test_of_equals_the_earliest_is_the_best() -> None:
    assert best_of([[candidate(0, 1.0), candidate(1, 1.0)], [candidate(0, 1.0)]]) == Answer(round=0, index=0, loss=1.0)


def test_a_picture_that_lost_the_subject_is_not_the_best_however_near() -> None:
    judged = [[candidate(0, 0.1, on_subject=False), candidate(1, 4.0)]]
    assert best_of(judged) == Answer(round=0, index=1, loss=4.0)


@given(known=st.lists(st.floats(0, 6), min_size=1, max_size=5), foreign=st.lists(st.floats(0, 6), max_size=5))
def test_a_picture_that_is_not_of_the_judges_world_is_not_the_best_however_near(
    known: list[float], foreign: list[float]
) -> None:
    familiar = [candidate(index, error) for index, error in enumerate(known)]
    strange = [candidate(len(known) + index, error, domain_score=1.01) for index, error in enumerate(foreign)]
    assert best_of([strange, familiar]) == best_of([[], familiar])


def test_where_nothing_on_the_subject_could_be_judged_the_nearest_of_the_rest_is_the_best() -> None:
    judged = [[candidate(0, None), candidate(1, 2.0, on_subject=False), candidate(2, 1.0, on_subject=False)]]
    assert best_of(judged) == Answer(round=0, index=2, loss=1.0)


def test_without_a_readable_reply_there_is_neither_best_nor_worst() -> None:
    judged = [[candidate(0, None), candidate(1, None)]]
    assert best_of(judged) is None
    assert worst_of(judged) is None


def test_the_worst_is_the_farthest_of_the_last_round() -> None:
    judged = [[candidate(0, 5.0), candidate(1, 0.5)], [candidate(0, 1.0), candidate(1, 3.0)]]
    assert worst_of(judged) == Answer(round=1, index=1, loss=3.0)


def test_a_better_picture_alone_in_its_round_is_compared_with_the_best_before_it() -> None:
    judged = rounds(2.0, 1.0)
    assert best_of(judged) == Answer(round=1, index=0, loss=1.0)
    assert worst_of(judged) == Answer(round=0, index=0, loss=2.0)


def test_a_round_that_could_not_be_judged_has_no_worst_even_after_good_ones() -> None:
    assert worst_of(rounds(2.0, None)) is None


@pytest.mark.parametrize(
    ("changes", "errors", "elapsed", "expected"),
    [
        ({}, (), 0, None),
        ({}, (3.0, 2.0), 0, None),
        ({"rounds": 2}, (3.0, 2.0), 0, StopReason.ROUNDS),
        ({"tolerance": 2.0}, (3.0, 2.0), 0, StopReason.TOLERANCE),
        ({"tolerance": 1.9}, (3.0, 2.0), 0, None),
        ({"tolerance": 0.0}, (3.0, 0.0), 0, StopReason.TOLERANCE),
        ({"rounds": 2, "tolerance": 2.0}, (3.0, 2.0), 0, StopReason.TOLERANCE),
        ({}, (3.0, 2.95), 0, None),
        ({}, (3.0, 2.97, 2.94), 0, StopReason.PLATEAU),
        ({}, (3.0, 3.5, 2.5), 0, None),
        ({}, (3.0, 2.5, 2.5, 2.5), 0, StopReason.PLATEAU),
        ({"rounds": 3}, (3.0, 3.0, 3.0), 0, StopReason.ROUNDS),
        ({}, (None, None), 0, None),
        ({}, (None, None, None), 0, StopReason.PLATEAU),
        ({}, (None, None, 2.0), 0, None),
        ({"time_budget": 10.0}, (3.0,), 9.9, None),
        ({"time_budget": 10.0}, (3.0,), 10.0, StopReason.TIME_BUDGET),
    ],
)
def test_a_run_stops_on_tolerance_rounds_plateau_or_time(
    changes: LoopOptions, errors: tuple[float | None, ...], elapsed: float, expected: StopReason | None
) -> None:
    assert stop_reason(replace(REQUEST, **changes), SETTINGS, rounds(*errors), elapsed) == expected


def test_the_first_round_is_always_painted() -> None:
    assert stop_reason(replace(REQUEST, time_budget=0.001), SETTINGS, [], elapsed=5.0) is None
