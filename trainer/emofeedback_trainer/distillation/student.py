"""The student: a LoRA adapter on the teacher's transformer, which takes one step where the teacher takes several."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from emofeedback.generator.prompts import PromptEncoder
from emofeedback_trainer.distillation.learning import path
from emofeedback_trainer.distillation.objective import relative_error
from emofeedback_trainer.distillation.shards import CaptionedLatents
from emofeedback_trainer.distillation.teacher import HELD_OUT
from emofeedback_trainer.flow_grpo.batches import Encodings, Inputs
from emofeedback_trainer.flow_grpo.lora import AdaptedTransformer

_TOGETHER = 16
"""Pictures painted at once where nothing is learned."""


class Student:
    """Paints with the adapter as it is at the time, without guidance."""

    def __init__(self, transformer: AdaptedTransformer, prompts: PromptEncoder, sigmas: Tensor) -> None:
        """`sigmas` are the student's noise levels, shape (steps + 1,)."""
        self._transformer, self._prompts = transformer, prompts
        self._names = sorted(transformer.weights)
        self.sigmas = sigmas.to(transformer.device)
        self.weights = nn.ParameterList([transformer.weights[name] for name in self._names])
        """What learns."""

    def adapter(self) -> dict[str, Tensor]:
        """The adapter by PEFT's names, float16."""
        return {name: weight.detach().half() for name, weight in zip(self._names, self.weights, strict=True)}

    def path(self, noise: Tensor, captions: Sequence[str]) -> list[Tensor]:
        """The latents at every noise level, the first and the last among them; shape of `noise` each."""
        return path(lambda latents, here: self.velocities(latents, here, captions), noise, self.sigmas)

    def velocities(self, latents: Tensor, sigmas: Tensor, captions: Sequence[str]) -> Tensor:
        """Of latents at their noise levels; as many of the latents, one after another, belong to each caption."""
        encoded = [self._prompts.encode(caption) for caption in captions]
        tokens, pooled = (torch.stack([getattr(one, name) for one in encoded]).clone() for name in ("tokens", "pooled"))
        groups = torch.arange(len(captions), device=latents.device).repeat_interleave(len(latents) // len(captions))
        inputs = Inputs(
            latents=latents,
            sigmas=sigmas,
            guidance=torch.ones_like(sigmas),
            groups=groups,
            encodings=Encodings(prompt=(tokens, pooled), negative=None),
        )
        return self._transformer.velocities(inputs)

    @torch.no_grad()
    def paint(self, captions: Sequence[str], noise: Tensor) -> Tensor:
        """Finished latents on the CPU, shape of `noise`."""
        parts = [slice(first, first + _TOGETHER) for first in range(0, len(captions), _TOGETHER)]
        return torch.cat([self.path(noise[part], captions[part])[-1] for part in parts]).cpu()

    def error(self, trajectories: CaptionedLatents) -> float:
        """How far the finished latents lie from the teacher's on the held-out trajectories, relative to the spread of
        those."""
        wanted = trajectories.latents[:HELD_OUT].float()
        return relative_error(self.paint(trajectories.captions[:HELD_OUT], wanted[:, 0]), wanted[:, -1])
