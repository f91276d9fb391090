"""Pictures of nano scenes: sky, place and weather here, subjects and extras in `figures.py`.

Everything is drawn at twice the size and averaged down, which smooths the edges. Lengths are in percent of the picture.
"""

import random
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from emofeedback_trainer.nano import figures
from emofeedback_trainer.nano.brush import Brush, Color
from emofeedback_trainer.nano.scenes import Scene

_OVERSAMPLING = 2


@dataclass(frozen=True, kw_only=True)
class Atmosphere:
    """What a weather does to a picture: its sky, the light on things, and the haze over distant ones."""

    top: Color
    bottom: Color
    ambient: tuple[float, float, float]  # factors on the colors of everything that doesn't glow
    haze: float = 0.0  # 0..1, how much of the sky's lower color lies over the land
    snow: bool = False


ATMOSPHERES = {
    "sunny": Atmosphere(top=(58, 146, 235), bottom=(190, 230, 255), ambient=(1.06, 1.04, 0.98)),
    "cloudy": Atmosphere(top=(128, 142, 158), bottom=(196, 202, 208), ambient=(0.82, 0.84, 0.87), haze=0.12),
    "foggy": Atmosphere(top=(186, 192, 196), bottom=(216, 219, 220), ambient=(0.86, 0.88, 0.9), haze=0.55),
    "rainy": Atmosphere(top=(70, 84, 104), bottom=(128, 142, 158), ambient=(0.64, 0.69, 0.78), haze=0.18),
    "stormy": Atmosphere(top=(24, 20, 46), bottom=(84, 72, 112), ambient=(0.5, 0.48, 0.62), haze=0.08),
    "snowy": Atmosphere(top=(142, 176, 208), bottom=(222, 233, 243), ambient=(0.94, 0.97, 1.03), haze=0.12, snow=True),
    "sunset": Atmosphere(top=(112, 66, 140), bottom=(255, 166, 92), ambient=(1.0, 0.78, 0.66), haze=0.14),
    "night": Atmosphere(top=(8, 12, 40), bottom=(34, 46, 92), ambient=(0.42, 0.46, 0.66)),
    "aurora": Atmosphere(top=(8, 22, 46), bottom=(26, 74, 92), ambient=(0.46, 0.64, 0.66)),
}

# Factors per channel, contrast around the middle, and saturation.
_GRADES: dict[str, tuple[tuple[float, float, float], float, float]] = {
    "golden": ((1.16, 1.0, 0.7), 1.0, 1.05),
    "vivid": ((1.04, 1.02, 1.04), 1.22, 1.6),
    "pale": ((1.0, 1.0, 1.0), 0.55, 0.45),
    "dim": ((0.5, 0.52, 0.58), 0.9, 0.8),
    "red": ((1.15, 0.52, 0.48), 1.1, 1.0),
    "sickly": ((0.82, 1.08, 0.5), 0.95, 0.85),
}
_LIFTS = {"pale": 52.0}


def render(scene: Scene, size: int = 128) -> Image.Image:
    """The picture of a scene, RGB, size x size pixels; the same scene gives the same pixels."""
    rng = random.Random(scene.layout)
    weather = ATMOSPHERES[scene.weather]
    horizon = 56.0 + rng.uniform(-2.5, 2.5)
    brush = Brush(_sky(scene, size * _OVERSAMPLING, horizon, rng), weather.ambient)
    _draw_sky_details(brush, scene, rng)
    figures.draw_sky_extras(brush, scene, rng)
    brush.haze = (weather.bottom, weather.haze)
    _draw_place(brush, scene.place, horizon, rng, weather.snow)
    brush.haze = (weather.bottom, weather.haze * 0.45)
    figures.draw_ground_extras(brush, scene, rng)
    figures.draw_subject(brush, scene, rng)
    figures.draw_front_extras(brush, scene, rng)
    _draw_precipitation(brush, scene.weather, rng)
    return _graded(brush.image.reduce(_OVERSAMPLING), scene.light)


@lru_cache(maxsize=8)
def _grid(side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    axis = (np.arange(side, dtype=np.float32) + 0.5) * (100.0 / side)
    return axis[None, :], axis[:, None]


@lru_cache(maxsize=8)
def _glow(side: int) -> NDArray[np.float32]:
    """A soft disc of the canvas' side, 1 in the middle: cut out around a sun or moon."""
    x, y = _grid(side)
    squared = (x - 50.0) ** 2 + (y - 50.0) ** 2
    return np.asarray(np.exp(-squared / (2 * 15.0**2)), dtype=np.float32)


def _sky(scene: Scene, side: int, horizon: float, rng: random.Random) -> Image.Image:
    weather = ATMOSPHERES[scene.weather]
    x, y = _grid(side)
    t = np.clip(y / horizon, 0.0, 1.0)[..., None]
    sky = np.asarray(weather.top, np.float32) * (1 - t) + np.asarray(weather.bottom, np.float32) * t
    sky = np.broadcast_to(sky, (side, side, 3))
    if scene.weather == "aurora":
        phase = rng.uniform(0, 6.28)
        for center, color in ((16.0, (40, 220, 120)), (27.0, (110, 90, 210))):
            ridge = center + 6.0 * np.sin(x / 13.0 + phase) + 3.0 * np.sin(x / 6.0 - phase)
            band = np.where(y < ridge, np.exp(-(ridge - y) / 8.0), np.exp(-((y - ridge) ** 2) / 8.0))
            sky = sky + band[..., None] * np.asarray(color, np.float32)
    elif scene.weather in ("sunny", "sunset", "night"):
        at_x, at_y, color = _luminary(scene.weather, rng, horizon)
        shift = (round((at_y - 50) * side / 100), round((at_x - 50) * side / 100))
        glow = np.roll(_glow(side), shift, axis=(0, 1))
        sky = sky + glow[..., None] * (np.asarray(color, np.float32) * 0.45)
    return Image.fromarray(np.clip(sky, 0, 255).astype(np.uint8))


def _luminary(weather: str, rng: random.Random, horizon: float) -> tuple[float, float, Color]:
    """Where sun or moon stands and its color. Its own seed, so that sky and disc agree."""
    place = random.Random(rng.getstate()[1][0])
    if weather == "sunset":
        return 24.0 + place.uniform(-4, 4), horizon - 9.0, (255, 200, 90)
    if weather == "night":
        return 80.0 + place.uniform(-5, 5), 17.0 + place.uniform(-3, 3), (235, 235, 205)
    return 80.0 + place.uniform(-5, 5), 17.0 + place.uniform(-3, 3), (255, 226, 92)
