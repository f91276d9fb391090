"""A run's curves as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from emofeedback_trainer.judge.folder import JudgeRunFolder, Lines

_CHARTS: Mapping[str, tuple[Lines, Mapping[str, str]]] = {
    "loss": ("metrics", {"loss": "loss"}),
    "rewards of a step": (
        "metrics",
        {
            f"rewards/{name}/mean": name
            for name in ("format", "valence", "arousal", "emotion", "ranking", "dominance", "similarity")
        },
    ),
    "held-out error, points of the 1-9 scale": (
        "eval",
        {
            "valence_mae": "valence, as written",
            "arousal_mae": "arousal, as written",
            "read_valence_mae": "valence, as read",
            "read_arousal_mae": "arousal, as read",
        },
    ),
    "held-out emotion right, replies readable": ("eval", {"accuracy": "emotion", "readable": "readable"}),
    "divergence from the start (KL)": ("metrics", {"kl": "KL"}),
    "length of a reply": ("metrics", {"completions/mean_length": "tokens"}),
}
"""By title: the file, and its keys with their labels. What a run doesn't have is left out."""
_LONG, _WINDOW = 30, 10
"""Points of a line that is smoothed, and steps that are averaged."""


def draw_curves(folder: JudgeRunFolder) -> None:
    """Writes `curves.png`."""
    charts = []
    for title, (name, keys) in _CHARTS.items():
        lines = folder.lines(name)
        series = {label: [(line["step"], line[key]) for line in lines if key in line] for key, label in keys.items()}
        if any(series.values()):
            charts.append((title, {label: points for label, points in series.items() if points}))
    rows = (len(charts) + 1) // 2
    figure = Figure(figsize=(10, 3 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (title, series) in enumerate(charts, 1):
        axes = figure.add_subplot(rows, 2, place)
        for label, points in series.items():
            _draw(axes, label, *zip(*points, strict=True))
        axes.set(title=title, xlabel="step")
        axes.margins(y=0.2)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", ncols=2)
    figure.savefig(folder.path / "curves.png", dpi=100)


def _draw(axes: Axes, label: str, steps: Sequence[int], values: Sequence[float]) -> None:
    """A line; a long one is noise from step to step, so its running mean is drawn over it."""
    if len(values) < _LONG:
        axes.plot(steps, values, label=label, marker=".")
        return
    (line,) = axes.plot(steps, values, alpha=0.25, linewidth=1)
    means = [float(np.mean(values[max(0, end - _WINDOW) : end])) for end in range(1, len(values) + 1)]
    axes.plot(steps, means, label=f"{label} (mean of {_WINDOW})", color=line.get_color())
