"""What a run directory tells of its run: its status, its curve, its panel.

    DIR/status.json   state, finished iterations, message; written whole
    DIR/curve.jsonl   one line an iteration
    DIR/panel.jsonl   one line a measurement of the held-out panel
    DIR/result.json   the final policy, once the run has finished

The run's process writes them and others read while it does: half a line at the end is not there yet, and a resumed run
cuts the lines that its checkpoint doesn't know.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.training import Alarm, IterationDone, PanelMeasured, PolicyPublished, RunState

STATUS, CURVE, PANEL, RESULT = "status.json", "curve.jsonl", "panel.jsonl", "result.json"
CHECKPOINT = "checkpoint"
"""The folder from which a run goes on."""

HistoryEvent = IterationDone | PanelMeasured | PolicyPublished | Alarm


@dataclass(frozen=True, kw_only=True)
class Status:
    """How a run sees itself."""

    state: RunState
    iteration: int
    """Finished iterations."""
    iterations: int
    message: str = ""


def read_status(folder: Path) -> Status | None:
    """None where the run has not said anything yet.

    Raises:
        FailedPrecondition: the file can't be read.
    """
    path = folder / STATUS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Status(
            state=RunState(content["state"]),
            iteration=int(content["iteration"]),
            iterations=int(content["iterations"]),
            message=str(content.get("message", "")),
        )
    except FileNotFoundError:
        return None
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise FailedPrecondition(f"{path} can't be read: {error!r}") from error


def read_result(folder: Path) -> dict[str, Any]:
    """What a finished run says of its models and its final policy; empty before.

    Raises:
        FailedPrecondition: the file can't be read.
    """
    path = folder / RESULT
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not an object")
        return content
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise FailedPrecondition(f"{path} can't be read: {error!r}") from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a JSON lines file, each with an `iteration`; empty where there is no file yet.

    Raises:
        FailedPrecondition: a line can't be read.
    """
    try:
        *whole, _ = path.read_text(encoding="utf-8").split("\n")
        lines = [json.loads(line) for line in whole if line]
        if any(not isinstance(line["iteration"], int) for line in lines):
            raise ValueError("an iteration is not a number")
        return lines
    except FileNotFoundError:
        return []
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise FailedPrecondition(f"{path} can't be read: {error!r}") from error


def numbers(line: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a line, without its iteration and its texts."""
    return {
        name: float(value)
        for name, value in line.items()
        if name != "iteration" and isinstance(value, int | float) and not isinstance(value, bool)
    }


class History:
    """The events of a run from an iteration on, each told once however often the files are written anew."""

    def __init__(self, folder: Path, from_iteration: int = 0) -> None:
        self._folder = folder
        self._from = from_iteration
        self._next = {CURVE: from_iteration, PANEL: from_iteration}
        self._seen: dict[str, tuple[int, int]] = {}

    def news(self) -> list[HistoryEvent]:
        """What has not been told yet, in the order of its iterations; raises as `read_lines`."""
        events = [*self._of_curve(), *self._of_result(), *self._of_panel()]
        return sorted(events, key=lambda event: event.iteration)

    def _of_curve(self) -> Iterator[IterationDone | PolicyPublished]:
        policy = ""
        first, lines = self._changed(CURVE)
        for line in lines:
            iteration, before, policy = line["iteration"], policy, str(line.get("policy", ""))
            if iteration < first:
                continue
            if policy not in ("", before) and iteration > self._from:
                yield PolicyPublished(iteration=iteration - 1, policy=policy)
            yield IterationDone(iteration=iteration, figures=numbers(line))

    def _of_result(self) -> Iterator[PolicyPublished]:
        if RESULT not in self._seen and (result := read_result(self._folder)):
            self._seen[RESULT] = (0, 0)
            yield PolicyPublished(iteration=int(result["iterations"]), policy=str(result["policy"]))

    def _of_panel(self) -> Iterator[PanelMeasured | Alarm]:
        first, lines = self._changed(PANEL)
        for line in lines:
            if line["iteration"] >= first:
                yield PanelMeasured(iteration=line["iteration"], figures=numbers(line))
                if line.get("alarm"):
                    yield Alarm(iteration=line["iteration"], text=str(line["alarm"]))

    def _changed(self, name: str) -> tuple[int, list[dict[str, Any]]]:
        """The first iteration that is news, and all lines of the file where it has changed since the last time."""
        path = self._folder / name
        found = path.stat() if path.exists() else None
        signature = (found.st_mtime_ns, found.st_size) if found else (0, 0)
        first = self._next[name]
        if self._seen.get(name) == signature:
            return first, []
        lines = read_lines(path)
        self._seen[name] = signature
        self._next[name] = max([first, *(line["iteration"] + 1 for line in lines)])
        return first, lines
