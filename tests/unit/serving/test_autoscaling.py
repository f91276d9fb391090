"""How many replicas the waiting work asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.serving.autoscaling import IMAGE_STEPS, WorkPolicy, replicas_for

work = st.lists(st.floats(0, 1e6), min_size=1, max_size=8)
calls = st.integers(0, 1000)
targets = st.floats(1, 1e5)


@dataclass
class Moment:
    """What Serve tells a policy."""

    aggregated_metrics: dict[str, dict[str, float]] | None = field(default_factory=dict)
    total_num_requests: float = 0.0
    total_queued_requests: float = 0.0
    target_num_replicas: int = 3


def test_one_call_of_many_images_asks_for_more_than_many_calls_of_one() -> None:
    one_large = replicas_for([64 * 50], waiting_calls=0, calls=1, target=400)
    ten_small = replicas_for([10 * 14], waiting_calls=0, calls=10, target=400)
    assert (one_large, ten_small) == (8, 1)


def test_calls_that_no_replica_has_taken_weigh_as_much_as_those_that_are_taken() -> None:
    taken = replicas_for([100, 100], waiting_calls=0, calls=4, target=100)
    with_waiting = replicas_for([100, 100], waiting_calls=4, calls=8, target=100)
    assert (taken, with_waiting) == (2, 4)


def test_the_last_replica_may_go_only_when_nobody_calls() -> None:
    assert replicas_for([0.0], waiting_calls=0, calls=0, target=100) == 0
    assert replicas_for([0.0], waiting_calls=0, calls=0.01, target=100) == 1


@given(work=work, waiting=calls, taken=calls, target=targets)
def test_the_wanted_replicas_bring_the_work_of_each_down_to_the_target(
    work: list[float], waiting: int, taken: int, target: float
) -> None:
    wanted = replicas_for(work, waiting_calls=waiting, calls=waiting + taken, target=target)
    total = sum(work) * (1 + waiting / max(taken, 1))
    assert total <= wanted * target * (1 + 1e-9)
    assert wanted <= math.ceil(total / target * (1 + 1e-9)) + 1


@given(work=work, more=st.floats(0, 1e6), waiting=calls, taken=calls, target=targets)
def test_more_work_never_asks_for_fewer(
    work: list[float], more: float, waiting: int, taken: int, target: float
) -> None:
    less, greater = (
        replicas_for(work_now, waiting_calls=waiting, calls=waiting + taken, target=target)
        for work_now in (work, [work[0] + more, *work[1:]])
    )
    assert greater >= less


@given(work=work, target=targets)
def test_how_the_work_lies_on_the_replicas_does_not_matter(work: list[float], target: float) -> None:
    spread = [math.fsum(work) / len(work)] * len(work)
    wanted, even = (replicas_for(w, waiting_calls=0, calls=1, target=target) for w in (work, spread))
    assert abs(wanted - even) <= (math.fsum(work) / target) * 1e-9 + 1


@pytest.mark.parametrize("reported", [None, {}, {"other": {"replica": 5.0}}])
def test_without_any_report_nothing_changes(reported: dict[str, dict[str, float]] | None) -> None:
    policy = WorkPolicy(metric=IMAGE_STEPS, target=100)
    assert policy(Moment(aggregated_metrics=reported, total_num_requests=50)) == (3, {})


def test_the_policy_reads_what_the_replicas_report() -> None:
    policy = WorkPolicy(metric=IMAGE_STEPS, target=100)
    moment = Moment(aggregated_metrics={IMAGE_STEPS: {"a": 150.0, "b": 90.0}}, total_num_requests=2)
    assert policy(moment) == (3, {})
