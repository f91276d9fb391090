"""The drawings of a run's report as inline SVG: figures over the iterations, and results against targets on the plane.

Colors are CSS classes of `report.css`, so that they follow the reader's light or dark scheme.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import accumulate

from emofeedback.domain.affect import AffectPoint
from emofeedback.runs.report.ground import MARGIN, SIDE, emotion_words, place, plane_ground

_WIDTH, _HEIGHT = 480, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 10, 10, 26
_FEW = 30
"""Up to so many points are dots on their line; more are smoothed, with the points faint behind."""

Points = Sequence[tuple[int, float]]
"""Iteration and value."""


def lines_svg(
    label: str, series: Mapping[str, Points], *, last: int, alarms: Mapping[int, str], first_color: int = 0
) -> str:
    """One line a series from iteration 0 to `last`; iterations with an alarm are marked with its text."""
    values = [value for points in series.values() for _, value in points]
    low, high = bounds(values)

    def spot(iteration: float, value: float) -> tuple[float, float]:
        across, up = iteration / max(last, 1), (value - low) / (high - low)
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    parts = []
    for tick in ticks(low, high):
        _, y = spot(0, tick)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>'
        )
    for tick in (t for t in ticks(0, max(last, 1)) if t == int(t)):
        x, _ = spot(tick, low)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{_HEIGHT - 7}" text-anchor="middle">{tick:g}</text>')
    for iteration, text in alarms.items():
        x, _ = spot(iteration, low)
        parts.append(
            f'<g class="alarm"><line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>'
            f'<path d="M{x - 5:.1f} {_TOP}h10l-5 8z"/><title>{escape(f"iteration {iteration}: {text}")}</title></g>'
        )
    for number, (name, points) in enumerate(series.items(), first_color):
        if len(points) > _FEW:
            parts.append(f'<polyline class="raw s{number}" points="{_path(spot, points)}"/>')
            parts.append(f'<polyline class="line s{number}" points="{_path(spot, smoothed(points))}"/>')
            continue
        parts.append(f'<polyline class="line s{number}" points="{_path(spot, points)}"/>')
        for iteration, value in points:
            x, y = spot(iteration, value)
            title = escape(f"{name}, iteration {iteration}: {value:.4g}")
            parts.append(f'<circle class="s{number}" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{title}</title></circle>')
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def arrows_svg(label: str, arrows: Sequence[tuple[AffectPoint, AffectPoint]], *, key: str) -> str:
    """An arrow from each target to what came out. `key` tells the planes of a page apart."""
    size = SIDE + 2 * MARGIN
    parts = [
        f'<defs><marker id="{key}tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
        f'orient="auto-start-reverse"><path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>',
        plane_ground(key),
        *emotion_words(),
    ]
    for target, result in arrows:
        (x1, y1), (x2, y2) = place(target), place(result)
        title = (
            f"asked for V {target.valence:.1f} A {target.arousal:.1f}, "
            f"became V {result.valence:.1f} A {result.arousal:.1f}"
        )
        parts.append(
            f'<g class="arrow"><line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'marker-end="url(#{key}tip)"/><circle cx="{x1:.1f}" cy="{y1:.1f}" r="4"/><title>{title}</title></g>'
        )
    box = f'viewBox="0 0 {size} {size}" role="img" aria-label="{escape(label)}"'
    return f'<svg class="targets" {box}>{"".join(parts)}</svg>'


def bounds(values: Sequence[float]) -> tuple[float, float]:
    """The axis for these values: from 0 where that loses little, with some room above and never empty."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    if 0 <= low <= 0.6 * high:
        low = 0.0
    room = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    return low - (0 if low == 0 else room), high + room


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high, three to six of them."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * size for size in (1, 2, 2.5, 5, 10) if power * size >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(step * i, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def smoothed(points: Points) -> list[tuple[int, float]]:
    """Running mean that looks back over about a tenth of the points."""
    weight = 2 / (len(points) / 10 + 1)
    values = accumulate((value for _, value in points), lambda mean, value: mean + weight * (value - mean))
    return [(iteration, mean) for (iteration, _), mean in zip(points, values, strict=True)]


def _path(spot: Callable[[float, float], tuple[float, float]], points: Points) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in (spot(i, value) for i, value in points if math.isfinite(value)))
