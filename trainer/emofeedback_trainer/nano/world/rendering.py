"""Pictures of nano scenes: sky, place, weather and light here, subjects in `figures.py`, extras in `props.py`.

Everything is drawn at twice the size and averaged down, which smooths the edges. Lengths are in percent of the picture.
"""

import math
import random
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from emofeedback_trainer.nano.world import props
from emofeedback_trainer.nano.world import subjects as figures
from emofeedback_trainer.nano.world.brush import Brush, Color, shade
from emofeedback_trainer.nano.world.scenes import Scene

PICTURE_SIZE = 256
"""Pixels a side of what the embedded generator paints."""
_OVERSAMPLING = 2


@dataclass(frozen=True, kw_only=True)
class Atmosphere:
    """What a weather does to a picture: its sky, the light on things, and the haze over distant ones."""

    top: Color
    bottom: Color
    ambient: tuple[float, float, float]  # factors on the colors of everything that doesn't glow
    haze: float = 0.0  # 0..1, how much of the sky's lower color lies over the land


ATMOSPHERES = {
    "sunny": Atmosphere(top=(58, 146, 235), bottom=(190, 230, 255), ambient=(1.06, 1.04, 0.98)),
    "cloudy": Atmosphere(top=(128, 142, 158), bottom=(196, 202, 208), ambient=(0.82, 0.84, 0.87), haze=0.12),
    "foggy": Atmosphere(top=(190, 195, 198), bottom=(216, 219, 220), ambient=(0.86, 0.88, 0.9), haze=0.6),
    "rainy": Atmosphere(top=(70, 84, 104), bottom=(128, 142, 158), ambient=(0.64, 0.69, 0.78), haze=0.18),
    "stormy": Atmosphere(top=(24, 20, 46), bottom=(88, 74, 118), ambient=(0.54, 0.5, 0.66), haze=0.06),
    "snowy": Atmosphere(top=(142, 176, 208), bottom=(222, 233, 243), ambient=(0.94, 0.97, 1.03), haze=0.12),
    "sunset": Atmosphere(top=(112, 66, 140), bottom=(255, 166, 92), ambient=(1.0, 0.78, 0.66), haze=0.14),
    "night": Atmosphere(top=(8, 12, 40), bottom=(34, 46, 92), ambient=(0.46, 0.5, 0.7)),
    "aurora": Atmosphere(top=(8, 22, 46), bottom=(26, 74, 92), ambient=(0.5, 0.66, 0.68)),
}
_SNOW: Color = (236, 241, 248)


@dataclass(frozen=True, kw_only=True)
class Grade:
    """What a light does to the finished picture."""

    gains: tuple[float, float, float]
    contrast: float
    saturation: float
    lift: float = 0.0  # added to every channel, of 255


_GRADES = {
    "golden": Grade(gains=(1.18, 1.0, 0.66), contrast=1.0, saturation=1.05),
    "vivid": Grade(gains=(1.04, 1.02, 1.04), contrast=1.2, saturation=1.7),
    "pale": Grade(gains=(1.0, 1.0, 1.0), contrast=0.55, saturation=0.4, lift=48.0),
    "dim": Grade(gains=(0.62, 0.63, 0.68), contrast=0.85, saturation=0.75),
    "red": Grade(gains=(1.15, 0.5, 0.46), contrast=1.1, saturation=1.0),
    "sickly": Grade(gains=(0.82, 1.08, 0.45), contrast=0.95, saturation=0.85),
}


def render(scene: Scene, size: int = PICTURE_SIZE) -> Image.Image:
    """The picture of a scene, RGB, size x size pixels; the same scene gives the same pixels."""
    rng = random.Random(scene.layout)
    weather = ATMOSPHERES[scene.weather]
    horizon = 56.0 + rng.uniform(-2.5, 2.5)
    luminary = (80.0 + rng.uniform(-5, 5), 17.0 + rng.uniform(-3, 3))
    if scene.weather == "sunset":
        luminary = (100.0 - luminary[0], horizon - 8.0)
    brush = Brush(_sky(scene.weather, size * _OVERSAMPLING, horizon, luminary, rng), weather.ambient)
    _draw_sky(brush, scene.weather, luminary, rng)
    if "rainbow" in scene.extras:
        props.rainbow(brush, rng)
    brush.haze = (weather.bottom, weather.haze)
    _draw_place(brush, scene, horizon, rng)
    if scene.weather == "stormy":
        _lightning(brush, rng)
    brush.haze = (weather.bottom, weather.haze * 0.4)
    props.draw_behind(brush, scene, rng)
    figures.draw_subject(brush, scene, rng)
    props.draw_in_front(brush, scene, rng)
    brush.haze = (weather.bottom, 0.0)
    _draw_precipitation(brush, scene.weather, rng)
    return _graded(brush.image.reduce(_OVERSAMPLING), scene.light)


@lru_cache(maxsize=8)
def _axes(side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    axis = (np.arange(side, dtype=np.float32) + 0.5) * (100.0 / side)
    return axis[None, :], axis[:, None]


@lru_cache(maxsize=8)
def _glow(side: int) -> NDArray[np.float32]:
    """A soft disc in the middle of a canvas twice the side, of which a window is cut."""
    x, y = _axes(side * 2)
    squared = (2 * x - 100.0) ** 2 + (2 * y - 100.0) ** 2
    return np.asarray(np.exp(-squared / (2 * 16.0**2)), dtype=np.float32)


_GLOWS: dict[str, Color] = {"sunny": (120, 100, 20), "sunset": (130, 90, 10), "night": (60, 62, 60)}


def _sky(weather: str, side: int, horizon: float, luminary: tuple[float, float], rng: random.Random) -> Image.Image:
    atmosphere = ATMOSPHERES[weather]
    x, y = _axes(side)
    t = np.clip(y / horizon, 0.0, 1.0)[..., None]
    gradient = np.asarray(atmosphere.top, np.float32) * (1 - t) + np.asarray(atmosphere.bottom, np.float32) * t
    sky: NDArray[np.float32] = np.broadcast_to(gradient, (side, side, 3))
    if weather == "aurora":
        phase = rng.uniform(0, math.tau)
        for middle, color in ((24.0, (30, 225, 120)), (38.0, (120, 80, 215))):
            ridge = middle + 6.0 * np.sin(x / 13.0 + phase) + 2.5 * np.sin(x / 6.0 - phase)
            band = np.where(y < ridge, np.exp((y - ridge) / 9.0), np.exp(-((y - ridge) ** 2) / 5.0))
            sky = sky + band[..., None] * np.asarray(color, np.float32)
    elif weather in _GLOWS:
        left, top = (round((1.0 - at / 100.0) * side) for at in luminary)
        sky = sky + _glow(side)[top : top + side, left : left + side, None] * np.asarray(_GLOWS[weather], np.float32)
    return Image.fromarray(np.clip(sky, 0, 255).astype(np.uint8))


def _draw_sky(brush: Brush, weather: str, luminary: tuple[float, float], rng: random.Random) -> None:
    if weather in ("night", "aurora"):
        for _ in range(22):
            size = rng.uniform(0.35, 0.8)
            brush.ellipse(rng.uniform(0, 100), rng.uniform(0, 52), size, size, (235, 238, 255), lit=True)
    if weather == "sunny":
        brush.ellipse(*luminary, 9.0, 9.0, (255, 236, 120), lit=True)
        brush.ellipse(*luminary, 7.6, 7.6, (255, 222, 60), lit=True)
    elif weather == "sunset":
        brush.ellipse(*luminary, 12.0, 12.0, (255, 214, 110), lit=True)
        brush.ellipse(*luminary, 10.5, 10.5, (255, 128, 58), lit=True)
    elif weather == "night":
        brush.ellipse(*luminary, 8.0, 8.0, (240, 238, 212), lit=True)
        brush.ellipse(luminary[0] - 2.4, luminary[1] - 1.6, 1.8, 1.8, (214, 212, 190), lit=True)
        brush.ellipse(luminary[0] + 2.2, luminary[1] + 2.4, 1.3, 1.3, (214, 212, 190), lit=True)
    clouds = {"sunny": 1, "cloudy": 4, "rainy": 3, "stormy": 3, "snowy": 2, "sunset": 2}.get(weather, 0)
    tone: Color = {
        "sunny": (250, 252, 255),
        "cloudy": (228, 231, 235),
        "rainy": (88, 98, 114),
        "stormy": (46, 40, 66),
        "snowy": (232, 238, 244),
        "sunset": (236, 140, 128),
    }.get(weather, (255, 255, 255))
    for i in range(clouds):
        x = 14.0 + i * 72.0 / max(1, clouds - 1) + rng.uniform(-6, 6)
        y = rng.uniform(6, 13) + (7 if i % 2 else 0)
        for dx, dy, r in ((-8, 1.6, 5.0), (0, -0.8, 7.0), (8, 1.6, 5.4)):
            brush.ellipse(x + dx, y + dy, r * 1.25, r * 0.85, shade(tone, 1.0 - 0.04 * (dx > 0)), lit=True)


def _lightning(brush: Brush, rng: random.Random) -> None:
    """A bolt beside the subject, before everything that stands in the distance."""
    x = rng.choice((17.0, 83.0)) + rng.uniform(-4, 4)
    path = [(x, 0.0)]
    path += [(x + (5.0 if step % 2 else -4.0) + rng.uniform(-1.5, 1.5), step * 11.0) for step in range(1, 6)]
    brush.line(path, (176, 160, 255), 3.6, lit=True)
    brush.line(path, (255, 252, 225), 1.8, lit=True)


def _draw_precipitation(brush: Brush, weather: str, rng: random.Random) -> None:
    if weather in ("rainy", "stormy"):
        color: Color = (176, 196, 220) if weather == "rainy" else (140, 146, 190)
        for i in range(42):
            x, y = (i % 7) * 16.0 + rng.uniform(-6, 10), (i // 7) * 17.0 + rng.uniform(-7, 7)
            brush.line(((x, y), (x - 2.0, y + 7.0)), color, 0.55, lit=True)
    elif weather == "snowy":
        for i in range(42):
            x, y = (i % 7) * 16.0 + rng.uniform(-6, 10), (i // 7) * 17.0 + rng.uniform(-7, 7)
            size = rng.uniform(0.8, 1.35)
            brush.ellipse(x, y, size, size, (255, 255, 255), lit=True)


def _draw_place(brush: Brush, scene: Scene, horizon: float, rng: random.Random) -> None:
    snow = scene.weather == "snowy"
    painter = {
        "meadow": _meadow,
        "forest": _forest,
        "beach": _beach,
        "mountains": _mountains,
        "city": _city,
        "desert": _desert,
        "lake": _lake,
        "ruins": _ruins,
    }[scene.place]
    painter(brush, horizon, rng, snow)


def _ground(brush: Brush, horizon: float, color: Color) -> None:
    """The land from the horizon down, darker towards the viewer."""
    steps = 8
    for i in range(steps):
        top = horizon + (100.0 - horizon) * i / steps
        brush.box(0, top, 100, 100, shade(color, 1.06 - 0.035 * i))


def _wave(y: float, height: float, length: float, phase: float) -> list[tuple[float, float]]:
    """A rolling skyline down to the lower edge, as a polygon."""
    line = [(x, y - height * math.sin(x / length + phase)) for x in range(0, 105, 5)]
    return [*line, (100.0, 100.0), (0.0, 100.0)]


def _meadow(brush: Brush, horizon: float, rng: random.Random, snow: bool) -> None:
    phase = rng.uniform(0, math.tau)
    brush.polygon(_wave(horizon - 3, 5, 14, phase), _SNOW if snow else (126, 190, 92))
    _ground(brush, horizon + 4, shade(_SNOW, 0.96) if snow else (92, 170, 70))
    for i in range(8):
        x, y = i * 13.0 + rng.uniform(-2, 6), horizon + 10 + (i % 3) * 12
        tone = (190, 200, 205) if snow else (62, 138, 54)
        brush.polygon(((x, y), (x + 1.2, y - 4), (x + 2.0, y), (x + 3.2, y - 3), (x + 3.6, y)), tone)


def _forest(brush: Brush, horizon: float, rng: random.Random, snow: bool) -> None:
    for depth, (tone, height, step) in enumerate((((60, 118, 88), 34, 11.0), ((32, 88, 58), 27, 15.0))):
        for i in range(int(110 / step)):
            x = i * step + rng.uniform(-1.5, 1.5) + depth * 4
            top = horizon + 2 - height + rng.uniform(-3, 3)
            for layer in range(3):
                y, half = top + layer * height * 0.25, 3.4 + layer * 1.9
                color = _SNOW if snow and layer < 2 and depth else tone
                brush.polygon(((x, y), (x - half, y + height * 0.5), (x + half, y + height * 0.5)), color)
    _ground(brush, horizon, shade(_SNOW, 0.94) if snow else (70, 112, 56))


def _beach(brush: Brush, horizon: float, rng: random.Random, snow: bool) -> None:
    brush.box(0, horizon - 6, 100, 100, (44, 130, 190))
    for i in range(5):
        x, y = rng.uniform(0, 85), horizon - 4 + i * 2.6
        brush.line(((x, y), (x + 12, y)), (150, 206, 232), 0.8)
    brush.polygon(_wave(horizon + 10, 1.6, 10, rng.uniform(0, 6)), (236, 246, 250))
    _ground(brush, horizon + 13, _SNOW if snow else (238, 214, 150))
    x = 8.0 + rng.uniform(-2, 2)
    brush.line(((x, horizon + 18), (x + 1.5, horizon - 2), (x + 4, horizon - 20)), (128, 92, 56), 2.6)
    for angle in (-2.9, -2.2, -1.0, -0.3, 0.4, 2.6):
        tip = (x + 4 + 13 * math.cos(angle), horizon - 20 + 9 * math.sin(angle) + 3)
        brush.line(((x + 4, horizon - 20), tip), _SNOW if snow else (46, 134, 66), 2.6)


def _mountains(brush: Brush, horizon: float, rng: random.Random, snow: bool) -> None:
    peaks: tuple[tuple[float, float, float, Color], ...] = (
        (20, 22, 36, (126, 132, 164)),
        (82, 16, 42, (110, 116, 150)),
        (50, 32, 34, (92, 98, 132)),
    )
    for x, top, half, tone in peaks:
        x, top = x + rng.uniform(-4, 4), top + rng.uniform(-3, 3)
        brush.polygon(((x, top), (x - half, horizon + 2), (x + half, horizon + 2)), tone)
        brush.polygon(((x, top), (x + half * 0.2, horizon + 2), (x + half, horizon + 2)), shade(tone, 0.86))
        k = 0.3 if not snow else 0.55
        cap = top + (horizon - top) * k
        brush.polygon(
            (
                (x, top),
                (x - half * k, cap),
                (x - half * k * 0.3, cap - 4),
                (x + half * k * 0.3, cap + 2),
                (x + half * k, cap),
            ),
            _SNOW,
        )
    _ground(brush, horizon, shade(_SNOW, 0.95) if snow else (104, 150, 92))


def _city(brush: Brush, horizon: float, rng: random.Random, snow: bool) -> None:
    for i in range(8):
        x, top = i * 13.0 - 2, horizon - (18, 30, 24, 38, 22, 34, 27, 20)[(i * 3 + rng.randrange(8)) % 8]
        tone = ((96, 104, 122), (118, 110, 116), (80, 92, 116))[i % 3]
        brush.box(x, top, x + 11.5, horizon + 1, tone)
        if snow:
            brush.box(x, top - 1, x + 11.5, top + 1.5, _SNOW)
        for row in range(int((horizon - top) / 7)):
            for column in range(2):
                window: Color = (255, 226, 140) if rng.random() < 0.55 else shade(tone, 0.7)
                left, up = x + 2.2 + column * 4.6, top + 3 + row * 7
                brush.box(left, up, left + 2.4, up + 3.2, window, lit=window[0] == 255)
    _ground(brush, horizon, shade(_SNOW, 0.93) if snow else (132, 132, 138))
    for y in (horizon + 12, horizon + 30):
        for i in range(4):
            brush.box(6 + i * 27, y, 18 + i * 27, y + 1.5, (206, 204, 190))


def _desert(brush: Brush, horizon: float, rng: random.Random, snow: bool) -> None:
    phase = rng.uniform(0, math.tau)
    brush.polygon(_wave(horizon - 2, 5, 17, phase), _SNOW if snow else (226, 178, 108))
    brush.polygon(_wave(horizon + 7, 4, 21, phase + 2), shade(_SNOW, 0.93) if snow else (214, 160, 90))
    _ground(brush, horizon + 13, shade(_SNOW, 0.97) if snow else (222, 172, 100))
    for x, height in ((10 + rng.uniform(-2, 2), 26.0), (91 + rng.uniform(-2, 2), 18.0)):
        green, foot = (72, 132, 76), horizon + 12.0
        brush.box(x - 2.2, foot - height, x + 2.2, foot, green, round_by=2.2)
        brush.line(((x, foot - height * 0.4), (x - 6, foot - height * 0.4), (x - 6, foot - height * 0.7)), green, 2.8)
        brush.line(((x, foot - height * 0.3), (x + 6, foot - height * 0.3), (x + 6, foot - height * 0.6)), green, 2.8)
        if snow:
            brush.ellipse(x, foot - height, 2.4, 1.6, _SNOW)


def _lake(brush: Brush, horizon: float, rng: random.Random, snow: bool) -> None:
    brush.polygon(_wave(horizon - 6, 3, 11, rng.uniform(0, 6)), _SNOW if snow else (84, 142, 104))
    for i in range(7):
        y = horizon + i * 5
        brush.box(0, y, 100, 100, shade((70, 142, 186), 1.14 - 0.05 * i))
    for i in range(9):
        x, y = rng.uniform(-4, 92), horizon + 3 + i * 3.6
        brush.line(((x, y), (x + 12, y)), (158, 204, 226), 0.9)
    brush.ellipse(50, 99, 60, 15, _SNOW if snow else (108, 164, 84))


def _ruins(brush: Brush, horizon: float, rng: random.Random, snow: bool) -> None:
    stone, dark = (150, 142, 132), (118, 110, 104)
    brush.polygon(_wave(horizon - 1, 3, 16, rng.uniform(0, 6)), _SNOW if snow else (128, 122, 106))
    for i, x in enumerate((6.0, 22.0, 76.0, 92.0)):
        x, top = x + rng.uniform(-2, 2), horizon - (36, 22, 28, 40)[i] + rng.uniform(-4, 4)
        brush.box(x - 4, top, x + 4, horizon + 6, stone)
        brush.box(x + 1, top, x + 4, horizon + 6, dark)
        brush.polygon(((x - 4, top), (x - 2, top - 5), (x, top - 1), (x + 2.5, top - 4), (x + 4, top)), stone)
        if snow:
            brush.ellipse(x, top, 4, 1.6, _SNOW)
    brush.box(2, horizon - 27, 26, horizon - 23, dark)
    _ground(brush, horizon + 4, shade(_SNOW, 0.92) if snow else (122, 114, 98))
    for i in range(6):
        x, y = i * 18 + rng.uniform(0, 8), horizon + 10 + (i % 3) * 10
        brush.polygon(((x, y), (x + 2, y - 3), (x + 6, y - 2), (x + 7, y + 1)), stone)


def _graded(image: Image.Image, light: str) -> Image.Image:
    if not light:
        return image
    grade = _GRADES[light]
    pixels = np.asarray(image, np.float32)
    gray = pixels.mean(axis=2, keepdims=True)
    pixels = (gray + (pixels - gray) * grade.saturation - 128.0) * grade.contrast + (128.0 + grade.lift)
    pixels = pixels * np.asarray(grade.gains, np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
