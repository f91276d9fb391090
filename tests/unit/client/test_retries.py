"""When the SDK tries again: arithmetic of pauses, of patience, and of the bucket that all calls of a client share."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback import NothingAnswers, ResourceExhausted, RetryPolicy, Unavailable
from emofeedback.client.retries import RetryBucket, Seldom, Waiting

GONE, BROKEN = NothingAnswers("nothing answers"), Unavailable("broke")


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_pauses_grow_up_to_the_longest_and_part_of_them_is_chance(failures: int, jitter: float) -> None:
    policy = RetryPolicy(initial_backoff=0.2, multiplier=2.0, maximum_backoff=10.0, jitter=jitter)
    whole = min(0.2 * 2 ** min(failures - 1, 40), 10.0)
    assert whole * (1 - jitter) - 1e-9 <= policy.pause(failures, BROKEN) <= whole


def test_the_server_says_when() -> None:
    assert RetryPolicy().pause(9, ResourceExhausted("full", retry_after=0.75)) == 0.75


@pytest.mark.parametrize(("told", "believed"), [(-3.0, 0.0), (1e12, 600.0)])
def test_a_time_to_come_back_that_makes_no_sense_is_not_believed(told: float, believed: float) -> None:
    assert RetryPolicy().pause(1, ResourceExhausted("full", retry_after=told)) == believed


def test_silence_is_borne_for_two_minutes_and_failures_four_times() -> None:
    policy = RetryPolicy()
    assert policy.allows(GONE, failures=0, waited=119.0)
    assert not policy.allows(GONE, failures=0, waited=120.0)
    assert policy.allows(BROKEN, failures=3, waited=0.0)
    assert not policy.allows(BROKEN, failures=4, waited=0.0)


def test_one_attempt_is_one_attempt_even_where_nothing_answers() -> None:
    assert not RetryPolicy(attempts=1).allows(GONE, failures=0, waited=0.0)


@given(st.lists(st.floats(0, 3), max_size=200), st.floats(0.5, 50))
def test_however_retries_come_no_more_than_the_rate_and_a_seconds_worth_pass(gaps: list[float], rate: float) -> None:
    now = 100.0
    bucket = RetryBucket(rate, clock=lambda: now)
    passed = []
    for gap in gaps:
        now += gap
        passed.append(now + bucket.take())
    assert passed == sorted(passed)
    for first, begin in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= (passed[last] - begin + 1.0) * rate + 1 + 1e-6


def test_a_few_retries_do_not_wait() -> None:
    bucket = RetryBucket(20.0, clock=lambda: 5.0)
    assert [bucket.take() for _ in range(20)] == [0.0] * 20
    assert bucket.take() > 0


def test_what_is_told_says_why_for_how_long_and_when_next() -> None:
    told = str(Waiting(error=GONE, seconds=4.21, waited=17.3))
    assert told == "nothing answers (for 17 s now); next try in 4.2 s"


def test_a_wait_that_goes_on_unchanged_is_told_ever_more_seldom() -> None:
    now = 0.0
    told: list[tuple[float, bool]] = []
    listen = Seldom(lambda waiting, goes_on: told.append((now, goes_on)), clock=lambda: now)
    for second in range(200):
        now = float(second)
        listen(Waiting(error=GONE, seconds=1.0, waited=now))
    assert told == [(0, False), (5, True), (15, True), (35, True), (75, True), (135, True), (195, True)]


@pytest.mark.parametrize(("error", "later"), [(BROKEN, 1.0), (GONE, 60.0)])
def test_another_reason_or_the_same_one_after_calls_went_through_is_told_in_full(
    error: Unavailable, later: float
) -> None:
    now = 0.0
    told: list[bool] = []
    listen = Seldom(lambda waiting, goes_on: told.append(goes_on), clock=lambda: now)
    listen(Waiting(error=GONE, seconds=1.0, waited=0.0))
    now = later
    listen(Waiting(error=error, seconds=1.0, waited=0.0))
    assert told == [False, False]


@pytest.mark.parametrize(
    ("error", "seconds", "level"),
    [
        (GONE, 0.2, logging.WARNING),
        (BROKEN, 0.2, logging.INFO),
        (ResourceExhausted("40 calls are before it"), 12.0, logging.WARNING),
    ],
)
def test_without_a_listener_the_log_is_told_aloud_of_what_a_person_would_wonder_about(
    error: Unavailable, seconds: float, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="emofeedback.client")
    RetryPolicy().listener()(Waiting(error=error, seconds=seconds, waited=0.0))
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (level, f"{error}; next try in {seconds:.1f} s")
