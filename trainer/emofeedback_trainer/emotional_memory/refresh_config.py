"""What a refresh of the judge is told: the configuration of `memory refresh`, and the built-in ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from emofeedback.profiles.profile import STRICT, Count, Positive, Share
from emofeedback_trainer.judge.config import SFT_CONFIGS, ModelConfig

LARGEST_SHARE = 0.3
"""Of a batch: the judge must not live on what it painted."""
LARGEST_RISE = 0.01
"""Points by which the error on real pictures may rise."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RefreshConfig:
    """How the judge learns on."""

    model: ModelConfig
    steps: Count
    """Optimizer steps."""
    learning_rate: Positive
    """Learning rate at which the half cosine begins; it ends at a twentieth."""
    batch: Annotated[int, Field(ge=4)] = 32
    """Pictures of a step."""
    share: Share = LARGEST_SHARE
    """Of a batch, from the memory; the rest is real. 0 is the control: the same steps without the memory. Above 0.3 a
    refresh is refused, but for the controls of `symbiosis`."""
    aloud: Share = 0.2
    """Of the real pictures, asked for the reasoned reply as well."""
    label_sd: Positive = 0.5
    """Standard deviation of the real labels, in points: what those of the memory are weighed against."""
    warmup: Annotated[int, Field(ge=0)] = 10
    """Steps over which the rate rises first."""
    save_every: Count = 50
    """Steps between two checkpoints."""
    measured: Count = 400
    """Held-out pictures, of the data and of the memory, that it is measured on."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """What is drawn follows from it."""


REFRESH_CONFIGS: Mapping[str, RefreshConfig] = {
    # The vision tower stays: the judge's own idea of its world (`judge.domain`) was fitted on it.
    "nano": RefreshConfig(
        model=ModelConfig(
            checkpoint=SFT_CONFIGS["nano"].model.checkpoint,
            max_pixels=SFT_CONFIGS["nano"].model.max_pixels,
            device="cpu",
            dtype="float32",
            rank=16,
            lora_alpha=16,
            dropout=0.0,
            target_modules=".*language_model.*_proj",
        ),
        steps=200,
        learning_rate=3e-4,
    ),
    "qwen2.5-vl-7b": RefreshConfig(
        model=SFT_CONFIGS["qwen2.5-vl-7b"].model, steps=400, learning_rate=2e-5, batch=16, save_every=100
    ),
}
"""Built-in configurations of `memory refresh`."""
