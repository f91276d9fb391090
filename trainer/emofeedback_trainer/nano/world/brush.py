"""A pencil for nano scenes: lengths in percent of the picture, colors under the weather's light and haze."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

Color = tuple[int, int, int]
Point = tuple[float, float]


class Brush:
    """Draws on a picture in percent coordinates (0..100 from the upper left corner).

    Colors pass through the ambient light and the haze; what glows by itself is drawn with `lit=True`.
    """

    def __init__(self, image: Image.Image, ambient: tuple[float, float, float]) -> None:
        self.image = image
        self.ambient = ambient
        self.haze: tuple[Color, float] = ((0, 0, 0), 0.0)
        self._draw = ImageDraw.Draw(image)
        self._scale = image.width / 100.0

    def color(self, color: Color, lit: bool = False) -> Color:
        """The color as it appears in this weather."""
        if lit:
            return color
        (red, green, blue), haze = self.haze
        keep = 1.0 - haze
        return (
            min(255, int(color[0] * self.ambient[0] * keep + red * haze)),
            min(255, int(color[1] * self.ambient[1] * keep + green * haze)),
            min(255, int(color[2] * self.ambient[2] * keep + blue * haze)),
        )

    def ellipse(self, x: float, y: float, rx: float, ry: float, color: Color, *, lit: bool = False) -> None:
        s = self._scale
        self._draw.ellipse(((x - rx) * s, (y - ry) * s, (x + rx) * s, (y + ry) * s), fill=self.color(color, lit))

    def polygon(self, points: Sequence[Point], color: Color, *, lit: bool = False) -> None:
        s = self._scale
        self._draw.polygon([(x * s, y * s) for x, y in points], fill=self.color(color, lit))

    def box(
        self, x0: float, y0: float, x1: float, y1: float, color: Color, *, round_by: float = 0.0, lit: bool = False
    ) -> None:
        s = self._scale
        area = (x0 * s, y0 * s, x1 * s, y1 * s)
        if round_by:
            self._draw.rounded_rectangle(area, radius=round_by * s, fill=self.color(color, lit))
        else:
            self._draw.rectangle(area, fill=self.color(color, lit))

    def line(self, points: Sequence[Point], color: Color, width: float, *, lit: bool = False) -> None:
        s = self._scale
        self._draw.line(
            [(x * s, y * s) for x, y in points],
            fill=self.color(color, lit),
            width=max(1, round(width * s)),
            joint="curve" if len(points) > 2 else None,
        )

    def arc(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        start: float,
        end: float,
        color: Color,
        width: float,
        *,
        lit: bool = False,
    ) -> None:
        """Part of an ellipse's outline, from `start` to `end` degrees clockwise from the right."""
        s = self._scale
        self._draw.arc(
            ((x - rx) * s, (y - ry) * s, (x + rx) * s, (y + ry) * s),
            start,
            end,
            fill=self.color(color, lit),
            width=max(1, round(width * s)),
        )

    def star(self, x: float, y: float, radius: float, rays: int, color: Color, width: float, turn: float) -> None:
        """Glowing rays from a point, with a bead at the end of each."""
        for i in range(rays):
            angle = turn + i * math.tau / rays
            end = (x + radius * math.cos(angle), y + radius * math.sin(angle))
            start = (x + 0.25 * radius * math.cos(angle), y + 0.25 * radius * math.sin(angle))
            self.line((start, end), color, width, lit=True)
            self.ellipse(*end, width * 0.9, width * 0.9, color, lit=True)


def shade(color: Color, factor: float) -> Color:
    """A darker (below 1) or lighter (above 1) tone of the color."""
    return (min(255, int(color[0] * factor)), min(255, int(color[1] * factor)), min(255, int(color[2] * factor)))
