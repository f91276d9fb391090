"""The valence-arousal plane as one picture: each cell an image near its target, valence right, arousal up."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, AffectPoint, distance
from emofeedback.domain.png import is_marked_synthetic, marked_synthetic
from emofeedback.runs.lettering import letters

_TILE = 160
_GAP = 10
_CAPTION = 22
_LEFT, _TOP, _RIGHT, _BOTTOM = 96, 96, 36, 76
_PAPER, _INK, _SOFT, _LINE = "#faf8f4", "#22252a", "#6a6e76", "#d8d3c8"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What stands at one place of the plane."""

    image: bytes
    judged: AffectPoint


def grid_targets(grid: int) -> list[float]:
    """Centers of `grid` equal parts of the 1-9 scale, from low to high."""
    return [SCALE_MIN + (index + 0.5) * (SCALE_MAX - SCALE_MIN) / grid for index in range(grid)]


def share_out(
    targets: Mapping[tuple[int, int], AffectPoint], images: Sequence[AffectPoint]
) -> dict[tuple[int, int], int]:
    """Which image stands in which cell: the nearest pairs first, no image in two cells.

    Args:
        targets: of the cells.
        images: where on the plane the judge put each.

    Returns:
        Index of each cell's image; a cell is missing where there are too few images.
    """
    pairs = sorted(
        (distance(point, target), place, index)
        for place, target in targets.items()
        for index, point in enumerate(images)
    )
    shares: dict[tuple[int, int], int] = {}
    taken: set[int] = set()
    for _, place, index in pairs:
        if place not in shares and index not in taken:
            shares[place] = index
            taken.add(index)
    return shares


def draw_plane(prompt: str, grid: int, cells: Mapping[tuple[int, int], Cell]) -> bytes:
    """A PNG of the plane.

    Args:
        prompt: its title.
        grid: cells a side.
        cells: by column (valence) and row (arousal), both counted from the low end; missing ones stay empty.
    """
    side = grid * _TILE + (grid - 1) * _GAP
    height = grid * (_TILE + _CAPTION) + (grid - 1) * _GAP
    picture = Image.new("RGB", (_LEFT + side + _RIGHT, _TOP + height + _BOTTOM), _PAPER)
    pen = ImageDraw.Draw(picture)
    _write_title(pen, prompt, picture.width)
    for column, valence in enumerate(grid_targets(grid)):
        x = _LEFT + column * (_TILE + _GAP)
        pen.text((x + _TILE / 2, _TOP + height + 8), f"{valence:.1f}", _SOFT, _font(14), anchor="mt")
        for row, arousal in enumerate(grid_targets(grid)):
            y = _TOP + (grid - 1 - row) * (_TILE + _CAPTION + _GAP)
            if column == 0:
                pen.text((_LEFT - 12, y + _TILE / 2), f"{arousal:.1f}", _SOFT, _font(14), anchor="rm")
            _paste_cell(picture, pen, (x, y), cells.get((column, row)))
    _write_axes(picture, pen, side, height)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    painted = any(is_marked_synthetic(cell.image) for cell in cells.values())
    return marked_synthetic(file.getvalue()) if painted else file.getvalue()


def _paste_cell(picture: Image.Image, pen: ImageDraw.ImageDraw, corner: tuple[int, int], cell: Cell | None) -> None:
    """The image with rounded corners, and under it what the judge felt."""
    x, y = corner
    box = (x, y, x + _TILE - 1, y + _TILE - 1)
    if cell is None:
        pen.rounded_rectangle(box, 8, outline=_LINE)
        return
    tile = Image.open(io.BytesIO(cell.image)).convert("RGB").resize((_TILE, _TILE), Image.Resampling.LANCZOS)
    # The mask is drawn four times as large, so that its corners are smooth.
    mask = Image.new("L", (_TILE * 4, _TILE * 4))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, _TILE * 4 - 1, _TILE * 4 - 1), 32, fill=255)
    picture.paste(tile, corner, mask.resize((_TILE, _TILE)))
    felt = f"V {cell.judged.valence:.1f}   A {cell.judged.arousal:.1f}"
    pen.text((x + _TILE / 2, y + _TILE + 5), felt, _SOFT, _font(12), anchor="mt")


def _write_title(pen: ImageDraw.ImageDraw, prompt: str, width: int) -> None:
    """The prompt, cut where it would leave the picture."""
    prompt, font = letters(" ".join(prompt.split()), 26)
    title = prompt
    while pen.textlength(title, font) > width - _LEFT - _RIGHT:
        prompt = prompt[:-1]
        title = prompt.rstrip() + " ..."
    pen.text((_LEFT, 26), title, _INK, font)
    pen.text((_LEFT, 62), "under each image what the judge felt", _SOFT, _font(14))


def _write_axes(picture: Image.Image, pen: ImageDraw.ImageDraw, side: int, height: int) -> None:
    """Names of the axes and of their ends, each along an arrow."""
    bottom = picture.height - 34
    _arrow_axis(pen, (_LEFT, bottom), side, ("unpleasant", "valence", "pleasant"))
    upright = Image.new("RGB", (height, 40), _PAPER)
    _arrow_axis(ImageDraw.Draw(upright), (0, 14), height, ("calm", "arousal", "stirred"))
    picture.paste(upright.rotate(90, expand=True), (14, _TOP))


def _arrow_axis(pen: ImageDraw.ImageDraw, start: tuple[int, int], length: int, words: tuple[str, str, str]) -> None:
    """An arrow to the right, with words under its tail and its head and the axis's name in its middle."""
    x, y = start
    end = x + length - 2
    pen.line((x, y, end, y), _SOFT)
    pen.line((end - 6, y - 5, end, y, end - 6, y + 5), _SOFT)
    low, name, high = words
    pen.text((x, y + 16), low, _SOFT, _font(14), anchor="lm")
    pen.text((end, y + 16), high, _SOFT, _font(14), anchor="rm")
    middle = (x + length / 2, y)
    pen.rectangle(pen.textbbox(middle, f" {name} ", _font(15), anchor="mm"), _PAPER)
    pen.text(middle, name, _INK, _font(15), anchor="mm")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
