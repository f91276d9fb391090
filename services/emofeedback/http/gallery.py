"""What lies on the disk: all runs of a folder, newest first, searched by the words of their prompts."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

from emofeedback.domain.assessment import Assessment
from emofeedback.domain.errors import EmoFeedbackError
from emofeedback.domain.text import words
from emofeedback.http.answers import plain
from emofeedback.runs.directory import RESULT, read_run
from emofeedback.runs.run import OptimizationRun


class Gallery:
    """Reads a folder of runs; what has not changed is read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: dict[str, tuple[int, dict[str, Any] | None]] = {}

    def find(self, text: str, limit: int) -> list[dict[str, Any]]:
        """Summaries of the runs whose prompts, first or rewritten, hold every word; folders that hold no run are left
        out."""
        results = sorted(self._root.glob(f"*/{RESULT}"), key=_changed, reverse=True)
        wanted = words(text)
        found: list[dict[str, Any]] = []
        for path in results:
            summary = self._summary(path)
            if summary is not None and all(any(word.startswith(w) for word in summary["words"]) for w in wanted):
                found.append({key: value for key, value in summary.items() if key != "words"})
            if len(found) == limit:
                break
        return found

    def _summary(self, path: Path) -> dict[str, Any] | None:
        changed, name = _changed(path), path.parent.name
        known = self._read.get(name)
        if known is None or known[0] != changed:
            try:
                known = changed, _summary(name, changed, read_run(path.parent))
            except EmoFeedbackError:
                known = changed, None
            self._read[name] = known
        return known[1]


def packed(folder: Path) -> bytes:
    """A run's folder as a zip: its result, report and pictures."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix in (".json", ".html", ".png"):
                archive.write(path, f"{folder.name}/{path.relative_to(folder).as_posix()}")
    return file.getvalue()


def _summary(name: str, changed: int, run: OptimizationRun) -> dict[str, Any]:
    best = run.best_candidate
    prompts = [run.request.prompt, *(finished.prompt for finished in run.rounds)]
    return {
        "id": name,
        "prompt": run.request.prompt,
        "target": plain(run.request.target),
        "seed": run.request.seed,
        "images": run.request.images,
        "policy": run.request.policy,
        "steps": run.request.steps,
        "rounds": len(run.rounds),
        "state": run.state,
        "finished": run.stopped_because is not None,
        "seconds": run.seconds,
        "changed": changed / 1e9,
        "loss": run.best.loss if run.best else None,
        "best": plain(run.best) if run.best else None,
        "point": plain(best.outcome.point) if best and isinstance(best.outcome, Assessment) else None,
        "words": {word for prompt in prompts for word in words(prompt)},
    }


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
