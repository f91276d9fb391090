"""Denoising steps that each caller may ask for in a minute: what a replica's settings allow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from emofeedback.domain.errors import ResourceExhausted

_MINUTE = 60.0


class StepBudget:
    """Fills up steadily to a minute's worth, and lets through whatever is asked of it while anything is left: a large
    call is paid for afterwards. Safe to use from several threads."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`per_minute` 0: as many as anybody likes."""
        self._per_second = per_minute / _MINUTE
        self._clock = clock
        self._lock = threading.Lock()
        self._full_at: dict[str, float] = {}
        """By caller, when all that it has taken will have come back."""

    def take(self, caller: str, steps: int) -> None:
        """Image-steps of a call.

        Raises:
            ResourceExhausted: the caller has none left; it says from when on it has.
        """
        if not self._per_second or not caller:  # nobody calls from outside where the generator is in process
            return
        with self._lock:
            now = self._clock()
            self._full_at = {name: time for name, time in self._full_at.items() if time > now}
            full_at = self._full_at.get(caller, now)
            if full_at - now >= _MINUTE:
                raise ResourceExhausted(
                    f"this caller has asked for more than {self._per_second * _MINUTE:.0f} image-steps a minute",
                    retry_after=full_at - now - _MINUTE + 1.0,
                )
            self._full_at[caller] = full_at + steps / self._per_second
