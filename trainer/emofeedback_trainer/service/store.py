"""What the service keeps of its runs, beside their run directories.

    RUNS/NAME/                    the run directory: what the run's process writes
    RUNS/.service/NAME/run.json   this record
    RUNS/.service/NAME/config.toml, and what the back end keeps there

Everything is on disk, so a service that is started anew goes on where the last one stood.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from emofeedback.domain.errors import FailedPrecondition, NotFound
from emofeedback.domain.training import RunState, TrainingRun
from emofeedback.storage.files import write_json, write_whole
from emofeedback_trainer.core.jsonl import last_line
from emofeedback_trainer.core.run_files import EVAL, METRICS, STATUS, Status, lines_path, numbers, read_status
from emofeedback_trainer.service.backends.base import JobStatus

T = TypeVar("T")

_RECORD = "run.json"
_SILENT_SECONDS, _SILENT_ITERATIONS = 1800.0, 10.0
"""A process that has said nothing for so long, and for as long as so many iterations take, may hang. The first
iteration, with the models to load and the panel to measure, takes longest."""


_LAST_SECOND = 253_402_300_800
"""Of the year 9999: what is later is no time that a message can carry."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the service decided about a run. Times are seconds since the epoch."""

    name: str
    policies: str
    """URI of the store of its policies."""
    request_id: str
    """Of the call that queued it last."""
    created: float
    queued: float
    """When it was queued last."""
    started: bool = False
    """Its process has been started since then."""
    resume: bool = False
    """It goes on from its last checkpoint."""
    canceled: float | None = None
    """When it was asked to end."""
    traceparent: str = ""
    """W3C trace context of that call; empty: it brought none."""
    refused: str = ""
    """Why the back end would not start it."""


class RunStore:
    """The runs of one folder."""

    def __init__(self, folder: Path) -> None:
        """Raises `FailedPrecondition` where the folder can't be made."""
        self._folder = folder.resolve()
        try:
            (self._folder / ".service").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FailedPrecondition(f"{folder} can't be made: {error.strerror}") from error

    def directory(self, name: str) -> Path:
        """The run directory."""
        return self._folder / name

    def service_directory(self, name: str = "") -> Path:
        """What the service keeps of a run; without a name, of all."""
        return self._folder / ".service" / name

    def config_path(self, name: str) -> Path:
        """The run's configuration, as TOML."""
        return self.service_directory(name) / "config.toml"

    def find(self, name: str) -> Record | None:
        """The record of a run, None where there is none.

        Raises:
            FailedPrecondition: it can't be read.
        """
        path = self.service_directory(name) / _RECORD
        try:
            record = Record(**json.loads(path.read_text(encoding="utf-8")))
            times = [record.created, record.queued, *([] if record.canceled is None else [record.canceled])]
            if record.name != name or not all(0 <= time < _LAST_SECOND for time in times):
                raise ValueError(f"it is no record of {name}")
            return record
        except FileNotFoundError:
            return None
        except (OSError, RecursionError, TypeError, ValueError) as error:
            raise FailedPrecondition(f"{path} can't be read: {error!r}") from error

    def record(self, name: str) -> Record:
        """The record of a run. Raises `NotFound`, or as `find`."""
        found = self.find(name)
        if found is None:
            raise NotFound(f"no run is called {name!r}")
        return found

    def records(self) -> tuple[list[Record], dict[str, str]]:
        """All of them, those that were queued last at the end, and by name why others can't be read."""
        records, unreadable = [], {}
        for path in sorted(self.service_directory().iterdir()):
            try:
                if path.is_dir() and (record := self.find(path.name)):
                    records.append(record)
            except FailedPrecondition as error:
                unreadable[path.name] = str(error)
        return sorted(records, key=lambda record: record.queued), unreadable

    def keep(self, record: Record, config: str | None = None) -> None:
        """Writes a record, for a new run together with its configuration.

        Raises:
            ResourceExhausted: the disk is full.
            FailedPrecondition: the folder can't be written.
        """
        if config is not None:
            write_whole(self.config_path(record.name), config.encode())
        write_json(self.service_directory(record.name) / _RECORD, asdict(record))

    def run(self, record: Record, job: JobStatus) -> TrainingRun:
        """How the run stands, by its files and by its back end; the message names a file that can't be read."""
        folder = self.directory(record.name)
        config = self.config_path(record.name)
        metrics = lines_path(folder, METRICS)
        problems: list[str] = []

        def found(read: Callable[[Path], T | None], path: Path) -> T | None:
            try:
                return read(path)
            except FailedPrecondition as error:
                problems.append(str(error))
                return None

        status, text = found(read_status, folder), found(_text, config)
        last, panel = found(last_line, metrics), found(last_line, lines_path(folder, EVAL))
        state, message = standing(record, status, job)
        if state is RunState.RUNNING and not message:
            message = silence(status, last or {}, datetime.now(UTC))
        written = (folder / STATUS, metrics, config.with_name(_RECORD))
        return TrainingRun(
            name=record.name,
            config=text or "",
            state=state,
            iteration=status.iteration if status else (last or {}).get("iteration", 0),
            iterations=status.iterations if status else 0,
            metrics=numbers(last or {}),
            panel=numbers(panel or {}),
            created=_time(record.created),
            updated=_time(max(path.stat().st_mtime for path in written if path.exists())),
            message="; ".join(filter(None, (message, *problems))),
            folder=str(folder),
            policies=record.policies,
        )

    def unreadable(self, name: str, problem: str) -> TrainingRun:
        """How a run is told of whose record can't be read."""
        time = _time(self.service_directory(name).stat().st_mtime)
        folder = str(self.directory(name))
        return TrainingRun(
            name=name,
            config="",
            state=RunState.FAILED,
            created=time,
            updated=time,
            message=problem,
            folder=folder,
            policies="",
        )


def silence(status: Status | None, last: Mapping[str, Any], now: datetime) -> str:
    """What there is to say of a running process that has said nothing for long; empty where it has not been long.

    Args:
        last: line of its metrics; an iteration may take many times as long as that one did.
    """
    if status is None or status.updated is None:
        return ""
    silent = (now - status.updated).total_seconds()
    if silent <= max(_SILENT_SECONDS, _SILENT_ITERATIONS * float(last.get("seconds", 0))):
        return ""
    return f"it has said nothing for {silent / 60:.0f} min and may hang: cancel it, and resume it"


def standing(record: Record, status: Status | None, job: JobStatus) -> tuple[RunState, str]:
    """State and message of a run, by what the service decided, what the run says of itself, and whether it lives.

    What the run says about its end counts once its back end has seen it go; until then it still writes.
    """
    if not record.started:
        return (RunState.CANCELED, "") if record.canceled else (RunState.QUEUED, "")
    if job.alive and record.canceled:
        return RunState.RUNNING, "it is being cancelled"
    if job.alive and status is None and job.words:
        return RunState.QUEUED, job.words
    if job.alive and status is not None and status.state is RunState.PAUSED:
        return RunState.PAUSED, status.message
    if job.alive:
        return RunState.RUNNING, ""
    if status is not None and status.state.is_over:
        return status.state, status.message
    if record.canceled:
        return RunState.CANCELED, "it was killed, because it did not end by itself in time" if status else ""
    if record.refused:
        return RunState.FAILED, record.refused
    said = f" (its last words: {job.words})" if job.words else ""
    return RunState.FAILED, f"its process is gone{said}; it can be resumed from its last checkpoint"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FailedPrecondition(f"{path} can't be read: {error}") from error


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
