"""Whose pictures take the next step, played through with a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from emofeedback.domain.callers import Priority
from emofeedback.turns import Demand, Pace, Turns

PLACES = 8
STEPS = 20


def in_proportion(pictures: int) -> float:
    """A CPU: each picture takes its time."""
    return float(pictures)


def all_at_once(pictures: int) -> float:
    """A GPU that isn't full: a step takes what it takes."""
    return 10 + 0.01 * pictures


@dataclass(eq=False)
class Call:
    """Pictures with so many steps left each."""

    name: str
    pictures: int
    priority: Priority = "interactive"
    caller: str = ""
    arrives: float = 0.0
    left: list[int] = field(default_factory=list)
    ended: float = 0.0

    def __post_init__(self) -> None:
        self.left = [STEPS] * self.pictures
        self.caller = self.caller or self.name


def play(*calls: Call, cost: Callable[[int], float] = in_proportion, places: int = PLACES) -> list[dict[str, int]]:
    """Paints all of them; returns the pictures of each step by call."""
    turns, now = Turns[Call](places), 0.0
    told: list[dict[str, int]] = []
    while any(call.left for call in calls):
        here = [call for call in calls if call.left and call.arrives <= now]
        if not here:
            now = min(call.arrives for call in calls if call.left)
            continue
        demands = [
            Demand(call=call, caller=call.caller, priority=call.priority, samples=len(call.left), steps=STEPS)
            for call in here
        ]
        given = turns.next(demands, cost)
        assert 1 <= sum(given.values()) <= places
        now += cost(sum(given.values()))
        for call in here:
            count = given.get(call, 0)
            assert count <= len(call.left)
            call.left = [left - (i < count) for i, left in enumerate(call.left)]
            call.left = [left for left in call.left if left]
            if not call.left:
                call.ended = now
        told.append({call.name: given[call] for call in here if call in given})
    return told


def latency(call: Call) -> float:
    return call.ended - call.arrives


def test_a_call_alone_fills_the_batch() -> None:
    told = play(Call("a", 20))
    assert told[0] == {"a": PLACES}
    assert len(told) == 3 * STEPS


@pytest.mark.parametrize("caller", ["other", "same"])
def test_a_picture_beside_a_large_call_takes_half_as_long_again_as_alone_and_a_step(caller: str) -> None:
    large = Call("large", 64, "batch", caller="same")
    single = Call("single", 1, caller=caller, arrives=100.0)
    play(large, single)
    assert latency(single) <= 1.5 * STEPS * in_proportion(1) + in_proportion(PLACES)


def test_a_large_call_goes_on_beside_single_pictures_that_never_end() -> None:
    large = Call("large", 8, "batch")
    singles = [Call(f"single{i}", 1, caller="single", arrives=i * 30.0) for i in range(100)]
    told = play(large, *singles)
    assert large.ended < 3 * 8 * STEPS
    assert all(latency(single) <= 40 for single in singles)
    assert sum(step.get("large", 0) for step in told) == 8 * STEPS


def test_where_others_pictures_cost_nothing_they_join() -> None:
    large, single = Call("large", 64, "batch"), Call("single", 1, arrives=100.0)
    told = play(large, single, cost=all_at_once)
    assert all(sum(step.values()) == PLACES for step in told if "single" in step)


def test_callers_share_alike_however_many_calls_they_have() -> None:
    many = [Call(f"many{i}", 8, caller="many") for i in range(4)]
    one = Call("one", 8)
    told = play(*many, one)[:STEPS]
    assert sum(step.get("one", 0) for step in told) == pytest.approx(PLACES * STEPS / 2, abs=PLACES)


@pytest.mark.parametrize(
    ("first", "second", "ratio"), [("interactive", "batch", 2), ("interactive", "trajectories", 4)]
)
def test_the_more_urgent_gets_more_and_the_other_not_nothing(first: Priority, second: Priority, ratio: float) -> None:
    told = play(Call("first", 64, first), Call("second", 64, second))[: 2 * STEPS]
    shares = [sum(step.get(name, 0) for step in told) for name in ("first", "second")]
    assert shares[0] / shares[1] == pytest.approx(ratio, rel=0.1)


def test_more_calls_than_places_are_painted_one_after_another_not_all_at_half_the_speed() -> None:
    calls = [Call(f"call{i}", 1) for i in range(2 * PLACES)]
    play(*calls)
    assert [call.ended for call in calls] == [PLACES * STEPS] * PLACES + [2 * PLACES * STEPS] * PLACES


def test_a_large_call_that_fills_the_places_first_makes_room_for_many_single_ones() -> None:
    large = Call("large", 64, "batch")
    singles = [Call(f"single{i}", 1, arrives=50.0) for i in range(2 * PLACES)]
    play(large, *singles)
    assert all(single.ended < large.ended / 2 for single in singles)


def test_a_newcomer_has_saved_up_nothing() -> None:
    late = Call("late", 64, arrives=1000.0)
    told = play(Call("early", 64), late)
    began = next(i for i, step in enumerate(told) if "late" in step)
    together = told[began : began + 10]
    assert sum(step["early"] for step in together) == sum(step["late"] for step in together)


def test_the_pace_follows_what_is_measured() -> None:
    pace = Pace()
    assert pace.seconds(4) is None
    pace.record(4, 1.0)
    assert pace.seconds(4) == 1.0
    for _ in range(50):
        pace.record(4, 2.0)
    assert pace.seconds(4) == pytest.approx(2.0, rel=0.01)
