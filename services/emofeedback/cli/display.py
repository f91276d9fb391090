"""What a run looks like on a terminal while it goes on, and the table that it ends with everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from emofeedback.domain.assessment import Assessment
from emofeedback.domain.optimization import (
    GradientEstimated,
    ImageJudged,
    ImagePainted,
    LossComputed,
    OptimizationEvent,
    PaintingStep,
    RoundStarted,
)
from emofeedback.domain.text import shorten
from emofeedback.observability.console import shown
from emofeedback.observability.consoles import Consoles
from emofeedback.runs.run import OptimizationRun

_PROMPT_CHARACTERS = 120
"""Of a round's prompt in the table: two or three lines of an ordinary terminal."""


class LoopDisplay:
    """The live view of one run: rounds so far, the prompt, images painted and judged, the error so far.

    A console that is no terminal shows nothing.
    """

    def __init__(self, console: Console, run: OptimizationRun, *, rounds: int, title: str = "") -> None:
        self._run = run
        self._rounds = rounds
        self._title = title
        self._live = Live(console=console, transient=True, refresh_per_second=8) if console.is_terminal else None
        self._error = None if run.best is None else run.best.loss
        self._round, self._prompt, self._activity = 0, "", ""
        self._painted, self._judged = 0, 0
        self._steps: dict[int, float] = {}
        self._begin_round(len(run.rounds), run.request.prompt)

    def __enter__(self) -> LoopDisplay:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, run: OptimizationRun, event: OptimizationEvent) -> None:
        """Brings the view up to date; `run` is the run after the event."""
        self._run = run
        match event:
            case RoundStarted():
                self._begin_round(event.round, event.prompt)
            case PaintingStep(step=step):
                self._steps[step.index] = step.step / step.steps
            case ImagePainted(image=image):
                self._steps[image.index] = 1.0
                self._painted += 1
                self._activity = "painting and judging"
            case ImageJudged(candidate=candidate):
                self._judged += 1
                if candidate.loss is not None and candidate.eligible:
                    self._error = candidate.loss if self._error is None else min(self._error, candidate.loss)
            case LossComputed():
                self._error = event.best.loss if event.best else None
                self._activity = "comparing the best with the worst"
            case GradientEstimated():
                self._activity = "rewriting the prompt"
        if self._live is not None:
            self._live.update(self._view())

    def _begin_round(self, index: int, prompt: str) -> None:
        self._round, self._prompt, self._activity = index, prompt, "painting"
        self._painted, self._judged = 0, 0
        self._steps = {}

    def _view(self) -> RenderableType:
        images = self._run.request.images
        error = "" if self._error is None else f"error so far {self._error:.2f}"
        head = Text.assemble(
            (f"{self._title}  " if self._title else "", "dim"),
            (f"Round {self._round + 1} of {self._rounds}", "bold"),
            (f"  {self._activity}", "dim"),
        )
        bars = Table.grid(padding=(0, 1))
        bars.add_row("painted", ProgressBar(images, sum(self._steps.values()), width=32), f"{self._painted}/{images}")
        bars.add_row("judged", ProgressBar(images, self._judged, width=32), f"{self._judged}/{images}   {error}")
        parts: list[RenderableType] = [head, Text(shown(self._prompt), "italic"), bars]
        if self._run.rounds and not self._title:
            parts.insert(0, rounds_table(self._run))
        return Group(*parts)


def rounds_table(run: OptimizationRun) -> Table:
    """One row a round: its best image's valence and arousal, and dominance where that was asked for, its error, its
    prompt; the answer's row is marked, and so is an image that was imagined or lost the subject. A long prompt is cut;
    all of it is in the report. Where the loop remembers earlier runs, the likely error by which it chooses stands
    beside the judge's.
    """
    captions = []
    if run.remembers:
        captions.append(
            "likely: the error we expect, from the judge's reading and from how such words turned out before; "
            "where it stands it decides, so an image with a larger error can win"
        )
    if run.imagines:
        captions.append("imagined: painted from the prompt and from what the judge imagines")
    table = Table(box=SIMPLE, pad_edge=False, caption="\n".join(captions) or None, caption_justify="left")
    table.add_column("round", justify="right")
    third = run.request.dominance
    axes = ("valence", "arousal", *(["dominance"] if third is not None else []))
    for name in (*axes, "error", *(["likely"] if run.remembers else [])):
        table.add_column(name, justify="right")
    table.add_column("prompt", overflow="fold")
    target = run.request.target
    for finished in run.rounds:
        values = ["-"] * (len(axes) + (2 if run.remembers else 1))
        best = None if finished.best is None else finished.candidates[finished.best]
        if best is not None and isinstance(best.outcome, Assessment):
            values = [*(f"{getattr(best.outcome, axis):.2f}" for axis in axes), f"{best.loss or 0.0:.2f}"]
            if run.remembers:
                values.append("-" if best.likely_loss is None else f"{best.likely_loss:.2f}")
        is_answer = run.best is not None and run.best.round == finished.index
        number = f"* {finished.index + 1}" if is_answer else str(finished.index + 1)
        painted_from = (best and best.prompt) or finished.prompt
        prompt = shorten(painted_from, lambda text: len(text) <= _PROMPT_CHARACTERS)
        prompt += "" if prompt == painted_from else " \u2026"
        if best is not None:
            prompt += (" (imagined)" if best.imagined else "") + ("" if best.on_subject else " (off subject)")
        table.add_row(number, *values, prompt, style="bold" if is_answer else "")
    table.add_section()
    empty = [""] * (3 if run.remembers else 2)
    wanted = [target.valence, target.arousal, *([third] if third is not None else [])]
    table.add_row("target", *(f"{rating:.2f}" for rating in wanted), *empty, style="dim")
    return table


@contextmanager
def loading(consoles: Consoles, profile: str | None) -> Iterator[None]:
    """Says on a terminal that models are being loaded, which takes a few seconds."""
    if not consoles.side.is_terminal or profile is None:
        yield
        return
    with consoles.side.status(Text(f"Loading the {shown(profile)} models"), spinner=_spinner(consoles.side)):
        yield


@contextmanager
def waiting(consoles: Consoles) -> Iterator[Callable[[str], None]]:
    """Gives what says what is being waited for: beside a spinner on a terminal, elsewhere as notes."""
    if not consoles.side.is_terminal:
        yield consoles.note
        return
    columns = (
        SpinnerColumn(_spinner(consoles.side)),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=consoles.side, transient=True) as progress:
        task = progress.add_task("")
        yield lambda what: progress.update(task, description=shown(what))


def _spinner(console: Console) -> str:
    """One that the terminal has the characters of."""
    return "dots" if console.encoding.startswith("utf") else "line"
