"""Captions of scenes in the nano world's small language: neutral ones, and ones that name what moves the feeling."""

import re

import numpy as np

from emofeedback.domain.affect import AffectPoint, clip_to_scale, target_phrase
from emofeedback_trainer.nano.world.scenes import EXPRESSIONS, EXTRAS, LIGHTS, SUBJECTS, Scene, affect

_PLACES = {
    "meadow": "in a meadow",
    "forest": "in a forest",
    "beach": "on the beach",
    "mountains": "in the mountains",
    "city": "in the city",
    "desert": "in the desert",
    "lake": "by a lake",
    "ruins": "in the ruins",
}
_WEATHERS = {
    "sunny": ("on a sunny day", "under a sunny sky"),
    "cloudy": ("on a cloudy day", "under a cloudy sky"),
    "foggy": ("on a foggy day", "under a foggy sky"),
    "rainy": ("on a rainy day", "under a rainy sky"),
    "stormy": ("on a stormy day", "under a stormy sky"),
    "snowy": ("on a snowy day", "under a snowy sky"),
    "sunset": ("at sunset", "under a sunset sky"),
    "night": ("at night", "under a night sky"),
    "aurora": ("under an aurora", "under an aurora sky"),
}
_OPENINGS = ("", "", "", "a picture of ", "a painting of ")


def known_words(text: str) -> list[str]:
    """The words of a text, lower-cased, as `WORDS` counts them."""
    return re.findall(r"[a-z]+", text.lower())


WORDS = frozenset(
    word
    for text in (
        *SUBJECTS,
        *EXTRAS,
        *EXPRESSIONS,
        *LIGHTS,
        *_OPENINGS,
        *_PLACES.values(),
        *(phrase for phrases in _WEATHERS.values() for phrase in phrases),
        *_WEATHERS,
        "a an and with light",
        "valence arousal",
    )
    for word in known_words(text)
)
"""Every word that a caption of this world can contain, the words of a numeric target among them."""


def neutral_caption(scene: Scene, rng: np.random.Generator) -> str:
    """Only the subject and the place: "a dog in a meadow". Weather, extras, expression and light are left free."""
    return f"{_one_of(rng, _OPENINGS)}{_noun(scene.subject)} {_PLACES[scene.place]}"


def emotional_caption(scene: Scene, rng: np.random.Generator, *, share: float = 1.0) -> str:
    """Names weather, extras, expression and light in one of several phrasings; each with the probability `share`."""

    def named(text: str) -> str:
        return text if text and (share >= 1.0 or rng.random() < share) else ""

    expression, weather, light = named(scene.expression), named(scene.weather), named(scene.light)
    extras = " and ".join(extra for extra in scene.extras if named(extra))
    who = f"{_one_of(rng, _OPENINGS)}{_noun(scene.subject, expression)} {_PLACES[scene.place]}"
    sky = _one_of(rng, _WEATHERS[weather]) if weather else ""
    if rng.random() < 0.5:
        parts = [f"{who} {sky}".strip(), f"with {extras}" if extras else "", f"{light} light" if light else ""]
        return _joined(parts)
    with_extras = f"{who} with {extras}" if extras else who
    return _joined([with_extras, sky, f"{light} light" if light else ""])


def with_target(caption: str, scene: Scene, rng: np.random.Generator, spread: float) -> str:
    """The caption with a numeric target, drawn around the scene's true point with a standard deviation of `spread`."""
    truth = affect(scene)
    noise = rng.normal(0.0, spread, 2)
    point = AffectPoint(clip_to_scale(truth.valence + noise[0]), clip_to_scale(truth.arousal + noise[1]))
    return f"{caption}, {target_phrase(point)}"


def _noun(subject: str, expression: str = "") -> str:
    words = f"{expression} {subject}".strip()
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _joined(parts: list[str]) -> str:
    return ", ".join(part for part in parts if part)


def _one_of(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
