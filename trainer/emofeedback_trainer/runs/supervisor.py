"""The runs of one service: queued, started one after another, watched, canceled."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import tempfile
import time
import tomllib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from emofeedback.errors import EmoFeedbackError, FailedPrecondition, FieldViolation, InvalidRequest, NotFound
from emofeedback.training import Run, RunEvent, RunRequest, RunState, RunStateChanged
from emofeedback_trainer.runs.history import CHECKPOINT, STATUS, History
from emofeedback_trainer.runs.processes import Processes
from emofeedback_trainer.runs.store import Record, RunStore

log = logging.getLogger(__name__)


class Supervisor:
    """Keeps at most `parallel` runs alive, the others wait their turn."""

    def __init__(
        self,
        store: RunStore,
        processes: Processes,
        *,
        parallel: int = 1,
        grace: float = 60.0,
        interval: float = 0.5,
    ) -> None:
        """
        Args:
            parallel: runs at a time.
            grace: seconds that a canceled run has to save its work before it is killed.
            interval: seconds between two looks at the runs and their files.
        """
        self._store = store
        self._processes = processes
        self._parallel = parallel
        self._grace = grace
        self._interval = interval

    async def create(self, request: RunRequest) -> Run:
        """Queues a run, or one that is over, to be resumed. The same request again changes nothing.

        Raises:
            InvalidRequest: the configuration is wrong; the dotted key is named.
            FailedPrecondition: the name is taken, or the run to resume is not over or has finished.
            NotFound: there is no run to resume.
        """
        found = self._store.find(request.name)
        if found is not None and request.request_id and found.request_id == request.request_id:
            return self.get(request.name)
        if request.resume:
            return self._resume(request)
        # In a thread: the first configuration brings PyTorch into the process.
        config, policies = await asyncio.to_thread(checked, request)
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
        )
        self._store.keep(record, config)
        self.tend()
        return self.get(record.name)

    def get(self, name: str) -> Run:
        """How a run stands. Raises `NotFound`."""
        record = self._store.record(name)
        alive = self._is_alive(record)
        last_words = "" if alive else self._processes.last_words(self._store.service_directory(name))
        return self._store.run(record, alive=alive, last_words=last_words)

    def list(self, limit: int) -> Sequence[Run]:
        """The newest runs first, without their configurations."""
        records = sorted(self._store.records(), key=lambda record: record.created, reverse=True)
        return [dataclasses.replace(self.get(record.name), config="") for record in records[:limit]]

    def cancel(self, name: str) -> Run:
        """Ends a run, after a checkpoint where it runs; one that is over stays as it is. Raises `NotFound`."""
        record = self._store.record(name)
        if not self.get(record.name).state.is_over and record.canceled is None:
            self._store.keep(dataclasses.replace(record, canceled=time.time()))
            self._processes.interrupt(self._store.service_directory(name))
        return self.get(name)

    async def watch(self, name: str, from_iteration: int) -> AsyncGenerator[RunEvent, None]:
        """The run's state, what has happened since an iteration, then what happens, until the run is over."""
        history = History(self._store.directory(name), from_iteration)
        told: RunState | None = None
        while True:
            run = self.get(name)  # before the news: a run that is over has no more of them
            news = history.news()
            if told is None or (run.state is not told and not run.state.is_over):
                yield RunStateChanged(run=run)
                told = run.state
            for event in news:
                yield event
            if run.state.is_over:
                if run.state is not told:
                    yield RunStateChanged(run=run)
                return
            await asyncio.sleep(self._interval)

    async def tend_forever(self) -> None:
        """Looks after the runs until it is cancelled. Runs that are alive then live on."""
        while True:
            try:
                self.tend()
            except EmoFeedbackError as error:  # a full disk, an unreadable record: it may be put right
                log.error("the runs can't be looked after: %s", error)
            await asyncio.sleep(self._interval)

    def tend(self) -> None:
        """Kills what was canceled and does not end; starts what waits, while there is room."""
        records = self._store.records()
        alive = [record for record in records if self._is_alive(record)]
        for record in alive:
            if record.canceled and time.time() > record.canceled + self._grace:
                self._processes.kill(self._store.service_directory(record.name))
        waiting = [record for record in records if not record.started and not record.canceled]
        for record in waiting[: max(self._parallel - len(alive), 0)]:
            self._start(record)

    def _resume(self, request: RunRequest) -> Run:
        record = self._store.find(request.name)
        if record is None:
            raise NotFound(f"no run is called {request.name!r}, there is nothing to resume")
        state = self.get(record.name).state
        if state not in (RunState.FAILED, RunState.CANCELED):
            raise FailedPrecondition(f"run {request.name!r} is {state}: only one that failed or was canceled can go on")
        record = dataclasses.replace(
            record, request_id=request.request_id, queued=time.time(), started=False, resume=True, canceled=None
        )
        self._store.keep(record)
        self.tend()
        return self.get(record.name)

    def _start(self, record: Record) -> None:
        """What the run said about its last end must not be taken for the new one's, so it goes first."""
        folder = self._store.directory(record.name)
        (folder / STATUS).unlink(missing_ok=True)
        self._store.keep(dataclasses.replace(record, started=True))
        words = ["flow-grpo", "--config", str(self._store.config_path(record.name)), "--out", str(folder)]
        if record.resume and (folder / CHECKPOINT).exists():  # else it was cut before it had done anything
            words.append("--resume")
        self._processes.start(self._store.service_directory(record.name), words)

    def _is_alive(self, record: Record) -> bool:
        return self._processes.is_alive(self._store.service_directory(record.name))


def checked(request: RunRequest) -> tuple[str, str]:
    """The configuration as it will be run, with the run's name in it, and the URI of its policies, where it has one."""
    from emofeedback_trainer.flow_grpo.config import load_config

    try:
        content = tomllib.loads(request.config)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequest.of("config", f"is not TOML: {error}") from error
    if content.get("name", request.name) != request.name:
        raise InvalidRequest.of("config.name", f"is {content['name']!r}, but the run is called {request.name!r}")
    config = request.config if "name" in content else f'name = "{request.name}"\n{request.config}'
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        path.write_text(config, encoding="utf-8")
        try:
            return config, load_config(str(path)).policies
        except InvalidRequest as error:
            raise InvalidRequest(*map(_of_request, error.violations)) from error


def _of_request(violation: FieldViolation) -> FieldViolation:
    """A key of the configuration, as the field of the request that it is in."""
    field = violation.field
    return violation if field.startswith("config") else FieldViolation(f"config.{field}", violation.problem)
