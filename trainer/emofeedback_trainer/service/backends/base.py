"""Where runs run: what the supervisor asks of a process, a Ray job, a Kubernetes RayJob.

A back end keeps nothing in memory that matters: by a run's service folder it finds what it has started there, also when
an earlier service did.
"""

from __future__ import annotations

import math
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from emofeedback.storage.files import write_whole

T = TypeVar("T")

_JOB = "job"

LAST_WORDS = 400
"""Characters of a last line that are told."""


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """What there is to see of a run."""

    alive: bool
    """It runs, or will by itself."""
    words: str = ""
    """Of one that is alive: why it has not begun yet. Of one that is not: the last thing said by it or about it."""


class Backend(Protocol):
    """Starts runs and knows how they are; `folder` is a run's service folder, named as the run is."""

    def start(self, folder: Path, words: Sequence[str]) -> None:
        """Runs `emofeedback-train WORDS`. Where an earlier try has got through, nothing is started a second time.

        Raises:
            FailedPrecondition: it can't be started, and won't be by trying again.
            ResourceExhausted, Unavailable: not now.
        """

    def look(self, folder: Path) -> JobStatus:
        """How the run is. Raises Unavailable where that can't be seen now."""

    def interrupt(self, folder: Path) -> None:
        """Asks the run to say that it was cancelled and to end. Raises as `look`."""

    def kill(self, folder: Path) -> None:
        """Ends the run and all that it has started. Raises as `look`."""


def last_line(text: str) -> str:
    """The last line with something in it."""
    lines = [line.strip() for line in text.splitlines()]
    return next((line[:LAST_WORDS] for line in reversed(lines) if line), "")


def job_name(run: str) -> str:
    """A new name for a job of a run, as Kubernetes takes it: at most 40 characters, told apart from earlier ones."""
    return f"run-{stem(run)}-{secrets.token_hex(3)}"


def stem(run: str) -> str:
    """A run's name as a label of Kubernetes takes it: cut to 29 characters, without dots and underscores."""
    return re.sub(r"[^a-z0-9]+", "-", run)[:29].strip("-")


def keep_job(folder: Path, job: str) -> None:
    """Remembers the job of a run, before it is asked for: a service that is cut then finds it."""
    write_whole(folder / _JOB, job.encode())


def kept_job(folder: Path) -> str:
    """The name of the run's last job; empty before the first."""
    path = folder / _JOB
    return path.read_text(encoding="utf-8") if path.exists() else ""


class Recent(Generic[T]):
    """What a cluster last said, for a moment: many runs are looked at, and the answer holds for all of them."""

    def __init__(self, ask: Callable[[], T], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._asked = -math.inf
        self._answer: T | None = None

    def __call__(self) -> T:
        now = time.monotonic()
        if self._answer is None or now > self._asked + self._seconds:
            self._answer, self._asked = self._ask(), now
        return self._answer

    def forget(self) -> None:
        """Something has been changed."""
        self._answer = None
