"""The runs of one service: queued, started one after another, watched, cancelled.

Back ends may be slow (a cluster's API) and are asked in one thread: calls and the tending never meet half a change.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import logging
import tempfile
import time
import tomllib
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from emofeedback.domain.errors import (
    EmoFeedbackError,
    FailedPrecondition,
    FieldViolation,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from emofeedback.domain.training import RunEvent, RunRequest, RunState, RunStateChanged, TrainingRun
from emofeedback.observability.metrics import TRAINING_FAULTS, TRAINING_TENDED
from emofeedback.observability.tracing import traceparent
from emofeedback_trainer.core.history import History
from emofeedback_trainer.core.run_files import CHECKPOINT, STATUS
from emofeedback_trainer.flow_grpo.config import checked_profile, read_config
from emofeedback_trainer.service.allowance import ITS_OWN, Allowance
from emofeedback_trainer.service.backends.base import Backend, JobStatus
from emofeedback_trainer.service.store import Record, RunStore

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class Supervisor:
    """Keeps at most `parallel` runs alive, the others wait their turn."""

    def __init__(
        self,
        store: RunStore,
        backend: Backend,
        *,
        parallel: int = 1,
        allowance: Allowance = ITS_OWN,
        grace: float = 60.0,
        interval: float = 0.5,
    ) -> None:
        """
        Args:
            parallel: runs at a time.
            allowance: what a run's configuration may ask for.
            grace: seconds that a cancelled run has to save its work before it is killed.
            interval: seconds between two looks at the runs and their files.
        """
        self._store = store
        self._backend = backend
        self._parallel = parallel
        self._allowance = allowance
        self._grace = grace
        self._interval = interval
        self._thread = ThreadPoolExecutor(1, "runs")
        self._gone: dict[tuple[str, float], JobStatus] = {}
        self._looked = time.monotonic()

    @property
    def silent(self) -> float:
        """Seconds since the last pass over the runs ended, however it ended. It grows while one hangs."""
        return time.monotonic() - self._looked

    async def create(self, request: RunRequest) -> TrainingRun:
        """Queues a run, or one that is over, to be resumed. The same request again changes nothing.

        Raises:
            InvalidRequest: the configuration is wrong; the dotted key is named.
            FailedPrecondition: the name is taken, or the run to resume is not over or has finished.
            NotFound: there is no run to resume.
        """
        found = await self._in_turn(self._store.find, request.name)
        if found is not None and request.request_id and found.request_id == request.request_id:
            return await self.get(request.name)
        if request.resume:
            return await self._in_turn(self._resume, request)
        config, policies = await asyncio.to_thread(checked, request, self._allowance)
        return await self._in_turn(self._queue, request, config, policies)

    async def get(self, name: str) -> TrainingRun:
        """How a run stands. Raises `NotFound`, or `Unavailable` where its back end can't be asked."""
        return await self._in_turn(self._get, name)

    async def list(self, limit: int) -> Sequence[TrainingRun]:
        """The newest runs first, without their configurations. Raises as `get`."""
        return await self._in_turn(self._list, limit)

    async def cancel(self, name: str) -> TrainingRun:
        """Ends a run, one that runs after saying so; one that is over stays as it is. Raises as `get`."""
        return await self._in_turn(self._cancel, name)

    async def watch(self, name: str, from_iteration: int) -> AsyncGenerator[RunEvent, None]:
        """The run's state, what has happened since an iteration, then what happens, until the run is over.

        That it is over is the last event: a watch that ends without it was cut.
        """
        history = History(self._store.directory(name), from_iteration)
        told: RunState | None = None
        while True:
            run = await self.get(name)  # before the news: a run that is over has no more of them
            news = await asyncio.to_thread(history.news)
            if run.state is not told and not run.state.is_over:
                yield RunStateChanged(run=run)
                told = run.state
            for event in news:
                yield event
            if run.state.is_over:
                yield RunStateChanged(run=run)
                return
            await asyncio.sleep(self._interval)

    async def tend_forever(self) -> None:
        """Looks after the runs until it is cancelled. Runs that are alive then live on."""
        while True:
            try:
                await self._in_turn(self._tend)
                TRAINING_TENDED.record(time.time())
            except EmoFeedbackError as error:  # a full disk, a cluster that is away: it may be put right
                TRAINING_FAULTS.record(1)
                log.error("the runs can't be looked after: %s", error)
            except Exception:  # a fault of ours in one pass must not leave all runs alone
                TRAINING_FAULTS.record(1)
                log.exception("the runs can't be looked after")
            self._looked = time.monotonic()
            await asyncio.sleep(self._interval)

    async def _in_turn(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        carrying = contextvars.copy_context().run  # the call's trace goes with it
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(carrying, work, *args, **kwargs))

    def _get(self, name: str) -> TrainingRun:
        try:
            record = self._store.record(name)
            return self._store.run(record, self._look(record))
        except (FailedPrecondition, OSError) as error:
            return self._store.unreadable(name, str(error))

    def _list(self, limit: int) -> Sequence[TrainingRun]:
        records, unreadable = self._store.records()
        newest = sorted(records, key=lambda record: record.created, reverse=True)
        names = [*unreadable, *(record.name for record in newest)]
        return [dataclasses.replace(self._get(name), config="") for name in names[:limit]]

    def _cancel(self, name: str) -> TrainingRun:
        record = self._store.record(name)
        if not self._get(record.name).state.is_over and record.canceled is None:
            if record.started:
                self._backend.interrupt(self._store.service_directory(name))
            self._store.keep(dataclasses.replace(record, canceled=time.time()))
        return self._get(name)

    def _queue(self, request: RunRequest, config: str, policies: str) -> TrainingRun:
        folder = self._store.directory(request.name)
        if self._store.find(request.name) is not None or folder.exists():
            raise FailedPrecondition(f"there is a run {request.name!r} already: choose another name, or resume it")
        now = time.time()
        record = Record(
            name=request.name,
            policies=policies or str(folder / "policies"),
            request_id=request.request_id,
            created=now,
            queued=now,
            traceparent=traceparent(),
        )
        self._store.keep(record, config)
        return self._begun(record)

    def _resume(self, request: RunRequest) -> TrainingRun:
        record = self._store.find(request.name)
        if record is None:
            raise NotFound(f"no run is called {request.name!r}, there is nothing to resume")
        state = self._get(record.name).state
        if state not in (RunState.FAILED, RunState.CANCELED):
            raise FailedPrecondition(
                f"run {request.name!r} is {state}: only one that failed or was cancelled can go on"
            )
        record = Record(
            name=record.name,
            policies=record.policies,
            request_id=request.request_id,
            created=record.created,
            queued=time.time(),
            resume=True,
            traceparent=traceparent(),
        )
        self._store.keep(record)
        return self._begun(record)

    def _begun(self, record: Record) -> TrainingRun:
        """Starts a queued run where there is room. One that can't be started now waits: it is queued already."""
        try:
            self._tend()
        except EmoFeedbackError as error:
            log.error("run %s waits: %s", record.name, error)
        return self._get(record.name)

    def _tend(self) -> None:
        """Kills what was cancelled and does not end; starts what waits, while there is room."""
        records, _ = self._store.records()
        alive = [record for record in records if self._takes_a_place(record)]
        for record in alive:
            if record.canceled and time.time() > record.canceled + self._grace:
                with self._costing_one_run(record):
                    self._backend.kill(self._store.service_directory(record.name))
        waiting = [record for record in records if not record.started and not record.canceled]
        for record in waiting[: max(self._parallel - len(alive), 0)]:
            with self._costing_one_run(record):
                self._start(record)

    def _takes_a_place(self, record: Record) -> bool:
        """Whether it runs; one that can't be looked at may."""
        with self._costing_one_run(record):
            return self._look(record).alive
        return True

    @contextlib.contextmanager
    def _costing_one_run(self, record: Record) -> Iterator[None]:
        """What goes wrong with one run is said and tried again; the others don't wait for it."""
        try:
            yield
        except Unavailable:  # nor can any other be looked after
            raise
        except (EmoFeedbackError, OSError) as error:
            TRAINING_FAULTS.record(1)
            log.error("run %s can't be looked after: %s", record.name, error)

    def _start(self, record: Record) -> None:
        """What the run said about its last end must not be taken for the new one's, so it goes first."""
        folder = self._store.directory(record.name)
        (folder / STATUS).unlink(missing_ok=True)
        words = ["flow-grpo", "--config", str(self._store.config_path(record.name)), "--out", str(folder)]
        if record.resume and (folder / CHECKPOINT).exists():  # else it was cut before it had done anything
            words.append("--resume")
        if record.traceparent:
            words += ["--traceparent", record.traceparent]
        refused = ""
        try:
            self._backend.start(self._store.service_directory(record.name), words)
        except FailedPrecondition as error:
            refused = str(error)
        self._store.keep(dataclasses.replace(record, started=True, refused=refused))

    def _look(self, record: Record) -> JobStatus:
        if not record.started:
            return JobStatus(alive=False)
        start = record.name, record.queued
        if start in self._gone:  # what has ended stays so, its back end need not be asked again
            return self._gone[start]
        job = self._backend.look(self._store.service_directory(record.name))
        if not job.alive:
            self._gone[start] = job
        return job


def checked(request: RunRequest, allowance: Allowance = ITS_OWN) -> tuple[str, str]:
    """The configuration as it will be run, with the run's name in it, and the URI of its policies, where it has one.

    Raises:
        InvalidRequest: it is wrong, or asks for more than is allowed; the dotted keys are named.
    """
    try:
        content = tomllib.loads(request.config)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest.of("config", f"is not TOML: {error}") from error
    if content.get("name", request.name) != request.name:
        raise InvalidRequest.of("config.name", f"is {content['name']!r}, but the run is called {request.name!r}")
    config = request.config if "name" in content else f'name = "{request.name}"\n{request.config}'
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        path.write_text(config, encoding="utf-8")
        try:
            settings = read_config(str(path))
            if too_much := list(allowance.problems(settings)):
                raise InvalidRequest(*too_much)
            return config, checked_profile(settings).policies
        except InvalidRequest as error:
            raise InvalidRequest(*map(_of_request, error.violations)) from error


def _of_request(violation: FieldViolation) -> FieldViolation:
    """A key of the configuration, as the field of the request that it is in."""
    field = violation.field
    return violation if field.startswith("config") else FieldViolation(f"config.{field}", violation.problem)
