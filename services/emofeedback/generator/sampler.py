"""The sampler: one denoising step for a batch of samples that need not belong together.

Each sample has its own prompt, noise level, number of steps and guidance, so samples join and leave between steps
(continuous batching). Nothing here knows of requests, threads or queues.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from emofeedback.generator.flow import TRAIN_STEPS, guided, ode_step, sigma_schedule
from emofeedback.generator.models import Models
from emofeedback.generator.prompts import Embedding

MIN_ROWS = 4
"""Rows of the smallest forward on a CPU; fewer are filled up with copies.

Below this the matrix libraries take other kernels, which round otherwise. From here on a row's result does not depend
on how many others there are or what they hold, so a picture does not depend on its company.
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class Recipe:
    """What all images of a request have in common."""

    prompt: Embedding
    negative: Embedding | None
    """None where guidance is off: no unconditional half is computed."""
    guidance: float
    sigmas: Tensor
    """float32, shape (steps + 1,)."""

    @property
    def steps(self) -> int:
        return len(self.sigmas) - 1


@dataclass(eq=False, kw_only=True)
class Sample:
    """One image on its way from noise."""

    recipe: Recipe
    latent: Tensor
    """float32 throughout, whatever the model computes in."""
    step: int = 0
    """Steps done."""

    @property
    def finished(self) -> bool:
        return self.step == self.recipe.steps


def recipe(models: Models, *, prompt: str, negative_prompt: str, steps: int, guidance: float) -> Recipe:
    """Encode the prompts of a request, once for all its images."""
    return Recipe(
        prompt=models.prompts.encode(prompt),
        negative=models.prompts.encode(negative_prompt) if guidance > 1 else None,
        guidance=guidance,
        sigmas=sigma_schedule(steps, models.shift),
    )


def start(models: Models, recipe: Recipe, seed: int) -> Sample:
    """A sample of pure noise, drawn on the CPU so that a seed means the same on every device."""
    noise = torch.randn(models.latent_shape, generator=torch.Generator().manual_seed(seed))
    return Sample(recipe=recipe, latent=noise.to(models.device))


@torch.inference_mode()
def advance(models: Models, samples: Sequence[Sample]) -> None:
    """One step for every sample, in one forward; the unconditional halves ride along.

    Args:
        samples: none of them finished, at least one.
    """
    latents = torch.stack([sample.latent for sample in samples])
    sigmas, next_sigmas = (
        torch.stack([sample.recipe.sigmas[sample.step + ahead] for sample in samples]).to(models.device)
        for ahead in (0, 1)
    )
    with_negative = [i for i, sample in enumerate(samples) if sample.recipe.negative is not None]
    rows = [*range(len(samples)), *with_negative]
    embeddings = [sample.recipe.prompt for sample in samples]
    embeddings += [negative for sample in samples if (negative := sample.recipe.negative) is not None]
    velocities = _forward(models, latents[rows], sigmas[rows], embeddings)
    conditional, unconditional = velocities[: len(samples)], velocities[len(samples) :]
    if with_negative:
        scales = torch.tensor([samples[i].recipe.guidance for i in with_negative], device=models.device)
        conditional[with_negative] = guided(unconditional, conditional[with_negative], scales)
    for sample, latent in zip(samples, ode_step(latents, conditional, sigmas, next_sigmas), strict=True):
        sample.latent = latent
        sample.step += 1


def _forward(models: Models, latents: Tensor, sigmas: Tensor, embeddings: Sequence[Embedding]) -> Tensor:
    """The transformer's velocities in float32, shape of `latents`."""
    count = len(embeddings)
    filled = [*range(count), *[0] * (MIN_ROWS - count)] if models.device.type == "cpu" else list(range(count))
    velocities: Tensor = models.transformer(
        hidden_states=latents[filled].to(models.dtype),
        timestep=sigmas[filled] * TRAIN_STEPS,
        encoder_hidden_states=torch.stack([embeddings[i].tokens for i in filled]),
        pooled_projections=torch.stack([embeddings[i].pooled for i in filled]),
        return_dict=False,
    )[0]
    return velocities[:count].float()
