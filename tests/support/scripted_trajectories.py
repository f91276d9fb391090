"""Trajectories along a flow known in closed form, by the real step maths: what the scripted generator samples."""

from __future__ import annotations

import hashlib

import torch

from emofeedback.domain import tensors
from emofeedback.domain.generation import Conditioning, GroupStarted, ModelInfo, Trajectory, TrajectoryRequest
from emofeedback.domain.reasoning import EmotionTokens
from emofeedback.generator.flow import guided, ode_step, sigma_schedule
from emofeedback.generator.sampler import step_noise
from emofeedback.generator.stochastic import cps_step, sde_step

SHAPE = (4, 2, 2)
"""Channels, height and width of a latent."""


def conditioning(prompt: str, emotion: EmotionTokens | None = None) -> Conditioning:
    """Two tokens of width 4 and a summary, always the same for a prompt and what is felt beside it."""
    felt = emotion.states.data if emotion is not None else b""
    seed = int.from_bytes(hashlib.sha256(prompt.encode() + felt).digest()[:4])
    tokens = torch.randn(2, 4, generator=torch.Generator().manual_seed(seed))
    return Conditioning(tokens=tensors.from_torch(tokens), pooled=tensors.from_torch(tokens[0]))


def velocity(latents: torch.Tensor, read: Conditioning) -> torch.Tensor:
    """Away from what the prompt stands for; shape (batch, *SHAPE)."""
    return latents - tensors.to_torch(read.pooled).view(1, -1, 1, 1)


def start_group(request: TrajectoryRequest, model: ModelInfo, policy_digest: str) -> GroupStarted:
    """What the scripted trajectories of a group have in common."""
    return GroupStarted(
        conditioning=conditioning(request.prompt, request.emotion),
        negative=conditioning(request.negative_prompt) if request.guidance > 1 else None,
        sigmas=tensors.from_torch(sigma_schedule(request.steps, 3.0)),
        model=model,
        policy_digest=policy_digest,
    )


def sample(request: TrajectoryRequest, group: GroupStarted, index: int, image: bytes, bias: float) -> Trajectory:
    """One trajectory; `bias` is what a policy adds to the velocity."""
    seed, window, sigmas = request.seeds[index], request.window, tensors.to_torch(group.sigmas)
    start_seed = seed if request.start_seed is None else request.start_seed
    latent = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(start_seed))
    visited, log_probabilities = [], [torch.empty(0)]
    for step in range(request.steps):
        if window.first <= step <= window.first + window.length:
            visited.append(latent[0])
        flow = velocity(latent, group.conditioning) + bias
        if group.negative is not None:
            flow = guided(velocity(latent, group.negative) + bias, flow, torch.tensor([request.guidance]))
        here, there = sigmas[step, None], sigmas[step + 1, None]
        if not window.first <= step < window.first + window.length:
            latent = ode_step(latent, flow, here, there)
            continue
        noise = step_noise(SHAPE, seed, step)[None]
        if window.kind == "cps":
            done = cps_step(latent, flow, here, there, window.level, noise)
        else:
            done = sde_step(latent, flow, here, there, window.level, noise, first_sigma=sigmas[1])
        latent = done.latents
        log_probabilities.append(done.log_probabilities)
    return Trajectory(
        index=index,
        seed=seed,
        latents=tensors.from_torch(torch.stack(visited)),
        log_probabilities=tensors.from_torch(torch.cat(log_probabilities)),
        final=tensors.from_torch(latent[0]),
        image=image,
    )
