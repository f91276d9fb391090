"""Drawn scenes and captions for them: the real pictures that a distilled policy's own are to be taken for."""

from __future__ import annotations

from functools import partial

import numpy as np

from emofeedback_trainer.distillation.pictures import CaptionedPicture
from emofeedback_trainer.nano.world.captions import emotional_caption, neutral_caption, with_target
from emofeedback_trainer.nano.world.numbered import scene_at
from emofeedback_trainer.nano.world.rendering import render

_FIRST = 60_000
"""Scene of the generator's own, behind those that its base has learned from."""
_EMOTIONAL, _WHOLE, _PART, _NUMBERED = 0.8, 0.75, 0.6, 0.4
"""Share of the captions that name what moves the feeling; of these, those that name all of it, and the share that the
others name; share with the scene's own numbers behind it, which is told so that a target means no less than before."""


def captioned(number: int) -> CaptionedPicture:
    """Scene number N, and a caption of it."""
    scene = scene_at("generator", _FIRST + number)
    rng = np.random.default_rng((_FIRST, number))
    if rng.random() < _EMOTIONAL:
        caption = emotional_caption(scene, rng, share=1.0 if rng.random() < _WHOLE else _PART)
    else:
        caption = neutral_caption(scene, rng)
    if rng.random() < _NUMBERED:
        caption = with_target(caption, scene, rng, 0.0)
    return CaptionedPicture(caption=caption, picture=partial(render, scene))
