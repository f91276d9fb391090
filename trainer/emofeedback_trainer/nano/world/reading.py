"""Texts of the nano world read back: which parts of a scene does this prompt, or this reasoning, name?"""

from __future__ import annotations

import re
from dataclasses import replace

from emofeedback_trainer.nano.world.scenes import EXPRESSIONS, EXTRAS, LIGHTS, WEATHERS, Scene


def named_parts(text: str) -> set[tuple[str, str]]:
    """The weathers, extras, expressions and lights that a text names, as (kind, name)."""
    words = set(re.findall(r"[a-z]+", text.lower()))
    lights = {("light", light) for light in LIGHTS if re.search(rf"\b{light} light\b", text.lower())}
    return lights | {
        (kind, name)
        for kind, names in (("weather", WEATHERS), ("extra", EXTRAS), ("expression", EXPRESSIONS))
        for name in names
        if name in words
    }


def parts_present(scene: Scene) -> set[tuple[str, str]]:
    """What `named_parts` may find in a true text about the scene."""
    present = {("weather", scene.weather), ("expression", scene.expression), ("light", scene.light)}
    return {part for part in present if part[1]} | {("extra", extra) for extra in scene.extras}


def in_the_mood(bare: Scene, text: str) -> Scene:
    """The scene with what the text names, the first of a kind where there are several; extras all."""
    named = named_parts(text)

    def first(kind: str, order: tuple[str, ...]) -> str:
        return next((name for name in order if (kind, name) in named), "")

    return replace(
        bare,
        weather=first("weather", WEATHERS),
        expression=first("expression", EXPRESSIONS),
        light=first("light", LIGHTS),
        extras=tuple(extra for extra in EXTRAS if ("extra", extra) in named),
    )
