"""Where on the plane a way misses: one map a way, every target's error as the color of its place."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, distance
from emofeedback_trainer.core.legible import legible
from emofeedback_trainer.evaluation.generation import Witnessed
from emofeedback_trainer.evaluation.metrics import Array

_SIDE = int(SCALE_MAX - SCALE_MIN) + 1
"""Cells a side: one for every whole number of the scale."""
_PAPER, _INK, _SOFT = "#faf8f4", "#22252a", "#6a6e76"


def error_map(pictures: Sequence[Witnessed]) -> Array:
    """Mean |dV| + |dA| by the witness, shape (9, 9): row is the target's arousal, column its valence, 1 to 9, rounded.

    NaN where there was no target.
    """
    total, count = np.zeros((_SIDE, _SIDE)), np.zeros((_SIDE, _SIDE))
    for one in pictures:
        place = (round(one.target.arousal - SCALE_MIN), round(one.target.valence - SCALE_MIN))
        total[place] += distance(one.seen, one.target)
        count[place] += 1
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def draw_error_maps(ways: Mapping[str, Sequence[Witnessed]]) -> bytes:
    """A PNG of the maps side by side, on one scale of colors."""
    maps = {name: error_map(pictures) for name, pictures in ways.items()}
    largest = max(float(np.nanmax(one)) for one in maps.values())
    picture = Figure(figsize=(3.1 * len(maps) + 1.1, 3.9), dpi=110, facecolor=_PAPER, layout="constrained")
    FigureCanvasAgg(picture)
    axes = picture.subplots(1, len(maps), squeeze=False, sharey=True)[0]
    edge = (SCALE_MIN - 0.5, SCALE_MAX + 0.5)
    for axis, (name, errors) in zip(axes, maps.items(), strict=True):
        axis.set_facecolor("#efece4")
        colors = axis.imshow(errors, origin="lower", extent=(*edge, *edge), cmap="magma_r", vmin=0, vmax=largest)
        mean = np.mean([distance(one.seen, one.target) for one in ways[name]])
        title, font = legible(name)
        title += f"\nmean error {mean:.2f}"
        axis.set_title(title, color=_INK, fontproperties=font, fontsize=11, parse_math=False)
        axis.set_xlabel("valence asked for", color=_SOFT)
        axis.set_xticks(range(1, 10), labels=[str(level) for level in range(1, 10)], color=_SOFT)
        axis.tick_params(colors=_SOFT, length=0)
        for spine in axis.spines.values():
            spine.set_visible(False)
    axes[0].set_ylabel("arousal asked for", color=_SOFT)
    axes[0].set_yticks(range(1, 10))
    bar = picture.colorbar(colors, ax=list(axes), label="|dV| + |dA| by the independent witness", shrink=0.85)
    bar.outline.set_visible(False)
    file = io.BytesIO()
    picture.savefig(file, format="png", facecolor=_PAPER)
    return file.getvalue()
