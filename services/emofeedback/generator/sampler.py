"""The sampler: one denoising step for a batch of samples that need not belong together.

Each sample has its own prompt, noise level, number of steps and guidance, so samples join and leave between steps
(continuous batching). A sample with a noise window is a trajectory: in its window it takes stochastic steps and keeps
what a learner needs of them. Nothing here knows of requests, threads or queues.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from emofeedback.domain.generation import NoiseWindow
from emofeedback.generator.connector import EmotionRows
from emofeedback.generator.flow import TRAIN_STEPS, guided, level_schedule, ode_step, sigma_schedule
from emofeedback.generator.pipeline import Models
from emofeedback.generator.prompts import Embedding
from emofeedback.generator.stochastic import cps_step, sde_step


@dataclass(frozen=True, eq=False, kw_only=True)
class Recipe:
    """What all images of a request have in common, or those of one variation of its emotion tokens."""

    prompt: Embedding
    negative: Embedding | None
    """None where guidance is off: no unconditional half is computed."""
    guidance: float
    sigmas: Tensor
    """float32, shape (steps + 1,)."""
    window: NoiseWindow | None = None
    """The stochastic steps of trajectories; None for pictures."""
    start_seed: int | None = None
    """Seed of the first noise of trajectories with a common start; None: each sample's own."""

    @property
    def steps(self) -> int:
        return len(self.sigmas) - 1

    @property
    def rows(self) -> int:
        """What the transformer reads beside a picture: only samples of as many share a forward."""
        return len(self.prompt.tokens)


@dataclass(eq=False, kw_only=True)
class Sample:
    """One image on its way from noise."""

    recipe: Recipe
    seed: int
    latent: Tensor
    """float32 throughout, whatever the model computes in."""
    step: int = 0
    """Steps done."""
    visited: list[Tensor] = field(default_factory=list)
    """The latents before and after each stochastic step so far, of a trajectory."""
    log_probabilities: list[Tensor] = field(default_factory=list)
    """Log-probabilities of the stochastic steps so far, each of shape (1,)."""

    @property
    def finished(self) -> bool:
        return self.step == self.recipe.steps

    @property
    def noisy(self) -> bool:
        """Whether the next step is a stochastic one."""
        window = self.recipe.window
        return window is not None and window.first <= self.step < window.first + window.length

    def remember(self) -> None:
        """Keep the latent where it lies at an end of a stochastic step."""
        window = self.recipe.window
        if window is not None and window.first <= self.step <= window.first + window.length:
            self.visited.append(self.latent)


def recipe(
    models: Models,
    *,
    prompt: str,
    negative_prompt: str,
    steps: int,
    guidance: float,
    levels: Sequence[float] = (),
    window: NoiseWindow | None = None,
    start_seed: int | None = None,
    emotion: EmotionRows | None = None,
) -> Recipe:
    """Encode the prompts of a request, once for all its images.

    Args:
        emotion: what is felt, behind the prompt; None: nothing stands there.
        levels: the noise level of each of the steps, before the shift; empty: the usual ones.
    """
    positive = models.prompts.encode(prompt)
    negative = models.prompts.encode(negative_prompt) if guidance > 1 else None
    if emotion is not None:
        positive = emotion.behind(positive)
        negative = emotion.nothing_behind(negative) if negative is not None else None
    return Recipe(
        prompt=positive,
        negative=negative,
        guidance=guidance,
        sigmas=level_schedule(levels, models.shift) if levels else sigma_schedule(steps, models.shift),
        window=window,
        start_seed=start_seed,
    )


def start(models: Models, recipe: Recipe, seed: int) -> Sample:
    """A sample of pure noise, drawn on the CPU so that a seed means the same on every device."""
    start_seed = seed if recipe.start_seed is None else recipe.start_seed
    noise = torch.randn(models.latent_shape, generator=torch.Generator().manual_seed(start_seed))
    sample = Sample(recipe=recipe, seed=seed, latent=noise.to(models.device))
    sample.remember()
    return sample


def branch(shared_prefix: Sample, seed: int) -> Sample:
    """Another sample of a common start, from where `shared_prefix` has entered the window.

    Before it no step adds noise, so what the shared prefix did until there would only be done again.
    """
    entry, window = shared_prefix.visited[0], shared_prefix.recipe.window
    assert window is not None
    return Sample(recipe=shared_prefix.recipe, seed=seed, latent=entry, step=window.first, visited=[entry])


def step_noise(shape: tuple[int, ...], seed: int, step: int) -> Tensor:
    """The noise that a trajectory adds at a step: it depends on seed and step alone, not on window or company.

    Returns:
        Standard normal, float32 on the CPU.
    """
    [mixed] = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)
    return torch.randn(shape, generator=torch.Generator().manual_seed(int(mixed)))


@torch.inference_mode()
def advance(models: Models, samples: Sequence[Sample]) -> None:
    """One step for every sample, in one forward; the unconditional halves ride along.

    Args:
        samples: none of them finished, at least one; of one policy, and of prompts with as many rows.
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
    straight = ode_step(latents, conditional, sigmas, next_sigmas)
    for i, sample in enumerate(samples):
        sample.latent = _stochastic_step(sample, conditional[i]) if sample.noisy else straight[i]
        sample.step += 1
        sample.remember()


def _stochastic_step(sample: Sample, velocity: Tensor) -> Tensor:
    """The latent after a step of the window. One sample at a time: a mean over one of many may round otherwise."""
    window = sample.recipe.window
    assert window is not None
    sigmas = sample.recipe.sigmas.to(velocity.device)
    here, there = sigmas[sample.step, None], sigmas[sample.step + 1, None]
    noise = step_noise(tuple(velocity.shape), sample.seed, sample.step).to(velocity.device)
    if window.kind == "cps":
        done = cps_step(sample.latent[None], velocity[None], here, there, window.level, noise[None])
    else:
        done = sde_step(
            sample.latent[None], velocity[None], here, there, window.level, noise[None], first_sigma=sigmas[1]
        )
    sample.log_probabilities.append(done.log_probabilities)
    return done.latents[0]


def _forward(models: Models, latents: Tensor, sigmas: Tensor, embeddings: Sequence[Embedding]) -> Tensor:
    """The transformer's velocities in float32, shape of `latents`."""
    count = len(embeddings)
    filled = [*range(count), *[0] * (models.fewest_samples - count)]
    velocities = models.velocities(
        hidden_states=latents[filled].to(models.dtype),
        timestep=sigmas[filled] * TRAIN_STEPS,
        encoder_hidden_states=torch.stack([embeddings[i].tokens for i in filled]),
        pooled_projections=torch.stack([embeddings[i].pooled for i in filled]),
    )
    return velocities[:count].float()
