"""Configurations of the reasoning tokens' training: frozen trees, the built-in ones, and TOML files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from emofeedback.domain.limits import LIMITS
from emofeedback.profiles.builtin import NANO_PROFILE, SD35_MEDIUM_PROFILE
from emofeedback.profiles.overrides import changed, extended
from emofeedback.profiles.profile import STRICT, Count, NotNegative, Positive, Share, Text
from emofeedback_trainer.judge.config import ModelConfig

LANGUAGE = ".*language_model.*_proj"
"""The eyes stay as they are: so does what the judge takes for a picture of its world."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LatentConfig:
    """One training of reasoning tokens."""

    model: ModelConfig
    lessons: Text
    """What is learned from: `module:function` of a source of lessons, or a data folder."""
    tokens: Annotated[int, Field(ge=1, le=LIMITS.emotion_tokens)] = 8
    """Reasoning tokens, K."""
    variations: Annotated[int, Field(ge=1, le=LIMITS.emotion_variations)] = 4
    """Imaginations of one feeling, M."""
    steps: Count = 1200
    """Optimizer steps."""
    learning_rate: Positive = 2e-3
    """At its highest; it rises over `warmup` steps and falls along a half cosine."""
    warmup: Count = 50
    looks: Count = 10
    """Pictures that a step looks at."""
    imaginations: Count = 9
    """Pictures that a step imagines, each in all variations."""
    known: Count = 6
    """Lessons of a step in what the judge can do already: about a quarter."""
    hidden: Share = 0.8
    """Share of the looks whose answer sees the reasoning tokens only: so they carry it."""
    thought: NotNegative = 0.5
    """Weight of the text read from a look's tokens alone; it keeps them apart and shows what they hold. That of an
    imagination counts in full: there is no picture to look at."""
    best: Share = 0.95
    """Weight of the variation whose text fits best."""
    divergence: NotNegative = 1.0
    """Weight of the divergence from the judge that the run began with, on known replies."""
    reward: NotNegative = 0.0
    """Weight of the reward that a look's answer may expect, summed over its distribution (`objective.expected_reward`);
    for a stage of its own, that begins with a judge whose tokens are trained. 0.5 to begin with."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the averaged weights, per step; the average is what is exported."""
    save_every: Count = 50
    """Steps between two checkpoints."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """What all that a run draws follows from."""


_NANO, _PAPER = NANO_PROFILE.judge, SD35_MEDIUM_PROFILE.judge
CONFIGS: Mapping[str, LatentConfig] = {
    "nano": LatentConfig(
        model=ModelConfig(
            checkpoint=_NANO.checkpoint,
            max_pixels=_NANO.max_pixels,
            device="cpu",
            dtype="float32",
            rank=32,
            lora_alpha=32,
            dropout=0.0,
            target_modules=LANGUAGE,
        ),
        lessons="emofeedback_trainer.nano.latent_lessons:lessons",
    ),
    "qwen2.5-vl-7b": LatentConfig(
        model=ModelConfig(
            checkpoint=_PAPER.checkpoint,
            max_pixels=_PAPER.max_pixels,
            device="cuda",
            dtype="bfloat16",
            target_modules=LANGUAGE,
            gradient_checkpointing=True,
        ),
        lessons="data/emoset",
        tokens=16,
        steps=2000,
        learning_rate=2e-4,
        looks=4,
        imaginations=2,
        known=3,
    ),
}
"""The built-in configurations. The second one is a starting point that nobody has run yet."""

MAY_CHANGE = frozenset({"steps", "looks", "imaginations", "known", "save_every"})
"""Keys that a run may go on with another value of."""


def load_config(source: str, changes: Mapping[str, Any]) -> LatentConfig:
    """A built-in configuration by name, or one from a TOML file that `extends` one, with further changes.

    Raises:
        InvalidRequest: no such configuration or file, or keys that are unknown, of the wrong type or out of range.
    """
    base, written = extended(source, CONFIGS, "config")
    return changed(changed(base, written), changes)
