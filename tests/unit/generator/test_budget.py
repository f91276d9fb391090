"""Image-steps that a caller may ask for, by a clock of the test's own."""

import pytest

from emofeedback.domain.errors import ResourceExhausted
from emofeedback.generator.budget import StepBudget


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def refused(budget: StepBudget, caller: str = "ada") -> float:
    """Seconds until the caller may come back."""
    with pytest.raises(ResourceExhausted, match="more than 600 image-steps a minute") as caught:
        budget.take(caller, 1)
    assert caught.value.retry_after is not None
    return caught.value.retry_after


def test_a_minute_s_worth_may_be_taken_at_once_and_comes_back_steadily() -> None:
    clock = Clock()
    budget = StepBudget(600, clock)
    for _ in range(6):
        budget.take("ada", 100)
    assert refused(budget) == pytest.approx(1.0)
    clock.now += 1
    budget.take("ada", 10)
    assert refused(budget) == pytest.approx(1.0)
    clock.now += 1000
    for _ in range(6):
        budget.take("ada", 100)
    refused(budget)


def test_a_call_larger_than_that_is_paid_for_afterwards() -> None:
    clock = Clock()
    budget = StepBudget(600, clock)
    budget.take("ada", 1800)
    wait = refused(budget)
    assert wait == pytest.approx(121, abs=1)
    clock.now += wait
    budget.take("ada", 1)


def test_callers_have_a_budget_each_and_who_is_in_process_needs_none() -> None:
    budget = StepBudget(600, Clock())
    budget.take("ada", 600)
    refused(budget)
    budget.take("bob", 600)
    for _ in range(9):
        budget.take("", 600)
    unlimited = StepBudget(0)
    for _ in range(9):
        unlimited.take("ada", 10**9)
