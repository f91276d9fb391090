"""The report of a training run (`templates/training.html`): one HTML file that needs nothing beside it, written at any
time of the run."""

from __future__ import annotations

import io
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from emofeedback.domain.affect import distance
from emofeedback.runs.report.document import STYLE, environment
from emofeedback.storage.files import write_whole
from emofeedback_trainer.core.jsonl import read_lines
from emofeedback_trainer.core.run_files import CONFIG, EVAL, METRICS, lines_path, read_result, read_status
from emofeedback_trainer.evaluation.panel import measured_by
from emofeedback_trainer.evaluation.panel_pictures import PaintedPair, measurements, read_pairs
from emofeedback_trainer.flow_grpo.reporting.charts import CHARTS, Chart, Source
from emofeedback_trainer.flow_grpo.reporting.svg import Points, arrows_svg, lines_svg

REPORT = "report.html"
_STYLE = STYLE + Path(__file__).with_name("report.css").read_text(encoding="utf-8")
_SHOWN_PAIRS, _SHOWN_PICTURES = 12, 2
_PICTURE_SIDE = 256
"""Larger pictures are scaled down: the page must stay small enough to be sent."""
_GAINS = (
    ("error", "error |ΔV| + |ΔA| by the {observer}", "{:.2f}"),
    ("valence_correlation", "valence: result with target, r", "{:.2f}"),
    ("arousal_correlation", "arousal: result with target, r", "{:.2f}"),
    ("subject_accuracy", "pictures with their subject", "{:.0%}"),
    ("diversity", "diversity within a group", "{:.3f}"),
)
"""The panel's most telling metrics: key, label, form."""

Lines = Sequence[Mapping[str, Any]]
Ends = Sequence[tuple[int, Sequence[PaintedPair]]]
"""The first and the last measurement that left pictures; one where they are the same."""


def write_report(folder: Path) -> Path:
    """Writes `report.html` into a run's folder, whether the run is finished or not; returns its path.

    Raises:
        FailedPrecondition: a file of the run can't be read, or the folder can't be written.
        ResourceExhausted: the disk is full.
    """
    path = folder / REPORT
    write_whole(path, render_report(folder).encode(errors="backslashreplace"))
    return path


def render_report(folder: Path) -> str:
    """The page as a whole; raises as `write_report`."""
    lines: dict[Source, Lines] = {
        "metrics": read_lines(lines_path(folder, METRICS)),
        "eval": read_lines(lines_path(folder, EVAL)),
    }
    path = folder / CONFIG
    config = path.read_text(encoding="utf-8") if path.exists() else ""
    result, panel = read_result(folder), lines["eval"]
    pictures = measurements(folder)
    ends = [
        (iteration, read_pairs(pictures[iteration]))
        for iteration in sorted({*list(pictures)[:1], *list(pictures)[-1:]})
    ]
    alarms = {line["iteration"]: str(line["alarm"]) for line in panel if line.get("alarm")}
    return (
        environment(__package__)
        .get_template("training.html")
        .render(
            style=_STYLE,
            name=str(tomllib.loads(config).get("name", folder.name)) if config else folder.name,
            status=read_status(folder),
            duration=_duration(result, lines["metrics"]),
            alarms=alarms,
            gains=list(_gains(panel)),
            flattered=bool(panel) and measured_by(panel[-1]) == "rewarding judge",
            gains_after=panel[-1]["iteration"] if len(panel) > 1 else 0,
            planes=list(_planes(ends)),
            pairs=list(_pairs(ends)),
            curves=list(_curves(lines, alarms)),
            facts=_facts(result),
            config=config,
            distance=distance,
            scaled=_scaled,
            shown_pictures=_SHOWN_PICTURES,
        )
    )


def _duration(result: Mapping[str, Any], metrics: Lines) -> str:
    seconds = float(result.get("seconds", sum(float(line.get("seconds", 0)) for line in metrics)))
    if not seconds:
        return ""
    return f"in {seconds / 60:.0f} min" if seconds > 90 else f"in {seconds:.0f} s"


def _gains(panel: Lines) -> Iterator[tuple[str, str, str]]:
    """Label, value before training, value at the end."""
    if not panel:
        return
    first, last = panel[0], panel[-1]
    observer = measured_by(first)
    for key, label, form in _GAINS:
        if key in first and key in last:
            yield label.format(observer=observer), form.format(first[key]), form.format(last[key])
        elif key.endswith("_correlation"):
            yield label, "n/a", "n/a"


def _planes(ends: Ends) -> Iterator[tuple[int, float, int, Markup]]:
    """Iteration, mean error, pictures and the drawing of results against targets."""
    for number, (iteration, pairs) in enumerate(ends):
        arrows = [arrow for pair in pairs for arrow in pair.arrows]
        if arrows:
            error = sum(distance(result, target) for target, result in arrows) / len(arrows)
            title = f"Targets and results after {iteration} iterations"
            yield iteration, error, len(arrows), Markup(arrows_svg(title, arrows, key=f"plane{number}"))


def _pairs(ends: Ends) -> Iterator[list[tuple[int, PaintedPair]]]:
    """The same prompts and seeds, before and after."""
    for row in zip(*(pairs[:_SHOWN_PAIRS] for _, pairs in ends), strict=False):
        if any(pair.pictures for pair in row):
            yield [(iteration, pair) for (iteration, _), pair in zip(ends, row, strict=True)]


def _scaled(path: Path) -> bytes:
    with Image.open(path) as image:
        if max(image.size) <= _PICTURE_SIDE:
            return path.read_bytes()
        image.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE))
        stream = io.BytesIO()
        image.save(stream, "PNG", optimize=True)
        return stream.getvalue()


def _curves(
    lines: Mapping[Source, Lines], alarms: Mapping[int, str]
) -> Iterator[tuple[Chart, Mapping[str, Points], Markup]]:
    last = max((line["iteration"] for of_file in lines.values() for line in of_file), default=0)
    for chart in CHARTS:
        series = {label: _points(chart, lines[source], key) for label, (source, key) in chart.series.items()}
        if any(series.values()):
            drawing = lines_svg(chart.title, series, last=last, alarms=alarms, first_color=chart.first_color)
            yield chart, series, Markup(drawing)


def _points(chart: Chart, lines: Lines, key: str) -> Points:
    points = [(line["iteration"], float(line[key])) for line in lines if isinstance(line.get(key), int | float)]
    points = [(iteration, value) for iteration, value in points if math.isfinite(value)]
    if chart.relative and points:
        unit = points[0][1] or 1.0
        points = [(iteration, value / unit) for iteration, value in points]
    return points


def _facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Which models the run had, and what came of it."""
    facts = [
        (role, f"{model.get('name', '')} · {str(model.get('digest', ''))[:19]}")
        for role, model in dict(result.get("models", {})).items()
    ]
    if "policy" in result:
        facts.append(("policy", f"{result['policy']} · {result.get('policy_digest', '')}"))
    if "command" in result:
        facts.append(("command", str(result["command"])))
    return facts
