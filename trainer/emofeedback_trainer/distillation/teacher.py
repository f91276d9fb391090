"""What the teacher paints: its latents at the student's noise levels, kept in shards (`distillation.shards`) of shape
(trajectories, steps + 1, channels, height, width).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, AffectPoint
from emofeedback.domain.limits import LIMITS
from emofeedback.generator.pipeline import Models
from emofeedback.generator.policies import Policies
from emofeedback.generator.sampler import advance, recipe, start
from emofeedback.observability.console import say
from emofeedback.profiles.profile import GeneratorSettings
from emofeedback_trainer.core.condition import Condition
from emofeedback_trainer.core.task import TrainingPrompt
from emofeedback_trainer.distillation.config import DistillationConfig
from emofeedback_trainer.distillation.shards import missing_shards, write_shard

HELD_OUT = 32
"""Trajectories, the first ones, that the student is measured on and never learns from."""


class Windows(Protocol):
    """How a teacher paints, and which of its noise levels are the student's."""

    @property
    def steps(self) -> int: ...
    @property
    def teacher_steps(self) -> int: ...
    @property
    def teacher_levels(self) -> tuple[float, ...]: ...
    @property
    def guidance(self) -> float: ...
    @property
    def together(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One picture that the teacher paints."""

    caption: str
    seed: int


def asked(prompts: Sequence[TrainingPrompt], config: DistillationConfig, index: int) -> Asked:
    """What picture number `index` is painted from; it follows from the seed and the number alone."""
    rng = np.random.default_rng((config.seed, index))
    chosen = prompts[int(rng.integers(len(prompts)))]
    drawn = AffectPoint(*np.rint(rng.uniform(SCALE_MIN, SCALE_MAX, 2)).tolist())
    target = chosen.target or (drawn if rng.random() < config.target_share else None)
    caption = Condition(prompt=chosen.prompt, target=target).caption if target else chosen.prompt
    return Asked(caption=caption, seed=int(rng.integers(LIMITS.seed)))


@contextmanager
def teaching(models: Models, settings: GeneratorSettings, policy: str) -> Iterator[str]:
    """With the teacher's policy on the transformer, for as long as the context lasts; gives its name, empty for none.

    Args:
        policy: its name; empty: the one of the settings, `base`: none.

    Raises:
        As `Policies`.
    """
    policies = Policies(settings.policies, models.transformer, models.info, default=settings.policy)
    teacher = policies.resolve(policy)
    try:
        policies.fetch(teacher)
        policies.use(teacher)
        yield teacher
    finally:
        policies.use("")  # on a CPU its change is in the weights, where it would stay
        policies.close()
    models.transformer.unload_lora()


def paint(models: Models, wanted: Sequence[Asked], config: Windows) -> Tensor:
    """The teacher's latents at the student's noise levels, float32, (pictures, steps + 1, channels, height, width)."""
    samples = [
        start(
            models,
            recipe(
                models,
                prompt=one.caption,
                negative_prompt="",
                steps=config.teacher_steps,
                guidance=config.guidance,
                levels=config.teacher_levels,
            ),
            one.seed,
        )
        for one in wanted
    ]
    kept = [torch.stack([sample.latent for sample in samples])]
    for step in range(1, config.teacher_steps + 1):
        advance(models, samples)
        if step % (config.teacher_steps // config.steps) == 0:
            kept.append(torch.stack([sample.latent for sample in samples]))
    return torch.stack(kept, dim=1)


def collect(models: Models, wanted: Sequence[Asked], config: Windows, folder: Path) -> None:
    """Paints what is not in the folder yet.

    Raises:
        As `storage.files.write_whole`.
    """
    total = len(wanted)
    for path, numbers in missing_shards(folder, total):
        say(f"the teacher paints {numbers[0] + 1} to {numbers[-1] + 1} of {total} pictures")
        shard = [wanted[number] for number in numbers]
        groups = [shard[place : place + config.together] for place in range(0, len(shard), config.together)]
        latents = torch.cat([paint(models, group, config) for group in groups])
        write_shard(path, latents, [one.caption for one in shard])


def save_rows(models: Models, rows: Sequence[Tensor], path: Path) -> None:
    """Writes a PNG of finished latents, a row of pictures for each of `rows`, all with as many pictures."""
    pictures = [[models.decode([latent.to(models.device)]).picture(0).numpy() for latent in row] for row in rows]
    Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in pictures])).save(path)
