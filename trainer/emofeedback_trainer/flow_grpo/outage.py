"""Waiting for services: a dead judge or generator pauses a run and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from emofeedback.domain.errors import EmoFeedbackError
from emofeedback_trainer.flow_grpo.events import RunPaused, RunResumed

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
"""Seconds between two tries; doubled from try to try, unless the service says when."""


class Outage:
    """What all calls of a run share, so that one outage is reported once, however many calls it meets."""

    def __init__(self, patience: float, report: Callable[[RunPaused | RunResumed], None]) -> None:
        """`patience` is in seconds, counted from the first failure."""
        self._patience = patience
        self._report = report
        self._since: float | None = None

    async def retry_until(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work`, tried again as long as it fails with an error that a later try may not have.

        Raises:
            EmoFeedbackError: an error of another kind, or the last one after the patience was over.
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                result = await work()
            except EmoFeedbackError as error:
                if not error.retryable or not self._may_wait(error):
                    raise
                await asyncio.sleep(pause if error.retry_after is None else error.retry_after)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._over()
                return result

    def _may_wait(self, error: EmoFeedbackError) -> bool:
        if self._since is None:
            self._since = time.monotonic()
            self._report(RunPaused(reason=str(error)))
        return time.monotonic() - self._since < self._patience

    def _over(self) -> None:
        if self._since is not None:
            self._report(RunResumed(seconds=time.monotonic() - self._since))
            self._since = None
