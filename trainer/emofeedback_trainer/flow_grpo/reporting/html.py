"""The report of a training run: one HTML file that needs nothing beside it, written at any time of the run."""

from __future__ import annotations

import io
import math
import tomllib
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from emofeedback.domain.affect import distance
from emofeedback.runs.report.document import STYLE, document, picture
from emofeedback.storage.files import write_whole
from emofeedback_trainer.core.jsonl import read_lines
from emofeedback_trainer.core.run_files import EVAL, METRICS, Status, lines_path, read_result, read_status
from emofeedback_trainer.evaluation.panel_pictures import PaintedPair, PaintedPicture, measurements, read_pairs
from emofeedback_trainer.flow_grpo.reporting.charts import CHARTS, Chart, Source
from emofeedback_trainer.flow_grpo.reporting.svg import Points, arrows_svg, lines_svg

REPORT = "report.html"
_STYLE = STYLE + Path(__file__).with_name("report.css").read_text(encoding="utf-8")
_SHOWN_PAIRS, _SHOWN_PICTURES = 12, 2
_PICTURE_SIDE = 256
"""Larger pictures are scaled down: the page must stay small enough to be sent."""

Lines = Sequence[Mapping[str, Any]]


def write_report(folder: Path) -> Path:
    """Writes `report.html` into a run's folder, whether the run is finished or not; returns its path.

    Raises:
        FailedPrecondition: a file of the run can't be read, or the folder can't be written.
        ResourceExhausted: the disk is full.
    """
    path = folder / REPORT
    write_whole(path, render_report(folder).encode())
    return path


def render_report(folder: Path) -> str:
    """The page as a whole; raises as `write_report`."""
    lines: dict[Source, Lines] = {
        "metrics": read_lines(lines_path(folder, METRICS)),
        "eval": read_lines(lines_path(folder, EVAL)),
    }
    config = _config(folder)
    status, result = read_status(folder), read_result(folder)
    name = str(tomllib.loads(config).get("name", folder.name)) if config else folder.name
    painted = list(measurements(folder).items())
    ends = [(iteration, read_pairs(path)) for iteration, path in (painted[:1] + painted[-1:] if painted else [])]
    body = (
        f"{_head(name, status, result, lines)}{_alarms(lines['eval'])}{_gains(lines['eval'])}"
        f"{_planes(ends)}{_pairs(ends)}{_curves(lines)}{_foot(result, config)}"
    )
    return document(name, body, style=_STYLE)


# --- the top of the page -----------------------------------------------------------------------------------------


def _head(name: str, status: Status | None, result: Mapping[str, Any], lines: Mapping[Source, Lines]) -> str:
    facts = []
    if status is not None:
        facts.append(f"<b>{status.state}</b> after {status.iteration} of {status.iterations} iterations")
    seconds = float(result.get("seconds", sum(float(line.get("seconds", 0)) for line in lines["metrics"])))
    if seconds:
        facts.append(f"in {seconds / 60:.0f} min" if seconds > 90 else f"in {seconds:.0f} s")
    message = f'<p class="note">{escape(status.message)}</p>' if status and status.message else ""
    return (
        f'<header><p class="brand">EmoFeedback · reward feedback</p><h1>{escape(name)}</h1>'
        f'<p class="wish">{", ".join(facts) or "not started"}</p>{message}</header>'
    )


def _alarms(panel: Lines) -> str:
    rung = [(line["iteration"], str(line["alarm"])) for line in panel if line.get("alarm")]
    items = "".join(f"<li><b>iteration {iteration}</b> {escape(text)}</li>" for iteration, text in rung)
    return f'<ul class="alarms">{items}</ul>' if rung else ""


def _gains(panel: Lines) -> str:
    """The panel's most telling figures, before training and at the end."""
    if not panel:
        return '<p class="note">The held-out panel has not been measured yet.</p>'
    first, last = panel[0], panel[-1]
    observer = "independent judge" if "subject_accuracy" in first else "judge"  # only it sees subjects
    tiles = []
    for key, label, form in (
        ("error", f"error |ΔV| + |ΔA| by the {observer}", "{:.2f}"),
        ("valence_correlation", "valence: result with target, r", "{:.2f}"),
        ("arousal_correlation", "arousal: result with target, r", "{:.2f}"),
        ("subject_accuracy", "pictures with their subject", "{:.0%}"),
        ("diversity", "diversity within a group", "{:.3f}"),
    ):
        if key in first and key in last:
            before, after = form.format(first[key]), form.format(last[key])
            value = after if len(panel) == 1 else f"<i>{before}</i> → {after}"
            tiles.append(f"<div><dt>{label}</dt><dd>{value}</dd></div>")
    span = f"before training → after {last['iteration']} iterations" if len(panel) > 1 else "before training"
    return f'<section class="gains"><h2>Held-out panel<small>{span}</small></h2><dl>{"".join(tiles)}</dl></section>'


# --- results against targets -------------------------------------------------------------------------------------


def _planes(ends: Sequence[tuple[int, Sequence[PaintedPair]]]) -> str:
    figures = []
    for number, (iteration, pairs) in enumerate(_distinct(ends)):
        arrows = [arrow for pair in pairs for arrow in pair.arrows]
        if arrows:
            error = sum(distance(result, target) for target, result in arrows) / len(arrows)
            caption = f"<b>{_when(iteration)}</b>mean error {error:.2f} over {len(arrows)} pictures"
            drawing = arrows_svg(f"Targets and results {_when(iteration)}", arrows, key=f"plane{number}")
            figures.append(f"<figure>{drawing}<figcaption>{caption}</figcaption></figure>")
    if not figures:
        return ""
    title = "<h2>From target to result<small>a ring is what was asked for, the arrow's tip what came out</small></h2>"
    return f'<section>{title}<div class="planes">{"".join(figures)}</div></section>'


def _pairs(ends: Sequence[tuple[int, Sequence[PaintedPair]]]) -> str:
    """The same prompts and seeds, before and after."""
    distinct = _distinct(ends)
    if not distinct:
        return ""
    rows = zip(*(pairs[:_SHOWN_PAIRS] for _, pairs in distinct), strict=False)
    iterations = [iteration for iteration, _ in distinct]
    cards = "".join(
        _pair(dict(zip(iterations, row, strict=True))) for row in rows if any(pair.pictures for pair in row)
    )
    title = "<h2>The same seeds<small>held-out prompts and targets; the error in bold</small></h2>"
    return f'<section>{title}<div class="pairs">{cards}</div></section>' if cards else ""


def _pair(row: Mapping[int, PaintedPair]) -> str:
    pair = next(iter(row.values()))
    sides = "".join(
        f'<div class="side"><p>{_when(iteration)}</p>'
        f"{''.join(_picture(p, painted) for p in painted.pictures[:_SHOWN_PICTURES])}</div>"
        for iteration, painted in row.items()
    )
    return (
        f'<article class="pair"><h3>{escape(pair.prompt)}<span>V {pair.target.valence:.1f} · '
        f'A {pair.target.arousal:.1f}</span></h3><div class="sides">{sides}</div></article>'
    )


def _picture(painted: PaintedPicture, pair: PaintedPair) -> str:
    if painted.seen is None:
        seen = "not read"
    else:
        error = distance(painted.seen, pair.target)
        seen = f"V {painted.seen.valence:.1f} A {painted.seen.arousal:.1f}<b>{error:.1f}</b>"
    alt = f"{pair.prompt}, seed {painted.seed}"
    return f"<figure>{picture(_scaled(painted.path), alt)}<figcaption>{seen}</figcaption></figure>"


def _scaled(path: Path) -> bytes:
    with Image.open(path) as image:
        if max(image.size) <= _PICTURE_SIDE:
            return path.read_bytes()
        image.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE))
        stream = io.BytesIO()
        image.save(stream, "PNG", optimize=True)
        return stream.getvalue()


def _distinct(ends: Sequence[tuple[int, Sequence[PaintedPair]]]) -> Sequence[tuple[int, Sequence[PaintedPair]]]:
    """First and last measurement; only one where they are the same."""
    return ends[:1] if len(ends) == 2 and ends[0][0] == ends[1][0] else ends


def _when(iteration: int) -> str:
    return f"after {iteration} iterations" if iteration else "before training"


# --- curves ------------------------------------------------------------------------------------------------------


def _curves(lines: Mapping[Source, Lines]) -> str:
    last = max((line["iteration"] for of_file in lines.values() for line in of_file), default=0)
    alarms = {line["iteration"]: str(line["alarm"]) for line in lines["eval"] if line.get("alarm")}
    figures = "".join(_curve(chart, lines, last, alarms) for chart in CHARTS)
    return f'<section><h2>Curves</h2><div class="curves">{figures}</div></section>' if figures else ""


def _curve(chart: Chart, lines: Mapping[Source, Lines], last: int, alarms: Mapping[int, str]) -> str:
    series = {label: _points(chart, lines[source], key) for label, (source, key) in chart.series.items()}
    if not any(series.values()):
        return ""
    keys = "".join(
        f'<span><i class="s{number}"></i>{label} <b>{points[-1][1]:.3g}</b></span>'
        for number, (label, points) in enumerate(series.items(), chart.first_color)
        if points
    )
    drawing = lines_svg(chart.title, series, last=last, alarms=alarms, first_color=chart.first_color)
    return (
        f'<figure class="curve"><h3>{chart.title}</h3><p>{chart.note}</p>{drawing}'
        f"<figcaption>{keys}</figcaption></figure>"
    )


def _points(chart: Chart, lines: Lines, key: str) -> Points:
    points = [(line["iteration"], float(line[key])) for line in lines if isinstance(line.get(key), int | float)]
    points = [(iteration, value) for iteration, value in points if math.isfinite(value)]
    if chart.relative and points:
        unit = points[0][1] or 1.0
        points = [(iteration, value / unit) for iteration, value in points]
    return points


# --- what it was -------------------------------------------------------------------------------------------------


def _foot(result: Mapping[str, Any], config: str) -> str:
    facts = [
        (role, f"{model.get('name', '')} · {str(model.get('digest', ''))[:19]}")
        for role, model in dict(result.get("models", {})).items()
    ]
    if "policy" in result:
        facts.append(("policy", f"{result['policy']} · {result.get('policy_digest', '')}"))
    if "command" in result:
        facts.append(("command", str(result["command"])))
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    scale = "Valence runs from 1, unpleasant, to 9, pleasant; arousal from 1, calm, to 9, stirred."
    shown = f"<details><summary>Configuration</summary><pre>{escape(config)}</pre></details>" if config else ""
    return f"<footer><dl>{rows}</dl>{shown}<p>{scale}</p></footer>"


def _config(folder: Path) -> str:
    path = folder / "config.toml"
    return path.read_text(encoding="utf-8") if path.exists() else ""
