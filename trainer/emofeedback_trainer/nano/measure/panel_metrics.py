"""The figures of a panel: is the answer nearer to its target than what the loop began with?

Errors are |V - V*| + |A - A*|, in [0, 16]. Low errors alone prove nothing: painting the middle of the plane whatever
is asked for scores well too. So the error of always answering the middle, and the correlation and slope of result
against target, stand beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from emofeedback.domain.affect import SCALE_MIDDLE, AffectPoint, distance
from emofeedback.runs.run import OptimizationRun, image_path
from emofeedback_trainer.nano.measure.panel import Task

_MIDDLE = AffectPoint(SCALE_MIDDLE, SCALE_MIDDLE)


class Reading(Protocol):
    """What the independent judge sees in one picture."""

    @property
    def valence(self) -> float: ...
    @property
    def arousal(self) -> float: ...
    @property
    def subject(self) -> str: ...


class IndependentJudge(Protocol):
    """The independent witness."""

    def look(self, images: Sequence[Image.Image]) -> Sequence[Reading]:
        """One look for each picture."""
        ...


@dataclass(frozen=True, kw_only=True)
class Witness:
    """One run in the independent judge's eyes."""

    target: AffectPoint
    subject: str
    first_round: tuple[Reading, ...]
    first_choice: Reading
    """The image of round one that the judge found nearest."""
    answer: Reading
    seconds: float


@dataclass(frozen=True, kw_only=True)
class PanelMetrics:
    """What the panel came to; means over its runs."""

    runs: int
    middle_error: float
    """Of answering the middle of the plane, whatever is asked for."""
    first_mean_error: float
    """(a) Of the images of round one."""
    first_choice_error: float
    """(b) Of the best image of round one, as the judge chose it."""
    first_nearest_error: float
    """Of the best image of round one, chosen by the independent judge: what no judge can beat without a loop."""
    answer_error: float
    """(c) Of the answer."""
    gain: float
    """(b) minus (c)."""
    gain_standard_error: float
    """Of that mean difference, paired by run."""
    first_subject_accuracy: float
    """Share of the images of round one in which the independent judge sees the prompt's subject."""
    answer_subject_accuracy: float
    valence_correlation: float
    """Of the answer's valence with the target's."""
    arousal_correlation: float
    valence_slope: float
    """Of the answer's valence against the target's; 1 is obedience, 0 indifference."""
    arousal_slope: float
    seconds: float
    """A run."""


def witness(task: Task, run: OptimizationRun, folder: Path, independent: IndependentJudge) -> Witness | None:
    """A finished run in the independent judge's eyes; None where the judge could read no image of it."""
    first = run.rounds[0]
    if run.best is None or first.best is None:
        return None
    paths = [image_path(0, candidate.index) for candidate in first.candidates]
    paths.append(image_path(run.best.round, run.best.index))
    looks = independent.look([Image.open(folder / path).convert("RGB") for path in paths])
    return Witness(
        target=task.target,
        subject=task.subject,
        first_round=tuple(looks[:-1]),
        first_choice=looks[first.best],
        answer=looks[-1],
        seconds=run.seconds,
    )


def panel_metrics(witnesses: Sequence[Witness]) -> PanelMetrics:
    """The panel's figures; correlations and slopes are NaN for fewer than three runs."""
    first = np.array([[_error(look, w.target) for look in w.first_round] for w in witnesses])
    first_choice = np.array([_error(w.first_choice, w.target) for w in witnesses])
    answer = np.array([_error(w.answer, w.target) for w in witnesses])
    gain = first_choice - answer
    valence = _line([(w.target.valence, w.answer.valence) for w in witnesses])
    arousal = _line([(w.target.arousal, w.answer.arousal) for w in witnesses])
    return PanelMetrics(
        runs=len(witnesses),
        middle_error=float(np.mean([distance(w.target, _MIDDLE) for w in witnesses])),
        first_mean_error=float(first.mean()),
        first_choice_error=float(first_choice.mean()),
        first_nearest_error=float(first.min(axis=1).mean()),
        answer_error=float(answer.mean()),
        gain=float(gain.mean()),
        gain_standard_error=float(gain.std(ddof=1) / len(gain) ** 0.5) if len(gain) > 1 else float("nan"),
        first_subject_accuracy=float(np.mean([[x.subject == w.subject for x in w.first_round] for w in witnesses])),
        answer_subject_accuracy=float(np.mean([w.answer.subject == w.subject for w in witnesses])),
        valence_correlation=valence[0],
        valence_slope=valence[1],
        arousal_correlation=arousal[0],
        arousal_slope=arousal[1],
        seconds=float(np.mean([w.seconds for w in witnesses])),
    )


def markdown(figures: PanelMetrics) -> str:
    """The table of the README."""
    f = figures
    rows = (
        ("always the middle of the plane", f"{f.middle_error:.2f}", ""),
        ("(a) mean image of round one", f"{f.first_mean_error:.2f}", f"{f.first_subject_accuracy:.0%}"),
        ("(b) best image of round one, chosen by the judge", f"{f.first_choice_error:.2f}", ""),
        ("    best image of round one, chosen by the independent judge", f"{f.first_nearest_error:.2f}", ""),
        (
            "(c) answer after three rounds, chosen by the judge",
            f"{f.answer_error:.2f}",
            f"{f.answer_subject_accuracy:.0%}",
        ),
    )
    lines = ["| | error by the independent judge | subject seen |", "|---|---|---|"]
    lines += [f"| {name.strip()} | {error} | {accuracy} |" for name, error, accuracy in rows]
    return "\n".join(
        [
            *lines,
            "",
            f"{f.runs} runs, {f.seconds:.1f} s each. (c) is {f.gain:.2f} ± {f.gain_standard_error:.2f} (standard error)"
            " nearer than (b). Answer against target: "
            f"valence r = {f.valence_correlation:.2f}, slope {f.valence_slope:.2f}; "
            f"arousal r = {f.arousal_correlation:.2f}, slope {f.arousal_slope:.2f}.",
        ]
    )


def contact_sheet(tasks: Sequence[Task], runs: Sequence[OptimizationRun], folders: Sequence[Path]) -> Image.Image:
    """Each run as a pair: the first picture of round one on the left, the answer on the right."""
    columns, size, caption = min(4, len(runs)), 128, 14
    rows = -(-len(runs) // columns)
    sheet = Image.new("RGB", (columns * (2 * size + 12), rows * (size + caption + 8)), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (task, run, folder) in enumerate(zip(tasks, runs, folders, strict=True)):
        x, y = place % columns * (2 * size + 12), place // columns * (size + caption + 8)
        shown = [image_path(0, 0)] + ([image_path(run.best.round, run.best.index)] if run.best else [])
        for position, path in enumerate(shown):
            sheet.paste(
                Image.open(folder / path).convert("RGB").resize((size, size)), (x + position * size, y + caption)
            )
        label = f"{task.prompt}   V {task.target.valence:g} A {task.target.arousal:g}"
        draw.text((x + 2, y + 1), label, fill="black")
    return sheet


def _error(look: Reading, target: AffectPoint) -> float:
    return abs(look.valence - target.valence) + abs(look.arousal - target.arousal)


def _line(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Pearson's correlation of the two, NaN where one doesn't vary, and the slope of the second against the first."""
    if len(pairs) < 3:
        return float("nan"), float("nan")
    x, y = np.array(pairs).T
    covariance: NDArray[np.float64] = np.cov(x, y)
    spread = float(np.sqrt(covariance[0, 0] * covariance[1, 1]))
    correlation = float(covariance[0, 1]) / spread if spread else float("nan")
    return correlation, float(covariance[0, 1] / covariance[0, 0])
