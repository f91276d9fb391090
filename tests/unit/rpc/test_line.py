"""The line before a number of places, in a time of its own: turns are kept, told, and given up."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, deque
from contextlib import AbstractContextManager, ExitStack

import pytest

from emofeedback.domain.errors import ResourceExhausted
from emofeedback.rpc.line import LONGEST_PAUSE, MOST_LATE, SHORTEST_PAUSE, Line


class Clock:
    """Seconds, as a test lets them pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def told(line: Line, client: str) -> float:
    """When a refused client is to come back."""
    with pytest.raises(ResourceExhausted) as refused, line.place(client):
        pass
    assert refused.value.retry_after is not None
    return refused.value.retry_after


def full(line: Line, places: int) -> ExitStack:
    """All places, taken one after another."""
    stack = ExitStack()
    for number in range(places):
        stack.enter_context(line.place(f"first {number}"))
    return stack


def test_a_free_place_is_theirs_who_were_refused_before() -> None:
    clock = Clock()
    line = Line(8, clock)
    under_way = [line.place(str(number)) for number in range(8)]
    for place in under_way:
        place.__enter__()
    pauses = [told(line, client) for client in ("ada", "bob")]
    clock.now += max(pauses)
    under_way.pop().__exit__(None, None, None)
    told(line, "a newcomer")
    told(line, "bob")
    with line.place("ada"):
        told(line, "a newcomer")
    clock.now += LONGEST_PAUSE
    with line.place("anybody, since no turn is kept for ever"):
        pass


def test_a_client_has_a_turn_for_each_of_its_calls() -> None:
    clock = Clock()
    line = Line(4, clock)
    with full(line, 4):
        pauses = [told(line, "ada") for _ in range(100)]
    assert pauses[-1] > pauses[0] == SHORTEST_PAUSE
    clock.now += max(pauses)
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(line.place("ada"))


def test_who_never_comes_back_keeps_no_more_than_a_quarter_free() -> None:
    line = Line(8, Clock())
    with full(line, 8):
        for number in range(1000):
            told(line, f"gone {number}")
    with full(line, 6):
        told(line, "somebody")


def test_nothing_is_kept_of_a_line_that_nobody_is_in() -> None:
    clock = Clock()
    line = Line(1, clock)
    with line.place("ada"):
        pause = told(line, "bob")
        assert not line.idle
    assert not line.idle, "bob may come back"
    clock.now += 100 * pause
    assert line.idle


def test_600_callers_are_served_alike_and_told_to_come_back_when_their_turn_is_near() -> None:
    """Each calls again as soon as it is answered; a service finishes five calls a second, as they came."""
    clock, chance, seconds, rate = Clock(), random.Random(1), 600.0, 5.0
    line, order = Line(256, clock), itertools.count()
    happens = [(chance.random(), next(order), client) for client in range(600)]
    heapq.heapify(happens)
    working: deque[tuple[int, AbstractContextManager[None]]] = deque()
    finished: Counter[int] = Counter()
    refused = 0
    next_done = 0.0
    while happens and happens[0][0] < seconds:
        if working and next_done <= happens[0][0]:
            clock.now, (client, place) = next_done, working.popleft()
            place.__exit__(None, None, None)
            finished[client] += 1
            heapq.heappush(happens, (clock.now, next(order), client))
            next_done += 1 / rate
            continue
        clock.now, _, client = heapq.heappop(happens)
        place = line.place(str(client))
        try:
            place.__enter__()
        except ResourceExhausted as error:
            refused += 1
            assert error.retry_after is not None and error.retry_after <= LONGEST_PAUSE
            back = clock.now + error.retry_after * chance.uniform(1, 1 + MOST_LATE)
            heapq.heappush(happens, (back, next(order), client))
        else:
            next_done = max(next_done, clock.now + 1 / rate) if not working else next_done
            working.append((client, place))
    counts = [finished[client] for client in range(600)]
    assert sum(counts) > 0.99 * rate * seconds, "the service never waits for those who are late"
    assert max(counts) - min(counts) <= 3
    assert refused < 2 * sum(counts)
