"""The nano world as lessons of a fusion: what is painted from words, to be painted from a judge's tokens.

More than half of them are imaginations of a target anywhere on the plane, three tenths drawn scenes that the judge
looks at, and the others prompts as they are, which a fused policy has to paint as before.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from PIL import Image

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, AffectPoint, target_phrase
from emofeedback_trainer.fusion.lessons import Lesson
from emofeedback_trainer.nano.captions_task import TASK
from emofeedback_trainer.nano.task import is_held_out
from emofeedback_trainer.nano.world.album import RENDERED_SIZE
from emofeedback_trainer.nano.world.captions import emotional_caption, neutral_caption
from emofeedback_trainer.nano.world.language import WAYS, core, depiction, imagined_scene
from emofeedback_trainer.nano.world.reading import in_the_mood
from emofeedback_trainer.nano.world.rendering import render
from emofeedback_trainer.nano.world.scenes import EXTRAS, Scene, affect, sample_scene, varied

_SEED = 31
_IMAGINED, _LOOKED = 0.55, 0.85
"""Up to here imaginations, up to here scenes that are looked at, then prompts without a feeling."""
_OWN_POINT = 0.4
"""Share of the targets that are drawn scenes' own points; the others lie anywhere on the plane."""
_MOODY = 0.15
"""Share of the prompts that name a part of a mood already, which then stands."""
_PART = 0.4
"""Share of another scene's parts that such a prompt names."""
_NUMBERED = 0.7
"""Share of the prompts without a feeling that have a target's numbers behind them, as the loop writes them."""
_MOST_EXTRAS = 2


def lesson(number: int) -> Lesson:
    """Lesson number N of the world, none of a subject in a place that is held out."""
    rng = np.random.default_rng((_SEED, number))
    kind = rng.random()
    if kind >= _LOOKED:
        return _without_feeling(rng)
    scene = _scene(rng)
    if kind < _IMAGINED:
        return _imagination(scene, rng)
    return _told(neutral_caption(scene, rng), scene, affect(scene), variations=())


def _imagination(scene: Scene, rng: np.random.Generator) -> Lesson:
    target = affect(scene) if rng.random() < _OWN_POINT else AffectPoint(*rng.uniform(SCALE_MIN, SCALE_MAX, 2).tolist())
    target = AffectPoint(round(target.valence, 1), round(target.arousal, 1))
    variation = int(rng.integers(WAYS))
    imagined = varied(imagined_scene(target, scene.subject, scene.place, variation), rng)
    prompt = neutral_caption(scene, rng)
    if rng.random() < _MOODY:
        prompt = emotional_caption(scene, rng, share=_PART)
        imagined = _with_what_is_named(imagined, in_the_mood(scene, prompt))
    return _told(prompt, imagined, target, variations=(variation,))


def _told(prompt: str, scene: Scene, target: AffectPoint, *, variations: tuple[int, ...]) -> Lesson:
    # The numbers behind the words bring the painter nearer to the target.
    told = f"{depiction(core(scene), scene)}, {target_phrase(target)}"
    # What the judge imagines it need not be shown, which costs more than to imagine it.
    picture = None if variations else partial(_drawn, scene)
    return Lesson(prompt=prompt, told=told, target=target, picture=picture, variations=variations)


def _without_feeling(rng: np.random.Generator) -> Lesson:
    prompt = TASK.training[int(rng.integers(len(TASK.training)))].prompt
    if rng.random() < _NUMBERED:
        prompt = f"{prompt}, {target_phrase(AffectPoint(*np.rint(rng.uniform(SCALE_MIN, SCALE_MAX, 2)).tolist()))}"
    return Lesson(prompt=prompt, told=prompt)


def _with_what_is_named(imagined: Scene, named: Scene) -> Scene:
    """The imagined scene with the parts that a text names in the place of its own."""
    extras = {*named.extras, *imagined.extras[: _MOST_EXTRAS - len(named.extras)]}
    return replace(
        imagined,
        weather=named.weather or imagined.weather,
        expression=named.expression or imagined.expression,
        light=named.light or imagined.light,
        extras=tuple(extra for extra in EXTRAS if extra in extras),
    )


def _scene(rng: np.random.Generator) -> Scene:
    while is_held_out((scene := sample_scene(rng)).subject, scene.place):
        pass
    return scene


def _drawn(scene: Scene) -> Image.Image:
    return render(scene, RENDERED_SIZE)
