"""How a client calls: retries, deadlines, keepalive."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from emofeedback.domain.errors import EmoFeedbackError, NothingAnswers

_LONGEST_TOLD = 600.0
"""Seconds; a server that says a later time than that from now is not believed."""

_LONG = 5.0
"""Seconds from which a pause is one that a person wonders about."""
_SOONEST, _LATEST = 5.0, 60.0
"""Seconds after which a wait that goes on unchanged is told again: first, and at last."""
_QUIET = 30.0
"""Seconds after a try was due without a word of it: by then it came through, and the next wait is another one."""

log = logging.getLogger("emofeedback.client")


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A failed call waits for its next try."""

    error: EmoFeedbackError
    """Why."""
    seconds: float
    """Until the next try."""
    waited: float
    """Seconds for which nothing has answered so far; 0 where something did."""

    def __str__(self) -> str:
        so_far = f" (for {self.waited:.0f} s now)" if self.waited >= 1 else ""
        return f"{self.error}{so_far}; next try in {self.seconds:.1f} s"


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """When a failed call is tried again, and after how long.

    Every call may be: the services keep nothing of a caller, and a `request_id` that stays the same over all tries
    keeps a service from doing its work twice.
    """

    attempts: int = 4
    """Tries without progress that reached a service, the first one included; an event that a stream delivers is
    progress. 1 never retries, whatever the failure."""
    patience: float = 120.0
    """Seconds for which a call goes on trying while nothing answers: services that are started anew are back after 25
    to 80. Such tries are not among the `attempts`."""
    initial_backoff: float = 0.2
    """Seconds before the second try, unless the server says when (RetryInfo)."""
    multiplier: float = 2.0
    """Each further pause is this much longer."""
    maximum_backoff: float = 10.0
    """Seconds; no pause of our own is longer."""
    jitter: float = 0.3
    """Share of a pause that is left to chance, in [0, 1], so that many clients don't come back at once."""
    retries_per_second: float = 20.0
    """Of all calls of a client together, after as many at once: a call over it waits for its turn to be tried again."""
    codes: frozenset[str] = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "DEADLINE_EXCEEDED"})
    """gRPC status codes after which another try makes sense: only where the error itself doesn't rule it out. A
    replica that dies is INTERNAL; a defect that a service reports is INTERNAL too and is never retried."""
    on_wait: Callable[[Waiting], None] | None = None
    """Told before every pause, in the client's event loop, so it must be quick. None: the logger `emofeedback.client`
    is told, at WARNING while nothing answers and of pauses from 5 seconds on, else at INFO; of a wait that goes on
    unchanged ever more seldom."""

    def allows(self, error: EmoFeedbackError, *, failures: int, waited: float) -> bool:
        """Whether another try may follow.

        Args:
            failures: in a row that reached a service.
            waited: seconds for which nothing has answered.
        """
        if self.attempts <= 1 or not error.retryable or error.code not in self.codes:
            return False
        return waited < self.patience if isinstance(error, NothingAnswers) else failures < self.attempts

    def pause(self, failures: int, error: EmoFeedbackError) -> float:
        """Seconds to wait after so many failures in a row, of whichever kind."""
        if error.retry_after is not None:
            return min(max(error.retry_after, 0.0), _LONGEST_TOLD)
        longest = self.maximum_backoff
        # Past this many the pause is the longest anyway, and the power may be too large for a float.
        backoff = min(self.initial_backoff * self.multiplier ** min(failures - 1, 64), longest)
        return backoff * (1 - self.jitter * random.random())

    def listener(self) -> Callable[[Waiting], None]:
        """Who is told that the calls of one client wait."""
        return self.on_wait or Seldom(lambda waiting, _: _log(waiting))


def _log(waiting: Waiting) -> None:
    matters = isinstance(waiting.error, NothingAnswers) or waiting.seconds >= _LONG
    log.log(logging.WARNING if matters else logging.INFO, "%s", waiting)


class Seldom:
    """A listener that passes on why calls wait, and while that stays the same, that they still do: after 5 seconds, 10
    more, 20 more, 40 more, and then once a minute."""

    def __init__(self, tell: Callable[[Waiting, bool], None], clock: Callable[[], float] = time.monotonic) -> None:
        """`tell` is given the wait, and whether it is one that goes on unchanged."""
        self._tell = tell
        self._clock = clock
        self._why = ""
        self._interval = _SOONEST
        self._again_at = 0.0
        self._over_at = 0.0

    def __call__(self, waiting: Waiting) -> None:
        now, why = self._clock(), str(waiting.error)
        goes_on = why == self._why and now < self._over_at
        self._why, self._over_at = why, now + waiting.seconds + _QUIET
        if goes_on and now < self._again_at:
            return
        self._interval = min(2 * self._interval, _LATEST) if goes_on else _SOONEST
        self._again_at = now + self._interval
        self._tell(waiting, goes_on)


class RetryBucket:
    """Tokens for the retries of one client, so that a service that comes back is not met by all of them at once."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Holds a second's worth, and is full at first."""
        self._interval = 1 / per_second
        self._clock = clock
        self._full_at = 0.0
        """When all that was taken will have been filled up again."""

    def take(self) -> float:
        """Takes a token; returns seconds until it is there."""
        now = self._clock()
        self._full_at = max(self._full_at, now) + self._interval
        return max(self._full_at - now - 1.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """How long a call may take, in seconds; None is for ever."""

    total: float | None = 3600.0
    """All tries and the pauses between them."""
    attempt: float | None = 600.0
    """One try of a unary call; of a stream, the wait for its next event."""


@dataclass(frozen=True, kw_only=True)
class Keepalive:
    """HTTP/2 pings that notice a dead connection while nothing is sent."""

    interval: float = 310.0
    """Seconds between pings. A gRPC server that isn't tuned, as Ray Serve's, closes connections that ping more often
    than every 300."""
    timeout: float = 20.0
    """Seconds to wait for the answer."""
