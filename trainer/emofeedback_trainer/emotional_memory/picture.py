"""What is in a memory, drawn over the plane: a picture of each cell, how many it has, and where the judge is off."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN
from emofeedback_trainer.emotional_memory.balance import CELLS, PER_CELL, cell, reliability
from emofeedback_trainer.emotional_memory.entries import Entry
from emofeedback_trainer.emotional_memory.measuring import points
from emofeedback_trainer.emotional_memory.store import Memory

_SIDE = (SCALE_MAX - SCALE_MIN) / CELLS
_THUMBNAIL = 96
_PAPER, _INK, _SOFT = "#faf8f4", "#22252a", "#6a6e76"


def draw_memory(memory: Memory, picture_of: Callable[[Entry], bytes]) -> bytes:
    """A PNG: left the most reliable picture of each cell, right the counts with an arrow from the labels' mean to the
    judge's.

    Args:
        memory: with entries in its split `train`.
        picture_of: the PNG of an entry.
    """
    cells: defaultdict[tuple[int, int], list[Entry]] = defaultdict(list)
    entries = memory.of("train")
    for entry in entries:
        cells[cell(entry.label)].append(entry)
    picture = Figure(figsize=(13, 7.2), dpi=110, facecolor=_PAPER, layout="constrained")
    FigureCanvasAgg(picture)
    left, right = picture.subplots(1, 2)
    for place, inside in cells.items():
        best = max(inside, key=reliability)
        thumbnail = Image.open(io.BytesIO(picture_of(best))).convert("RGB").resize((_THUMBNAIL, _THUMBNAIL))
        left.imshow(np.asarray(thumbnail), extent=_extent(place), origin="upper")
    policies = ", ".join(dict.fromkeys(entry.policy for entry in entries))
    _frame(left, f"the memory's {len(entries):,} pictures, the most reliable of each cell")
    counts = np.zeros((CELLS, CELLS))
    for (column, row), inside in cells.items():
        counts[row, column] = len(inside)
    edge = (SCALE_MIN, SCALE_MAX)
    right.imshow(counts, extent=(*edge, *edge), origin="lower", cmap="YlGnBu", vmin=0, vmax=PER_CELL, alpha=0.6)
    for (column, row), inside in cells.items():
        x, y = (SCALE_MIN + (place + 0.5) * _SIDE for place in (column, row))
        right.text(x, y + 0.3 * _SIDE, str(len(inside)), color=_INK, fontsize=8, ha="center", va="center")
        means = (points([getattr(entry, name) for entry in inside]).mean(axis=0) for name in ("label", "judged"))
        start, end = means
        right.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "#b03a2e", "lw": 1})
    _frame(right, f"pictures a cell (at most {PER_CELL}); arrows: from the labels to the judge\npainted by {policies}")
    file = io.BytesIO()
    picture.savefig(file, format="png", facecolor=_PAPER)
    return file.getvalue()


def _extent(place: tuple[int, int]) -> tuple[float, float, float, float]:
    left, bottom = (SCALE_MIN + index * _SIDE for index in place)
    return left, left + _SIDE, bottom, bottom + _SIDE


def _frame(axes: Axes, title: str) -> None:
    axes.set_title(title, color=_INK, fontsize=11, parse_math=False)
    axes.set(xlim=(SCALE_MIN, SCALE_MAX), ylim=(SCALE_MIN, SCALE_MAX), aspect="equal", facecolor="#efece4")
    axes.set_xlabel("valence", color=_SOFT)
    axes.set_ylabel("arousal", color=_SOFT)
    axes.tick_params(colors=_SOFT, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
