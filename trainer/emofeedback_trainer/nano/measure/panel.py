"""Does the loop work? A fixed panel of runs, and the independent judge to look at them, who neither judges nor rewards.

Twenty-four neutral prompts, each with a target of its own; the targets are a grid over the whole plane without its
middle. Errors are |V - V*| + |A - A*|, in [0, 16]. Low errors alone prove nothing: aiming at the middle of the plane
whatever is asked for scores well too. So the error of always answering the middle, and the correlation and slope of
result against target, stand beside them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from emofeedback.domain.affect import AffectPoint, distance
from emofeedback.observability.console import say
from emofeedback.profiles.profile import Profile
from emofeedback.runs.run import OptimizationRun, image_path
from emofeedback.storage.files import json_bytes, write_keeping
from emofeedback_trainer.core.pairs import MIDDLE, Pair
from emofeedback_trainer.core.tables import table
from emofeedback_trainer.core.task import Reading
from emofeedback_trainer.evaluation.metrics import line
from emofeedback_trainer.evaluation.output import with_engines
from emofeedback_trainer.evaluation.runs import Witness, run_directory, run_pairs, witness
from emofeedback_trainer.nano.models.independent_judge import load_independent_judge
from emofeedback_trainer.nano.task import PANEL_TASK

PANEL = PANEL_TASK.evaluation
"""The fixed panel, in the order in which it is run."""


@dataclass(frozen=True, kw_only=True)
class PanelMetrics:
    """What the panel came to; means over its runs."""

    runs: int
    middle_error: float
    """Error of answering the middle of the plane, whatever is asked for."""
    first_mean_error: float
    """(a) Of the images of round one."""
    first_choice_error: float
    """(b) Of the best image of round one, as the judge chose it."""
    first_nearest_error: float
    """Error of round one's best image by the independent judge: what no judge can beat without a loop."""
    answer_error: float
    """(c) Of the answer."""
    gain: float
    """(b) minus (c)."""
    gain_standard_error: float
    """Standard error of that mean difference, paired by run."""
    first_subject_accuracy: float
    """Share of the images of round one in which the independent judge sees the prompt's subject."""
    answer_subject_accuracy: float
    valence_correlation: float
    """Pearson's r of the answer's valence with the target's."""
    arousal_correlation: float
    valence_slope: float
    """Slope of the answer's valence against the target's; 1 is obedience, 0 indifference."""
    arousal_slope: float
    seconds: float
    """A run."""


def measure_panel(folder: Path, *, profile: Profile, limit: int = len(PANEL)) -> PanelMetrics:
    """Metrics of the first `limit` pairs; leaves the runs, `metrics.json`, `table.md` and `panel.png` in `folder`.

    Runs that the folder holds already are not made again.

    Raises:
        FailedPrecondition: weights are missing, or the folder holds runs of other weights.
    """
    pairs = PANEL[:limit]
    folders = [run_directory(folder, number) for number in range(len(pairs))]
    runs = with_engines(
        profile,
        lambda generator, judge: run_pairs(
            pairs, folder, profile=profile, generator=generator, judge=judge, done=_report
        ),
    )
    independent = load_independent_judge()
    seen = [witness(*each, independent) for each in zip(pairs, runs, folders, strict=True)]
    metrics = panel_metrics([each for each in seen if each is not None])
    write_keeping(folder / "metrics.json", json_bytes(asdict(metrics)))
    write_keeping(folder / "table.md", f"{markdown(metrics)}\n".encode())
    contact_sheet(pairs, runs, folders).save(folder / "panel.png")
    return metrics


def panel_metrics(witnesses: Sequence[Witness]) -> PanelMetrics:
    """The metrics of a panel's runs; see `metrics.correlation` for those that don't vary."""
    first = np.array([[_error(reading, w.target) for reading in w.first_round] for w in witnesses])
    first_choice = np.array([_error(w.first_choice, w.target) for w in witnesses])
    answer = np.array([_error(w.answer, w.target) for w in witnesses])
    gain = first_choice - answer
    valence = line([w.target.valence for w in witnesses], [w.answer.valence for w in witnesses])
    arousal = line([w.target.arousal for w in witnesses], [w.answer.arousal for w in witnesses])
    return PanelMetrics(
        runs=len(witnesses),
        middle_error=float(np.mean([distance(w.target, MIDDLE) for w in witnesses])),
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


def markdown(metrics: PanelMetrics) -> str:
    """The table of the README."""
    m = metrics
    rows = (
        ("always the middle of the plane", f"{m.middle_error:.2f}", ""),
        ("(a) mean image of round one", f"{m.first_mean_error:.2f}", f"{m.first_subject_accuracy:.0%}"),
        ("(b) best image of round one, chosen by the judge", f"{m.first_choice_error:.2f}", ""),
        ("best image of round one, chosen by the independent judge", f"{m.first_nearest_error:.2f}", ""),
        (
            "(c) answer after three rounds, chosen by the judge",
            f"{m.answer_error:.2f}",
            f"{m.answer_subject_accuracy:.0%}",
        ),
    )
    notes = (
        f"{m.runs} runs, {m.seconds:.1f} s each. (c) is {m.gain:.2f} ± {m.gain_standard_error:.2f} (standard error) "
        "nearer than (b). Answer against target: "
        f"valence r = {m.valence_correlation:.2f}, slope {m.valence_slope:.2f}; "
        f"arousal r = {m.arousal_correlation:.2f}, slope {m.arousal_slope:.2f}."
    )
    return f"{table(('', 'error by the independent judge', 'subject seen'), rows)}\n\n{notes}"


def contact_sheet(pairs: Sequence[Pair], runs: Sequence[OptimizationRun], folders: Sequence[Path]) -> Image.Image:
    """Each run as a pair: the first picture of round one on the left, the answer on the right."""
    columns, size, caption = min(4, len(runs)), 128, 14
    rows = -(-len(runs) // columns)
    sheet = Image.new("RGB", (columns * (2 * size + 12), rows * (size + caption + 8)), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (pair, run, folder) in enumerate(zip(pairs, runs, folders, strict=True)):
        x, y = place % columns * (2 * size + 12), place // columns * (size + caption + 8)
        shown = [image_path(0, 0)] + ([image_path(run.best.round, run.best.index)] if run.best else [])
        for position, path in enumerate(shown):
            sheet.paste(
                Image.open(folder / path).convert("RGB").resize((size, size)), (x + position * size, y + caption)
            )
        label = f"{pair.prompt}   V {pair.target.valence:g} A {pair.target.arousal:g}"
        draw.text((x + 2, y + 1), label, fill="black")
    return sheet


def _error(reading: Reading, target: AffectPoint) -> float:
    return abs(reading.valence - target.valence) + abs(reading.arousal - target.arousal)


def _report(number: int, run: OptimizationRun) -> None:
    error = f"{run.best.loss:.2f}" if run.best else "unread"
    say(f"panel: run {number + 1} of {len(PANEL)}, error {error} by the judge", sys.stderr)
