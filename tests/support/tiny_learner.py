"""A tiny transformer, rollouts that it painted (no engine, no text encoder, no judge), and a learner of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist
from diffusers import SD3Transformer2DModel
from safetensors.torch import save_file
from torch import Tensor

from emofeedback.domain.affect import AffectPoint, Emotion
from emofeedback.domain.assessment import Assessment
from emofeedback.domain.generation import Conditioning, GroupStarted, ModelInfo, NoiseWindow, Trajectory
from emofeedback.domain.tensors import from_torch
from emofeedback.generator.flow import TRAIN_STEPS, guided, ode_step, sigma_schedule
from emofeedback.generator.stochastic import cps_step, sde_step
from emofeedback_trainer.core.condition import Condition
from emofeedback_trainer.core.rewards import RewardConfig
from emofeedback_trainer.flow_grpo.batches import rollout_advantages
from emofeedback_trainer.flow_grpo.learner import Learner
from emofeedback_trainer.flow_grpo.learning import LearnerConfig
from emofeedback_trainer.flow_grpo.types import Rollout, ScoredGroup, ScoredTrajectory
from support import tiny_checkpoints

TOKENS = 7
VALENCE_ALONE = RewardConfig(valence=1.0, arousal=0.0, alignment=0.0)
"""What tiny rollouts are rewarded by: any number, under the name of valence."""


def tiny_transformer(*, joint_width: int = 48, seed: int = 7) -> SD3Transformer2DModel:
    """The transformer of `tiny_checkpoints.save_tiny_sd3`; by default as wide as its T5."""
    torch.manual_seed(seed)
    return tiny_checkpoints.tiny_transformer(joint_width)


def tiny_rollout(
    transformer: SD3Transformer2DModel,
    reward: Callable[[Tensor], float],
    *,
    groups: int = 2,
    samples: int = 4,
    window: NoiseWindow | None = None,
    steps: int = 6,
    guidance: float = 1.0,
    iteration: int = 0,
    side: int = 4,
    tokens: int = TOKENS,
) -> Rollout:
    """Groups of trajectories, each with a prompt of its own; `reward` looks at final latents."""
    window = window or NoiseWindow(kind="sde", level=0.7, first=1, length=2)
    return Rollout(
        iteration=iteration,
        policy=f"policy-{iteration}",
        groups=tuple(
            _group(
                transformer,
                reward,
                prompt=prompt,
                seeds=[1000 * iteration + 100 * prompt + sample for sample in range(samples)],
                window=window,
                steps=steps,
                guidance=guidance,
                side=side,
                tokens=tokens,
            )
            for prompt in range(groups)
        ),
        dropped={},
        seconds=1.0,
    )


@torch.no_grad()
def _group(
    transformer: SD3Transformer2DModel,
    reward: Callable[[Tensor], float],
    *,
    prompt: int,
    seeds: Sequence[int],
    window: NoiseWindow,
    steps: int,
    guidance: float,
    side: int,
    tokens: int,
) -> ScoredGroup:
    config = transformer.config
    random = torch.Generator().manual_seed(prompt)

    def embedding() -> tuple[Tensor, Tensor]:
        return (
            torch.randn(tokens, config.joint_attention_dim, generator=random),
            torch.randn(config.pooled_projection_dim, generator=random),
        )

    positive, negative = embedding(), embedding()
    sigmas = sigma_schedule(steps, 3.0)
    noise = [torch.Generator().manual_seed(seed) for seed in seeds]

    def drawn() -> Tensor:
        return torch.stack([torch.randn(config.in_channels, side, side, generator=of_sample) for of_sample in noise])

    def velocity(latents: Tensor, here: Tensor, conditioning: tuple[Tensor, Tensor]) -> Tensor:
        velocities: Tensor = transformer(
            hidden_states=latents,
            timestep=here * TRAIN_STEPS,
            encoder_hidden_states=conditioning[0].expand(len(seeds), -1, -1),
            pooled_projections=conditioning[1].expand(len(seeds), -1),
            return_dict=False,
        )[0]
        return velocities

    latents = drawn()
    visited, log_probabilities = [], []
    for step in range(steps):
        here, there = sigmas[step].expand(len(seeds)), sigmas[step + 1].expand(len(seeds))
        v = velocity(latents, here, positive)
        if guidance > 1:
            v = guided(velocity(latents, here, negative), v, torch.full((len(seeds),), guidance))
        if window.first <= step < window.first + window.length:
            visited.append(latents)
            if window.kind == "sde":
                moved = sde_step(latents, v, here, there, window.level, drawn(), first_sigma=sigmas[1])
            else:
                moved = cps_step(latents, v, here, there, window.level, drawn())
            latents = moved.latents
            log_probabilities.append(moved.log_probabilities)
            if step + 1 == window.first + window.length:
                visited.append(latents)
        else:
            latents = ode_step(latents, v, here, there)
    return ScoredGroup(
        condition=Condition(prompt=f"a house, number {prompt}", target=AffectPoint(7.0, 3.0)),
        window=window,
        guidance=guidance,
        started=GroupStarted(
            conditioning=_conditioning(positive),
            negative=_conditioning(negative) if guidance > 1 else None,
            sigmas=from_torch(sigmas),
            model=ModelInfo(name="tiny", digest="sha256:" + "0" * 64),
            policy_digest="",
        ),
        samples=tuple(
            ScoredTrajectory(
                trajectory=Trajectory(
                    index=index,
                    seed=seed,
                    latents=from_torch(torch.stack([latents[index] for latents in visited])),
                    log_probabilities=from_torch(torch.stack([values[index] for values in log_probabilities])),
                    final=from_torch(latents[index]),
                    image=b"",
                ),
                assessment=Assessment(valence=5.0, arousal=5.0, emotion=Emotion.CONTENTMENT, confidence=1.0),
                alignment=0.0,
                rewards={"valence": reward(latents[index])},
            )
            for index, seed in enumerate(seeds)
        ),
    )


def _conditioning(embedding: tuple[Tensor, Tensor]) -> Conditioning:
    return Conditioning(tokens=from_torch(embedding[0]), pooled=from_torch(embedding[1]))


def tiny_learner(**changes: object) -> Learner:
    torch.set_num_threads(1)
    config = LearnerConfig(rank=4, lora_alpha=8, micro_batch=8, learning_rate=3e-4, beta=0.01, **changes)  # type: ignore[arg-type]
    return Learner(tiny_transformer(), config, device="cpu", dtype=torch.float32)


def tiny_rollouts() -> list[tuple[Rollout, list[list[float]]]]:
    """Each with its advantages. Of three groups one of two workers gets two, of one group it gets none."""
    rollouts = [
        tiny_rollout(tiny_transformer(), lambda latent: latent[0].mean().item(), groups=groups, iteration=iteration)
        for iteration, groups in enumerate((3, 1))
    ]
    return [(rollout, rollout_advantages(rollout, VALENCE_ALONE)) for rollout in rollouts]


def learn_in_process(rank: int, world: int, folder: Path) -> None:
    """One of `world` Gloo workers; leaves its state and figures in `folder`."""
    dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=world)
    learner = tiny_learner()
    figures = [learner.update(rollout, advantages) for rollout, advantages in tiny_rollouts()]
    save_file(learner.state(), folder / f"{rank}.safetensors")
    (folder / f"{rank}.json").write_text(json.dumps([asdict(of_update) for of_update in figures]))
    dist.destroy_process_group()
