"""How a client calls: retries, deadlines, keepalive."""

from __future__ import annotations

import random
from dataclasses import dataclass

from emofeedback.domain.errors import EmoFeedbackError


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """When a failed call is tried again, and after how long.

    Every call may be: the services keep nothing of a caller, and a `request_id` that stays the same over all tries
    keeps a service from doing its work twice.
    """

    attempts: int = 4
    """Tries without progress, the first one included; an event that a stream delivers is progress. 1 never retries."""
    initial_backoff: float = 0.2
    """Seconds before the second try, unless the server says when (RetryInfo)."""
    multiplier: float = 2.0
    """Each further pause is this much longer."""
    maximum_backoff: float = 10.0
    """Seconds; no pause of our own is longer."""
    jitter: float = 0.3
    """Share of a pause that is left to chance, in [0, 1], so that many clients don't come back at once."""
    codes: frozenset[str] = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "DEADLINE_EXCEEDED"})
    """gRPC status codes after which another try makes sense: only where the error itself doesn't rule it out. A
    replica that dies is INTERNAL; a defect that a service reports is INTERNAL too and is never retried."""

    def pause(self, failures: int, error: EmoFeedbackError) -> float | None:
        """Seconds to wait after so many failures in a row; None where the error is final."""
        if failures >= self.attempts or not error.retryable or error.code not in self.codes:
            return None
        if error.retry_after is not None:
            return error.retry_after
        backoff = min(self.initial_backoff * self.multiplier ** (failures - 1), self.maximum_backoff)
        return backoff * (1 - self.jitter * random.random())


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
