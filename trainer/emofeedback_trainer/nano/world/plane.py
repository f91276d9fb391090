"""The world as one picture: the valence-arousal plane as a grid of scenes, valence to the right, arousal upwards."""

import numpy as np
from PIL import Image, ImageDraw

from emofeedback.domain.affect import AffectPoint
from emofeedback_trainer.nano.world.rendering import render
from emofeedback_trainer.nano.world.scenes import PLACES, SUBJECTS, affect, scene_near

_TILE = 128
_GAP = 4


def world_picture(levels: tuple[float, ...] = (1.5, 2.7, 3.8, 5.0, 6.2, 7.3, 8.5), *, seed: int = 0) -> Image.Image:
    """Scenes near the points of a grid over the plane; each tile tells the scene's true valence and arousal."""
    rng = np.random.default_rng(seed)
    side = len(levels) * (_TILE + _GAP) + _GAP
    picture = Image.new("RGB", (side, side), (250, 250, 250))
    draw = ImageDraw.Draw(picture)
    count = len(levels)
    for row, arousal in enumerate(reversed(levels)):
        for column, valence in enumerate(levels):
            # Steps of 5 and 3 have no factor in common with 12 subjects and 8 places, so neighbors differ.
            subject = SUBJECTS[(5 * (row * count + column)) % len(SUBJECTS)]
            place = PLACES[(3 * (row * count + column) + row) % len(PLACES)]
            scene = scene_near(rng, AffectPoint(valence, arousal), subject=subject, place=place, among=600)
            x, y = (_GAP + index * (_TILE + _GAP) for index in (column, row))
            picture.paste(render(scene, _TILE), (x, y))
            point = affect(scene)
            label = f"{point.valence:.1f}, {point.arousal:.1f}"
            draw.rectangle((x, y + _TILE - 13, x + draw.textlength(label) + 5, y + _TILE), fill=(250, 250, 250))
            draw.text((x + 2, y + _TILE - 12), label, fill=(40, 40, 40))
    return picture
