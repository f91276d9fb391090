"""What a training run looks like on a terminal, and, where there is none, a line for each iteration."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from emofeedback.domain.training import Alarm, IterationDone, PanelMeasured
from emofeedback.observability.console import shown
from emofeedback_trainer.evaluation.panel import measured_by
from emofeedback_trainer.flow_grpo.events import GroupJudged, RunEvent, RunPaused, RunResumed, RunStarted

Metrics = Mapping[str, float]


class TrainingDisplay:
    """Feed it every event of the run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, transient=True, refresh_per_second=4) if console.is_terminal else None
        self._began = time.monotonic()
        self._first, self._done, self._iterations = 0, 0, 0
        self._judged, self._groups = 0, 1
        self._curve: Metrics = {}
        self._panel: Metrics = {}
        self._pause = ""

    def __enter__(self) -> TrainingDisplay:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, event: RunEvent) -> None:
        """Brings the view up to date."""
        match event:
            case RunStarted():
                self._first = self._done = event.iteration
                self._iterations = event.iterations
                self._began = time.monotonic()
                if event.iteration:
                    self._say(f"goes on after iteration {event.iteration} of {event.iterations}")
            case GroupJudged():
                self._judged, self._groups = event.done, event.groups
            case IterationDone():
                self._done, self._judged, self._curve = event.iteration, 0, event.metrics
                self._say(f"{self._done:>4}/{self._iterations}  {curve_line(event.metrics)}  {self._left()}")
            case PanelMeasured():
                self._panel = event.metrics
                self._say(f"panel      {panel_line(event.metrics)}")
            case Alarm():
                self._say(f"alarm: {event.text}", "bold red")
            case RunPaused():
                self._pause = event.reason
                self._say(f"paused: {event.reason}", "yellow")
            case RunResumed():
                self._pause = ""
                self._say(f"goes on after {event.seconds:.0f} s")
        if self._live is not None:
            self._live.update(self._view())

    def _say(self, line: str, style: str = "") -> None:
        self._console.print(line, style=style, soft_wrap=True)

    def _left(self) -> str:
        """How long the rest takes at the pace of this start of the run."""
        if self._done == self._first:
            return ""
        pace = (time.monotonic() - self._began) / (self._done - self._first)
        left = pace * (self._iterations - self._done)
        return f"{left:.0f} s left" if left < 100 else f"{left / 60:.0f} min left"

    def _view(self) -> RenderableType:
        bars = Table.grid(padding=(0, 1))
        bars.add_row(
            "iterations",
            ProgressBar(self._iterations, self._done, width=32),
            f"{self._done}/{self._iterations}  {self._left()}",
        )
        learning = "learning" if self._judged == self._groups else "painting and judging"
        bars.add_row("groups", ProgressBar(self._groups, self._judged, width=32), f"{self._judged}/{self._groups}")
        parts: list[RenderableType] = [bars, Text(shown(self._pause) or learning, "yellow" if self._pause else "dim")]
        if self._panel:
            parts.append(Text(f"panel: {panel_line(self._panel)}", "dim"))
        return Group(*parts)


def curve_line(metrics: Metrics) -> str:
    """An iteration in one line; errors and spreads are by the judge, in points of the 1-9 scale."""
    f = metrics
    return (
        f"reward {f['reward']:.3f}  judge's error V {f['judge_valence_error']:.2f} A {f['judge_arousal_error']:.2f}  "
        f"spread V {f['spread_valence']:.2f} A {f['spread_arousal']:.2f}  KL {f['kl']:.2g}  "
        f"clipped {f['clip_fraction']:.0%}  {f['images_per_second']:.1f} images/s"
    )


def panel_line(metrics: Metrics) -> str:
    """A measurement of the panel in one line; whose errors and correlations they are, it says."""
    f = metrics
    valence, arousal = (
        f"{f[key]:.2f}" if key in f else "n/a" for key in ("valence_correlation", "arousal_correlation")
    )
    line = (
        f"{measured_by(f)}'s error V {f['valence_error']:.2f} A {f['arousal_error']:.2f}  "
        f"correlation V {valence} A {arousal}"
    )
    if "subject_accuracy" in f:
        line = f"{line}  subject {f['subject_accuracy']:.0%}"
    return f"{line}  diversity {f['diversity']:.3f}" if "diversity" in f else line
