"""What has happened in a run, told from its files while its process writes them.

A resumed run cuts the lines that its checkpoint doesn't know and writes them anew; they are told once all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emofeedback.domain.training import Alarm, IterationDone, PanelMeasured, PolicyPublished
from emofeedback_trainer.core.jsonl import read_lines
from emofeedback_trainer.core.run_files import EVAL, METRICS, RESULT, lines_path, numbers, read_result

HistoryEvent = IterationDone | PanelMeasured | PolicyPublished | Alarm


class History:
    """The events of a run from an iteration on, each told once however often the files are written anew."""

    def __init__(self, folder: Path, from_iteration: int = 0) -> None:
        self._folder = folder
        self._from = from_iteration
        self._next = {METRICS: from_iteration, EVAL: from_iteration}
        self._seen: dict[str, tuple[int, int]] = {}

    def news(self) -> list[HistoryEvent]:
        """What has not been told yet, in the order of its iterations; raises as `read_lines`."""
        events = [*self._of_metrics(), *self._of_result(), *self._of_eval()]
        return sorted(events, key=lambda event: event.iteration)

    def _of_metrics(self) -> Iterator[IterationDone | PolicyPublished]:
        policy = ""
        first, lines = self._changed(METRICS)
        for line in lines:
            iteration, before, policy = line["iteration"], policy, str(line.get("policy", ""))
            if iteration < first:
                continue
            if policy not in ("", before) and iteration > self._from:
                yield PolicyPublished(iteration=iteration - 1, policy=policy)
            yield IterationDone(iteration=iteration, metrics=numbers(line))

    def _of_result(self) -> Iterator[PolicyPublished]:
        if (signature := _signature(self._folder / RESULT)) == self._seen.get(RESULT, _ABSENT):
            return
        self._seen[RESULT] = signature
        if result := read_result(self._folder):
            yield PolicyPublished(iteration=int(result["iterations"]), policy=str(result["policy"]))

    def _of_eval(self) -> Iterator[PanelMeasured | Alarm]:
        first, lines = self._changed(EVAL)
        for line in lines:
            if line["iteration"] >= first:
                yield PanelMeasured(iteration=line["iteration"], metrics=numbers(line))
                if line.get("alarm"):
                    yield Alarm(iteration=line["iteration"], text=str(line["alarm"]))

    def _changed(self, name: str) -> tuple[int, list[dict[str, Any]]]:
        """The first iteration that is news, and all lines of the file where it has changed since the last time."""
        path = lines_path(self._folder, name)
        found = path.stat() if path.exists() else None
        signature = (found.st_mtime_ns, found.st_size) if found else (0, 0)
        first = self._next[name]
        if self._seen.get(name) == signature:
            return first, []
        lines = read_lines(path)
        self._seen[name] = signature
        self._next[name] = max([first, *(line["iteration"] + 1 for line in lines)])
        return first, lines
