"""What the alignment scorer learns from: texts that fit a picture, texts that all but fit, and rewrites of prompts."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emofeedback_trainer.nano.world.captions import emotional_caption
from emofeedback_trainer.nano.world.invention import invented_prompt
from emofeedback_trainer.nano.world.language import core, depiction
from emofeedback_trainer.nano.world.scenes import EXPRESSIONS, EXTRAS, LIGHTS, LIVING, PLACES, SUBJECTS, WEATHERS, Scene

_OPTIONS: dict[str, tuple[str, ...]] = {
    "subject": SUBJECTS,
    "place": PLACES,
    "weather": WEATHERS,
    "expression": EXPRESSIONS,
    "light": LIGHTS,
}


def mentioned(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene with only what a caption mentions: always subject and place, often nothing else."""
    share = 0.0 if rng.random() < 0.35 else float(rng.uniform(0.3, 1.0))
    return replace(
        scene,
        weather=scene.weather if rng.random() < share else "",
        expression=scene.expression if rng.random() < share else "",
        light=scene.light if rng.random() < share else "",
        extras=tuple(extra for extra in scene.extras if rng.random() < share),
    )


def fits(part: Scene, scene: Scene) -> bool:
    """True where everything mentioned is in the scene."""
    return set(part.extras) <= set(scene.extras) and all(
        getattr(part, name) in ("", getattr(scene, name)) for name in _OPTIONS
    )


def one_word_changed(part: Scene, scene: Scene, rng: np.random.Generator) -> Scene:
    """What is mentioned of the scene, one thing of it replaced by another of its kind that the scene lacks."""
    names = [name for name in _OPTIONS if getattr(part, name)] + list(part.extras)
    name = names[int(rng.integers(len(names)))]
    if name in part.extras:
        other = _another(EXTRAS, scene.extras, rng)
        return replace(part, extras=tuple(other if extra == name else extra for extra in part.extras))
    return _changed(part, name, rng)


def caption(part: Scene, rng: np.random.Generator) -> str:
    """What is mentioned, in one of several phrasings."""
    return emotional_caption(part, rng)


@dataclass(frozen=True)
class Rewrite:
    """A prompt, a rewrite that keeps its subject and place, and one that lost one of them."""

    prompt: str
    kept: str
    lost: str


def rewrite(scene: Scene, rng: np.random.Generator) -> Rewrite:
    """A rewrite in the mood of the scene; half of the prompts are from outside the world."""
    if rng.random() < 0.5:
        bare = replace(scene, weather="", expression="", light="", extras=())
        other = _changed(scene, "subject" if rng.random() < 0.6 else "place", rng)
        moody = rng.random() < 0.3
        prompt = caption(mentioned(scene, rng) if moody else bare, rng)
        return Rewrite(prompt, depiction(core(scene), scene), depiction(core(other), other))
    still = replace(scene, expression="")
    prompt = invented_prompt(rng, scene.subject)
    return Rewrite(prompt, depiction(prompt, still), depiction(_with_another_noun(prompt, rng), still))


def _with_another_noun(prompt: str, rng: np.random.Generator) -> str:
    """The prompt about something else: one of its longer words is another's, or all of it is."""
    other = invented_prompt(rng, "house")
    words = re.findall(r"[\w'-]{4,}", prompt)
    replacements = re.findall(r"[\w'-]{4,}", other)
    if not words or not replacements or rng.random() < 0.4:
        return other
    gone, come = (some[int(rng.integers(len(some)))] for some in (words, replacements))
    return prompt.replace(gone, come, 1) if gone != come else other


def _changed(scene: Scene, name: str, rng: np.random.Generator) -> Scene:
    """The scene with another of the kind in the named place; what has an expression stays alive."""
    options = LIVING if name == "subject" and scene.expression else _OPTIONS[name]
    other: dict[str, Any] = {name: _another(options, (getattr(scene, name),), rng)}
    return replace(scene, **other)


def _another(options: tuple[str, ...], present: tuple[str, ...], rng: np.random.Generator) -> str:
    absent = [option for option in options if option not in present]
    return absent[int(rng.integers(len(absent)))]
