"""A learner of the tests in processes of its own."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from emofeedback_trainer.flow_grpo.batches import rollout_advantages
from emofeedback_trainer.flow_grpo.learner import Learner
from emofeedback_trainer.flow_grpo.learning import LearnerConfig
from emofeedback_trainer.flow_grpo.types import Rollout
from support.tiny_trajectories import tiny_rollout, tiny_transformer


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
    return [(rollout, rollout_advantages(rollout, {"valence": 1.0}, over="group")) for rollout in rollouts]


def learn_in_process(rank: int, world: int, folder: Path) -> None:
    """One of `world` Gloo workers; leaves its state and figures in `folder`."""
    dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=world)
    learner = tiny_learner()
    figures = [learner.update(rollout, advantages) for rollout, advantages in tiny_rollouts()]
    save_file(learner.state(), folder / f"{rank}.safetensors")
    (folder / f"{rank}.json").write_text(json.dumps([asdict(of_update) for of_update in figures]))
    dist.destroy_process_group()
