"""The adapter that a student begins with: the teacher's own, or a fresh one."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import StableDiffusion3Pipeline
from torch import Tensor

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.generator.pipeline import Models
from emofeedback.generator.policy_store import WEIGHTS
from emofeedback_trainer.flow_grpo.lora import AdaptedTransformer
from emofeedback_trainer.fusion.config import FusionConfig


def fresh(models: Models, config: FusionConfig) -> AdaptedTransformer:
    """The base transformer with an adapter that changes nothing yet.

    Raises:
        InvalidRequest: the transformer has no layers of the configuration's names.
    """
    return _adapted(models, config, config.rank, config.lora_alpha, config.target_modules)


def begun(models: Models, config: FusionConfig, policy: Path) -> AdaptedTransformer:
    """The base transformer with an adapter of the shape of a fetched policy's, which begins as that policy is.

    Raises:
        FailedPrecondition: the policy's file doesn't say what it changes.
    """
    weights, metadata = StableDiffusion3Pipeline.lora_state_dict(
        str(policy / WEIGHTS), use_safetensors=True, return_lora_metadata=True
    )
    if not metadata:
        raise FailedPrecondition(f"{policy / WEIGHTS} has no LoRA metadata: publish the policy anew, or begin afresh")
    rank, alpha, modules = (metadata[f"transformer.{key}"] for key in ("r", "lora_alpha", "target_modules"))
    adapted = _adapted(models, config, rank, alpha, tuple(modules))
    _fill(adapted, {name.removeprefix("transformer."): weight for name, weight in weights.items()}, policy)
    return adapted


def _adapted(
    models: Models, config: FusionConfig, rank: int, alpha: int, modules: tuple[str, ...]
) -> AdaptedTransformer:
    return AdaptedTransformer(
        models.transformer,
        rank=rank,
        alpha=alpha,
        modules=modules,
        seed=config.seed,
        device=models.device,
        dtype=models.dtype,
    )


@torch.no_grad()
def _fill(adapted: AdaptedTransformer, weights: dict[str, Tensor], policy: Path) -> None:
    if other := sorted(adapted.weights.keys() ^ weights.keys()):
        raise FailedPrecondition(f"{policy / WEIGHTS} and the transformer differ in {other[0]}")
    for name, weight in adapted.weights.items():
        weight.copy_(weights[name])
