"""Prompts from outside the nano world: real words that it has no picture of, and words that exist nowhere.

The agent must copy what it does not know. It learns to from prompts whose words never repeat often enough to be
learned by heart.
"""

from __future__ import annotations

import numpy as np

from emofeedback_trainer.nano.world.scenes import PLACES

_NOUNS = (
    "astronaut", "bridge", "lighthouse", "dragon", "piano", "teapot", "train", "robot", "whale", "violin", "clock",
    "garden", "bicycle", "statue", "knight", "horse", "elephant", "market", "library", "harbor", "temple", "window",
    "mirror", "bird", "fox", "wolf", "bear", "lamp", "street", "village", "ship", "airplane", "flower", "island",
    "woman", "boy", "child", "dancer", "king", "sailor", "painter", "chair", "table", "apple", "cake", "guitar",
    "mountain", "river", "cave", "tower", "windmill", "barn", "tent", "cup", "book", "horizon", "waterfall", "garage",
    "kitchen", "church", "museum", "station", "rocket", "planet", "moon", "turtle", "frog", "butterfly", "snake",
)  # fmt: skip
_ADJECTIVES = (
    "old", "small", "red", "giant", "broken", "wooden", "green", "quiet", "lonely", "golden", "ancient", "white",
    "black", "tiny", "tall", "blue", "young", "empty", "crowded", "paper", "glass", "flying", "dancing", "wet",
)  # fmt: skip
_PREPOSITIONS = ("in", "on", "by", "near", "under", "behind", "above", "inside", "next to", "in front of")
_STYLES = ("oil painting", "watercolor", "photograph", "sketch", "low poly", "highly detailed", "cinematic", "4k")
_SYLLABLES = (
    "ba", "be", "bo", "cra", "da", "den", "dri", "el", "fa", "fen", "fo", "gal", "gru", "ha", "hel", "in", "jo", "ka",
    "ki", "lo", "lu", "ma", "mer", "mi", "na", "nim", "nor", "o", "pa", "phi", "plo", "qua", "ra", "ri", "sa", "she",
    "sto", "ta", "tri", "tu", "u", "va", "ven", "vo", "wa", "wi", "xa", "ya", "za", "zor", "bl", "nt", "st", "ck", "sh",
)  # fmt: skip


def invented_prompt(rng: np.random.Generator, subject: str) -> str:
    """A prompt of 2 to 12 words, often with no meaning; sometimes about the given subject in an unknown place."""
    words = []
    if rng.random() < 0.85:
        words.append("the" if rng.random() < 0.1 else "a")
    if rng.random() < 0.25 and words == ["a"]:
        words.append(subject)
    else:
        words += [_adjective(rng) for _ in range(int(rng.integers(0, 3)))]
        words.append(_noun(rng))
    if words[0] == "a" and words[1][0].lower() in "aeiou":
        words[0] = "an"
    if rng.random() < 0.75:
        words.append(_one_of(rng, _PREPOSITIONS))
        words.append(_one_of(rng, ("a", "the", "the")))
        if rng.random() < 0.3:
            words.append(_adjective(rng))
        words.append(_one_of(rng, PLACES) if rng.random() < 0.25 else _noun(rng))
    prompt = " ".join(words)
    if rng.random() < 0.2:
        prompt += f", {_one_of(rng, _STYLES)}"
    return prompt


def _noun(rng: np.random.Generator) -> str:
    return _one_of(rng, _NOUNS) if rng.random() < 0.4 else _invented_word(rng)


def _adjective(rng: np.random.Generator) -> str:
    return _one_of(rng, _ADJECTIVES) if rng.random() < 0.6 else _invented_word(rng)


def _invented_word(rng: np.random.Generator) -> str:
    if rng.random() < 0.15:  # an arbitrary string, so that no letter is out of reach
        letters = rng.choice(list("abcdefghijklmnopqrstuvwxyz0123456789-'"), int(rng.integers(2, 9)))
        return "".join(map(str, letters))
    word = "".join(_one_of(rng, _SYLLABLES) for _ in range(int(rng.integers(1, 4))))
    return word.capitalize() if rng.random() < 0.15 else word


def _one_of(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
