"""The line before a number of places: who is refused keeps a turn, and is told when it comes.

A refused call waits nowhere but in its client. What is kept of it here is a few bytes: whose it was, when it may come
back, and how long its turn is kept. Free places go to the oldest turns, and only then to calls that were never refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from emofeedback.domain.errors import ResourceExhausted

LONGEST_PAUSE = 60.0
"""Seconds; nobody is told to come back later than half as long again."""
SHORTEST_PAUSE = 1.0
"""Seconds; nobody is told to come back sooner."""
MOST_LATE = 0.5
"""Share of a pause that a refused caller is told on top of it, by chance."""
_GRACE = 5.0
"""Seconds for which a turn is kept after its caller was to be back."""
_MOST_TURNS = 4096
"""That are kept; a call that is refused beyond comes back as one that never was."""
_KEPT_FREE = 4
"""One place in so many may stay free for those whose turn it is and who aren't back yet: some never come back."""
_FIRST_GUESS = 0.1
"""Seconds between two calls that leave, before any has."""
_NEWEST = 0.05
"""Weight of the newest such pause in their moving average."""


@dataclass
class _Turn:
    client: str
    due: float
    """Before, its caller isn't expected: an earlier call of the same client is another one."""
    until: float


class Line:
    """Of calls that are alike: of one caller, for one application."""

    def __init__(self, places: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`places`: calls under way at once."""
        self._places = places
        self._clock = clock
        self._under_way = 0
        self._turns: list[_Turn] = []
        """The oldest first."""
        self._pause = _FIRST_GUESS
        self._left = 0.0
        """When the last call left, or the line began."""

    @property
    def idle(self) -> bool:
        """Nobody is in it or waits before it."""
        self._forget()
        return not self._under_way and not self._turns

    @contextmanager
    def place(self, client: str) -> Iterator[None]:
        """One call; `client` tells those who wait apart.

        Raises:
            ResourceExhausted: others are before it. Its turn is kept until it comes back when it is told to.
        """
        self._enter(client)
        try:
            yield
        finally:
            self._leave()

    def _enter(self, client: str) -> None:
        self._forget()
        ahead, turn = self._find(client)
        free = self._places - self._under_way
        if free > min(ahead, self._places // _KEPT_FREE):
            self._under_way += 1
            if turn is not None:
                self._turns.remove(turn)
            return
        seconds = min(max((ahead + 1 - free) * self._pause, SHORTEST_PAUSE), LONGEST_PAUSE)
        self._keep(turn, client, seconds)
        raise ResourceExhausted(
            f"{self._under_way} calls of this caller are under way and {ahead} wait for their turn, "
            f"{self._places} may be under way; come back in {seconds:.0f} s",
            retry_after=seconds,
        )

    def _leave(self) -> None:
        self._under_way -= 1
        now = self._clock()
        if self._turns:
            self._pause += _NEWEST * (now - self._left - self._pause)
        self._left = now

    def _forget(self) -> None:
        """Drops the turns of those who didn't come back."""
        now = self._clock()
        self._turns = [turn for turn in self._turns if turn.until > now]

    def _find(self, client: str) -> tuple[int, _Turn | None]:
        """How many turns are before the client's oldest one that is due; without one, all are."""
        now = self._clock()
        for ahead, turn in enumerate(self._turns):
            if turn.client == client and turn.due <= now:
                return ahead, turn
        return len(self._turns), None

    def _keep(self, turn: _Turn | None, client: str, seconds: float) -> None:
        """The turn that it had, else a new one, until its caller is back."""
        now = self._clock()
        due, until = now + seconds, now + seconds * (1 + MOST_LATE) + _GRACE
        if turn is not None:
            turn.due, turn.until = due, until
        elif len(self._turns) < _MOST_TURNS:
            if not self._turns:
                self._left = now
            self._turns.append(_Turn(client, due, until))
