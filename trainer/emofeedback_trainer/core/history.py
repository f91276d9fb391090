"""What has happened in a run, told from its files while its process writes them.

A resumed run cuts the lines that its checkpoint doesn't know and writes them anew; they are told once all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emofeedback.domain.training import Alarm, IterationDone, PanelMeasured, PolicyPublished
from emofeedback_trainer.core.jsonl import Tail
from emofeedback_trainer.core.run_files import EVAL, METRICS, RESULT, lines_path, numbers, read_result

HistoryEvent = IterationDone | PanelMeasured | PolicyPublished | Alarm


class History:
    """The events of a run from an iteration on, each told once however often the files are written anew."""

    def __init__(self, folder: Path, from_iteration: int = 0) -> None:
        self._folder = folder
        self._from = from_iteration
        self._next = {METRICS: from_iteration, EVAL: from_iteration}
        self._tails = {METRICS: Tail(), EVAL: Tail()}
        self._policy = ""
        self._result = 0
        """When it was written."""

    def news(self) -> list[HistoryEvent]:
        """What has not been told yet, in the order of its iterations; raises as `read_lines`."""
        events = [*self._of_metrics(), *self._of_result(), *self._of_eval()]
        return sorted(events, key=lambda event: event.iteration)

    def _of_metrics(self) -> Iterator[IterationDone | PolicyPublished]:
        for line, is_new in self._added(METRICS):
            iteration, before, self._policy = line["iteration"], self._policy, str(line.get("policy", ""))
            if not is_new:
                continue
            if self._policy not in ("", before) and iteration > self._from:
                yield PolicyPublished(iteration=iteration - 1, policy=self._policy)
            yield IterationDone(iteration=iteration, metrics=numbers(line))

    def _of_result(self) -> Iterator[PolicyPublished]:
        path = self._folder / RESULT
        written = path.stat().st_mtime_ns if path.exists() else 0
        if written != self._result and (result := read_result(self._folder)):
            yield PolicyPublished(iteration=int(result["iterations"]), policy=str(result["policy"]))
        self._result = written

    def _of_eval(self) -> Iterator[PanelMeasured | Alarm]:
        for line, is_new in self._added(EVAL):
            if is_new:
                yield PanelMeasured(iteration=line["iteration"], metrics=numbers(line))
                if line.get("alarm"):
                    yield Alarm(iteration=line["iteration"], text=str(line["alarm"]))

    def _added(self, name: str) -> Iterator[tuple[dict[str, Any], bool]]:
        """The lines that were added to a file, each with whether it is news: a file may have been cut back."""
        for line in self._tails[name].news(lines_path(self._folder, name)):
            is_new = line["iteration"] >= self._next[name]
            self._next[name] = max(self._next[name], line["iteration"] + 1)
            yield line, is_new
