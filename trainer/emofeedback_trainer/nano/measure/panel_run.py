"""One command from weights to metrics: runs the panel in this process, and lets the independent judge look."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from pathlib import Path

from emofeedback.in_process import local
from emofeedback.observability.console import say
from emofeedback.profiles.profile import Profile
from emofeedback.runs.run import OptimizationRun
from emofeedback.storage.files import write_json
from emofeedback_trainer.nano.measure.panel import PANEL, Task, run_directory, run_panel
from emofeedback_trainer.nano.measure.panel_metrics import PanelMetrics, contact_sheet, markdown, panel_metrics, witness
from emofeedback_trainer.nano.models.independent_judge import load_independent_judge


def measure_panel(folder: Path, *, profile: Profile, limit: int = len(PANEL)) -> PanelMetrics:
    """Figures of the first `limit` tasks; leaves the runs, `figures.json`, `table.md` and `panel.png` in `folder`.

    Runs that the folder holds already are not painted again.

    Raises:
        FailedPrecondition: weights are missing, or the folder holds runs of other weights.
    """
    tasks = PANEL[:limit]
    runs = _runs(tasks, folder, profile)
    independent = load_independent_judge()
    seen = [witness(task, run, run_directory(folder, task), independent) for task, run in zip(tasks, runs, strict=True)]
    figures = panel_metrics([each for each in seen if each is not None])
    write_json(folder / "figures.json", dataclasses.asdict(figures))
    (folder / "table.md").write_text(markdown(figures) + "\n", encoding="utf-8")
    contact_sheet(tasks, runs, [run_directory(folder, task) for task in tasks]).save(folder / "panel.png")
    return figures


def _runs(tasks: tuple[Task, ...], folder: Path, profile: Profile) -> list[OptimizationRun]:
    opened = local(profile)

    async def run() -> list[OptimizationRun]:
        async with opened as engines:
            return await run_panel(
                tasks, folder, profile=profile, generator=engines.generator, judge=engines.judge, done=_tell
            )

    return asyncio.run(run())


def _tell(task: Task, run: OptimizationRun) -> None:
    error = f"{run.best.loss:.2f}" if run.best else "unread"
    say(f"panel: run {task.index + 1} of {len(PANEL)}, error {error} by the judge", sys.stderr)
