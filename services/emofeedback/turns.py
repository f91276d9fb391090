"""Whose pictures take an engine's next step: a fair share for every caller, and of it for each of a caller's calls.

Deficit round robin, in the form of virtual times (start-time fair queueing). Each step of a picture moves its call's
time on, by less the more urgent the call is and the fewer calls its caller has; whose time is behind comes first. (A
step is one of denoising in the generator; in the judge, a whole reply.)

A call with one picture can't use more of a batch than one place, so others' pictures in the batch would only make its
steps longer. They join where they are due by their own time, or where they cost nothing: on a GPU a step of eight
pictures may take little longer than one of two.

Pictures that wait in the middle hold their latent and nothing else, so calls change places between any two steps. They
don't without need: where there are more calls than places, those that have begun go on until they are a picture ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from emofeedback.domain.callers import Priority

Call = TypeVar("Call", bound=Hashable)

WEIGHTS: Mapping[Priority, float] = {"interactive": 4.0, "batch": 2.0, "trajectories": 1.0}
"""Shares of calls beside each other. Never none: a training run goes on, slowly, while people paint."""
FREE = 1.1
"""A batch may take this much longer for pictures that are not due."""

_NEWEST = 0.2
"""Weight of a measurement in its moving average."""


@dataclass(frozen=True, kw_only=True)
class Demand(Generic[Call]):
    """What a call could have painted now."""

    call: Call
    caller: str
    priority: Priority
    samples: int
    """Pictures that could take a step, begun or not; none: it waits for another kind of step."""
    steps: int
    """Of one picture."""


class Pace:
    """What a step takes, by how many pictures it has: measured as they are painted."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    def record(self, pictures: int, seconds: float) -> None:
        """A step that has just been done."""
        before = self._seconds.get(pictures, seconds)
        self._seconds[pictures] = before + _NEWEST * (seconds - before)

    def seconds(self, pictures: int) -> float | None:
        """Of a step of so many; None where there was none yet."""
        return self._seconds.get(pictures)


class Turns(Generic[Call]):
    """The order of one engine."""

    def __init__(self, places: int) -> None:
        """`places`: pictures in one step."""
        self._places = places
        self._times: dict[Call, float] = {}
        self._served: list[Call] = []

    def next(self, demands: Sequence[Demand[Call]], seconds: Callable[[int], float | None]) -> dict[Call, int]:
        """How many pictures of each call take the next step; calls that get none are left out.

        Args:
            demands: of all calls, the oldest first, of at least one with a picture.
            seconds: what a step of so many pictures takes; None where that isn't known yet.
        """
        costs = _costs(demands)
        self._keep_times(demands)
        served = self._in_service([demand for demand in demands if demand.samples], costs)
        self._served = [demand.call for demand in served]
        given: dict[Call, int] = {}
        while sum(given.values()) < self._places:
            wanting = [demand for demand in served if given.get(demand.call, 0) < demand.samples]
            if not wanting:
                break
            due = min(wanting, key=lambda demand: self._times[demand.call])
            if self._times[due.call] > min(self._times[demand.call] for demand in served) and given:
                break
            self._give(due, costs, given)
        self._fill(served, costs, given, seconds)
        return given

    def most_due(self, demands: Sequence[Demand[Call]]) -> Demand[Call]:
        """The call whose time is behind all others'."""
        self._keep_times(demands)
        return min(demands, key=lambda demand: self._times[demand.call])

    def _keep_times(self, demands: Sequence[Demand[Call]]) -> None:
        """Who is new begins where the one is who is behind most."""
        now = min((self._times[demand.call] for demand in demands if demand.call in self._times), default=0.0)
        self._times = {demand.call: self._times.get(demand.call, now) for demand in demands}

    def _give(self, demand: Demand[Call], costs: Mapping[Call, float], given: dict[Call, int]) -> None:
        given[demand.call] = given.get(demand.call, 0) + 1
        self._times[demand.call] += costs[demand.call]

    def _in_service(self, demands: Sequence[Demand[Call]], costs: Mapping[Call, float]) -> list[Demand[Call]]:
        """As many calls as there are places: those that had one, then whose time is behind."""
        if len(demands) <= self._places:
            return list(demands)

        def lead(demand: Demand[Call]) -> float:
            """Time that counts for the order: that of a call in service is a picture's behind its own."""
            begun = demand.call in self._served
            return self._times[demand.call] - begun * demand.steps * costs[demand.call]

        return sorted(demands, key=lead)[: self._places]

    def _fill(
        self,
        served: Sequence[Demand[Call]],
        costs: Mapping[Call, float],
        given: dict[Call, int],
        seconds: Callable[[int], float | None],
    ) -> None:
        """Adds pictures that aren't due to places that are free and cost nothing, the most urgent first."""
        due = sum(given.values())
        longest = (seconds(due) or 0.0) * FREE
        room = max((n for n in range(due, self._places + 1) if (seconds(n) or float("inf")) <= longest), default=due)
        for _ in range(room - due):
            wanting = [demand for demand in served if given.get(demand.call, 0) < demand.samples]
            if wanting:
                self._give(min(wanting, key=lambda demand: self._times[demand.call]), costs, given)


def _costs(demands: Sequence[Demand[Call]]) -> dict[Call, float]:
    """Virtual time that a step of one picture of each call takes."""
    calls: dict[str, int] = {}
    for demand in demands:
        calls[demand.caller] = calls.get(demand.caller, 0) + 1
    return {demand.call: calls[demand.caller] / WEIGHTS[demand.priority] for demand in demands}
