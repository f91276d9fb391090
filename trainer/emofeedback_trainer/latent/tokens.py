"""A judge with reasoning tokens: its vocabulary grows, an adapter and the new rows learn, and all of it is merged."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AddedToken, AutoConfig, AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from emofeedback.judge.engines.base import CHECKPOINT_FILES
from emofeedback.judge.prompts import reason_token, variation_token
from emofeedback.storage.files import set_aside
from emofeedback_trainer.judge.config import ModelConfig

_WEIGHTS = "model"
"""How the names of weights and of their index begin."""


def control_tokens(reasons: int, variations: int) -> list[str]:
    """The names of the tokens that a judge learns, in the order of their ids."""
    return [*map(reason_token, range(reasons)), *map(variation_token, range(variations))]


def load_tokenizer(folder: Path, names: Sequence[str]) -> tuple[Any, list[int]]:
    """A checkpoint's tokenizer that knows the names, and the ids of those that are new to it."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    known = tokenizer.get_added_vocab()
    tokenizer.add_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    return tokenizer, tokenizer.convert_tokens_to_ids([name for name in names if name not in known])


def load_learner(config: ModelConfig, folder: Path, own: list[int], new: list[int], seed: int) -> Any:
    """The checkpoint with an adapter on its layers.

    Args:
        own: the rows of its embedding that learn.
        new: those of them that begin near the mean of the others, with their spread: far enough apart to become
            different.
        seed: of the adapter and of the new rows.
    """
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        folder, dtype=getattr(torch, config.dtype), use_safetensors=True
    )
    if config.device == "cpu":
        model.set_attn_implementation("eager")  # twice as fast backward as the fused kernel, at a judge's lengths
    rows = model.get_input_embeddings().weight
    known = rows.detach().clone()
    if max(own) >= len(rows):  # a checkpoint with rows to spare keeps its shape
        model.resize_token_embeddings(max(own) + 1, mean_resizing=False)
        rows = model.get_input_embeddings().weight
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        spread = torch.randn((len(new), known.shape[1]), generator=noise) * known.float().std(dim=0)
        rows[new] = (known.float().mean(dim=0) + spread).to(rows.dtype)
    torch.manual_seed(seed)
    adapter = LoraConfig(
        r=config.rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.dropout,
        target_modules=config.target_modules,
        trainable_token_indices=own,
    )
    learner = get_peft_model(model, adapter, autocast_adapter_dtype=True)
    return learner.to(config.device)


class Learned(nn.Module):
    """What of a learner learns, by name: a checkpoint holds this and nothing else."""

    def __init__(self, learner: nn.Module) -> None:
        super().__init__()
        for name, value in learner.named_parameters():
            if value.requires_grad:
                self.register_parameter(name.replace(".", "|"), value)


def export(learner: Any, tokenizer: Any, source: Path, destination: Path) -> None:
    """Writes the judge with its adapter merged in, in the precision and with the other files of its source."""
    partial = destination.with_name(f".{destination.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    stored = AutoConfig.from_pretrained(source).dtype or torch.float32
    model = learner.merge_and_unload().to(stored)
    model.set_attn_implementation("sdpa")
    for part in (model.config.text_config, model.config.vision_config):
        part.dtype = stored
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    for pattern in CHECKPOINT_FILES:
        for file in source.glob(pattern):
            if not file.name.startswith(_WEIGHTS) and not (partial / file.name).exists():
                shutil.copyfile(file, partial / file.name)
    former = set_aside(destination)  # a cut here must leave one of the two
    partial.rename(destination)
    if former is not None:
        shutil.rmtree(former, ignore_errors=True)
