"""Runs as jobs of a Ray cluster that shares the service's disk: on one machine, `ray start --head` is enough.

The cluster keeps them: they outlive the service, wait for the cluster's resources, and end with the cluster. What they
need of the environment, such as the services' token, is the cluster's.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from emofeedback.domain.errors import FailedPrecondition, Unavailable
from emofeedback_trainer.service.backends.base import JobStatus, Recent, job_name, keep_job, kept_job, last_line

_RECENT_SECONDS = 0.5


class RayJobs:
    """A back end: one Ray job a run."""

    def __init__(
        self, address: str, *, grace: float, command: Sequence[str] = (sys.executable, "-m", "emofeedback_trainer")
    ) -> None:
        """
        Args:
            address: of the cluster's dashboard, as `http://127.0.0.1:8265`.
            grace: seconds that a job has to end by itself before Ray kills it.
            command: what runs `emofeedback-train` on the cluster's head.
        """
        self._address = address
        self._grace = grace
        self._command = command
        self._jobs: Recent[dict[str, Any]] = Recent(self._list, _RECENT_SECONDS)

    def start(self, folder: Path, words: Sequence[str]) -> None:
        if self.look(folder).alive:
            return
        job = job_name(folder.name)
        keep_job(folder, job)
        with self._asked("start a job"):
            self._client.submit_job(
                entrypoint=shlex.join([*self._command, *words]),
                submission_id=job,
                metadata={"emofeedback.io/run": folder.name},
                runtime_env={"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": f"{self._grace:.0f}"}},
            )
        self._jobs.forget()

    def look(self, folder: Path) -> JobStatus:
        job = self._jobs().get(kept_job(folder))
        if job is None:
            return JobStatus(alive=False, words="the Ray cluster knows of no job of it")
        if job.status.is_terminal():
            return JobStatus(alive=False, words=last_line(job.message or ""))
        return JobStatus(alive=True, words=(job.message or "") if job.status == "PENDING" else "")

    def interrupt(self, folder: Path) -> None:
        """Asks the job to end (SIGTERM); Ray kills it when the grace is over."""
        if self.look(folder).alive:
            with self._asked("stop a job"):
                self._client.stop_job(kept_job(folder))
            self._jobs.forget()

    def kill(self, folder: Path) -> None:
        self.interrupt(folder)

    def _list(self) -> dict[str, Any]:
        with self._asked("list the jobs"):
            return {job.submission_id: job for job in self._client.list_jobs() if job.submission_id}

    @cached_property
    def _client(self) -> Any:
        from ray.job_submission import JobSubmissionClient

        return JobSubmissionClient(self._address)

    @contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            said = last_line(str(error))
            kind = Unavailable if "status code 5" in said else FailedPrecondition  # such as an agent that comes up
            raise kind(f"Ray at {self._address} can't {what}: {said}") from error
        except OSError as error:  # Ray's client raises ConnectionError, `requests` an error of its own
            raise Unavailable(
                f"can't {what}: no Ray dashboard answers at {self._address}; is `ray start --head` running?"
            ) from error
