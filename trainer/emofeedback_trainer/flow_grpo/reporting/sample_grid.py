"""A rollout to look at: some of its groups, a row each, with what the judge saw in every picture."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw, ImageFont

from emofeedback.runs.lettering import letters
from emofeedback_trainer.flow_grpo.types import Rollout, ScoredGroup

_ROWS, _COLUMNS = 6, 8
_GAP, _LINE = 6, 15
_SMALLEST, _LARGEST = 96, 192
_PAPER, _INK, _SOFT = "#faf8f4", "#22252a", "#6a6e76"


def sample_grid(rollout: Rollout) -> Image.Image:
    """The first groups of a rollout and the first samples of each, the one nearest to the target on the left."""
    groups = rollout.groups[:_ROWS]
    if not groups:
        return Image.new("RGB", (_LARGEST, _LARGEST), _PAPER)
    columns = min(_COLUMNS, max(len(group.samples) for group in groups))
    side = min(max(_opened(groups[0].samples[0].trajectory.image).width, _SMALLEST), _LARGEST)
    row = _GAP + _LINE + side + _LINE
    grid = Image.new("RGB", (_GAP + columns * (side + _GAP), len(groups) * row + _GAP), _PAPER)
    for index, group in enumerate(groups):
        _draw(grid, group, top=index * row + _GAP, side=side, columns=columns)
    return grid


def _draw(grid: Image.Image, group: ScoredGroup, *, top: int, side: int, columns: int) -> None:
    pen, font = ImageDraw.Draw(grid), ImageFont.load_default(11)
    target = group.condition.target
    title = f"{group.condition.prompt}, asked for V {target.valence:.1f}  A {target.arousal:.1f}"
    title, title_font = letters(" ".join(title.split()), 11)
    pen.text((_GAP, top), title, _INK, title_font)
    samples = sorted(
        group.samples[:columns],
        key=lambda s: abs(s.assessment.valence - target.valence) + abs(s.assessment.arousal - target.arousal),
    )
    for column, sample in enumerate(samples):
        left = _GAP + column * (side + _GAP)
        grid.paste(_opened(sample.trajectory.image).resize((side, side)), (left, top + _LINE))
        seen = f"V {sample.assessment.valence:.1f}  A {sample.assessment.arousal:.1f}"
        pen.text((left, top + _LINE + side + 1), seen, _SOFT, font)


def _opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")
