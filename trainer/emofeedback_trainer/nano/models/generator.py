"""The base generator of the nano world: a small SD3, trained by flow matching on rendered scenes and their captions.

Transformer and both text encoders are trained together on cached latents. Captions are neutral or emotional, made anew
at every step; a share of them carries a numeric target drawn widely around the truth, from the start, so that the base
follows a target faintly and reinforcement has something to sharpen.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from diffusers import AutoencoderTiny
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTokenizer

from emofeedback.observability.console import say
from emofeedback_trainer.core.cpu_attention import PlainAttention
from emofeedback_trainer.core.training_state import TrainingState, cosine, set_rates
from emofeedback_trainer.nano.models.autoencoder import load_autoencoder, to_images, to_tensor
from emofeedback_trainer.nano.models.generator_parts import (
    SHIFT,
    encode_prompts,
    load_models,
    load_tokenizer,
    new_models,
    paint,
    to_pictures,
)
from emofeedback_trainer.nano.world.captions import emotional_caption, neutral_caption, with_target
from emofeedback_trainer.nano.world.numbered import pixels, scene_at
from emofeedback_trainer.nano.world.rendering import PICTURE_SIZE
from emofeedback_trainer.nano.world.scenes import Scene

_SHARD = 4096  # scenes in one file of latents


@dataclass(frozen=True, kw_only=True)
class GeneratorRecipe:
    """How the base generator is trained."""

    scenes: int = 49_152
    steps: int = 5600
    batch: int = 64
    muon_rate: float = 2e-3
    adam_rate: float = 1e-3
    neutral_share: float = 0.4
    neutral_target_share: float = 0.6
    emotional_target_share: float = 0.2
    target_spread: float = 1.7  # standard deviation of a numeric target around the scene's true valence and arousal
    empty_share: float = 0.1  # captions dropped for classifier-free guidance
    seed: int = 0
    save_every: int = 200
    draw_every: int = 500


def encode_scenes(folder: Path, autoencoder: AutoencoderTiny, recipe: GeneratorRecipe, device: torch.device) -> None:
    """Renders the scenes and writes their scaled latents, fp16, in shards; shards that exist are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    shift, scale = autoencoder.config["shift_factor"], autoencoder.config["scaling_factor"]
    for start in range(0, recipe.scenes, _SHARD):
        path = _shard_path(folder, start)
        if path.exists():
            continue
        parts = []
        for first in range(start, start + _SHARD, 64):
            images = to_tensor([pixels(scene_at("generator", first + i)) for i in range(64)])
            images = images.to(device, memory_format=torch.channels_last)
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
                latents = autoencoder.encode(images).latents.float()
            parts.append(((latents - shift) * scale).half().cpu())
        unfinished = path.with_suffix(".tmp")
        save_file({"latents": torch.cat(parts).contiguous()}, unfinished)
        unfinished.replace(path)
        say(f"scenes {start} to {start + _SHARD} encoded")


def training_caption(scene: Scene, rng: np.random.Generator, recipe: GeneratorRecipe) -> str:
    """A caption as the base sees it: empty, neutral or emotional (whole or in part), at times with a numeric target."""
    if rng.random() < recipe.empty_share:
        return ""
    if rng.random() < recipe.neutral_share:
        caption, target_share = neutral_caption(scene, rng), recipe.neutral_target_share
    else:
        caption = emotional_caption(scene, rng, share=1.0 if rng.random() < 0.6 else 0.6)
        target_share = recipe.emotional_target_share
    if rng.random() < target_share:
        caption = with_target(caption, scene, rng, recipe.target_spread)
    return caption


def train_generator(
    folder: Path, latents: Path, autoencoder: Path, recipe: GeneratorRecipe, device: torch.device
) -> None:
    """Trains, or goes on training, transformer and text encoders in `folder`; draws `samples-<step>.png` on the way.

    Started by `torchrun`, every process takes its share of the batch and gradients are averaged. One thread each in two
    processes keeps its pace on a busy machine, where two threads of one process wait for each other at every layer.
    """
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    torch.manual_seed(recipe.seed)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(folder)
    models = {name: model.to(device) for name, model in new_models(tokenizer).items()}
    parameters = [parameter for model in models.values() for parameter in model.parameters()]
    optimizers = _optimizers(models, recipe)
    state = TrainingState(folder, models, optimizers, ema_decay=0.998)
    state.resume()
    batches = _batches(latents, recipe, state.step, rank, world)
    losses: list[float] = []
    while state.step < recipe.steps:
        set_rates(optimizers.values(), cosine(state.step, recipe.steps, peak=1.0, floor=0.02, warmup=100))
        clean, captions, generator = next(batches)
        loss = _loss(models, tokenizer, clean.to(device), captions, generator, recipe)
        for model in models.values():
            model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        _average_gradients(parameters, world)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers.values():
            optimizer.step()
        state.average()
        losses.append(loss.item())
        if rank:
            continue
        if state.step % 20 == 0:
            state.log(loss=round(float(np.mean(losses[-100:])), 4))
        if state.step % recipe.save_every == 0 or state.step == recipe.steps:
            state.save()
        if state.step % recipe.draw_every == 0:
            _draw_samples(folder, autoencoder, state.step, device)


def _shard_path(folder: Path, start: int) -> Path:
    return folder / f"latents-{start:06d}.safetensors"


def _average_gradients(parameters: list[nn.Parameter], world: int) -> None:
    """The mean over processes, in one message."""
    if world == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    means = torch.split(flat / world, [gradient.numel() for gradient in gradients])
    for gradient, mean in zip(gradients, means, strict=True):
        gradient.copy_(mean.view_as(gradient))


def _batches(
    folder: Path, recipe: GeneratorRecipe, step: int, rank: int, world: int
) -> Iterator[tuple[Tensor, list[str], torch.Generator]]:
    """Endless batches of latents and captions; what comes at a step depends on seed, step and rank alone."""
    starts = [start for start in range(0, recipe.scenes, _SHARD) if _shard_path(folder, start).exists()]
    latents = torch.cat([load_file(_shard_path(folder, start))["latents"] for start in starts])
    scenes = [scene_at("generator", start + i) for start in starts for i in range(_SHARD)]
    while True:
        rng = np.random.default_rng((recipe.seed, step, rank))
        chosen = rng.integers(len(scenes), size=recipe.batch // world)
        captions = [training_caption(scenes[i], rng, recipe) for i in chosen]
        yield latents[torch.from_numpy(chosen)].float(), captions, torch.Generator().manual_seed(step * world + rank)
        step += 1


def _loss(
    models: dict[str, nn.Module],
    tokenizer: CLIPTokenizer,
    clean: Tensor,
    captions: list[str],
    generator: torch.Generator,
    recipe: GeneratorRecipe,
) -> Tensor:
    """Flow matching (Esser et al. 2024, section 2 and 3.1): velocity at a logit-normal noise level."""
    noise = torch.randn(clean.shape, generator=generator).to(clean.device)
    level = torch.sigmoid(torch.randn(len(clean), generator=generator))
    level = (SHIFT * level / (1 + (SHIFT - 1) * level)).to(clean.device)
    sigma = level.view(-1, 1, 1, 1)
    attention = PlainAttention() if clean.device.type == "cpu" else nullcontext()
    with torch.autocast(clean.device.type, torch.bfloat16), attention:
        embeddings, pooled = encode_prompts(models, tokenizer, captions)
        velocity = models["transformer"](
            hidden_states=(1 - sigma) * clean + sigma * noise,
            encoder_hidden_states=embeddings,
            pooled_projections=pooled,
            timestep=level * 1000,
            return_dict=False,
        )[0]
    return nn.functional.mse_loss(velocity.float(), noise - clean)


def _optimizers(models: dict[str, nn.Module], recipe: GeneratorRecipe) -> dict[str, torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for embeddings, norms, biases and the ends of the network."""
    hidden: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for model in models.values():
        for name, parameter in model.named_parameters():
            inside = "transformer_blocks" in name or "encoder.layers" in name or "context_embedder" in name
            (hidden if inside and parameter.ndim == 2 and "norm1" not in name else rest).append(parameter)
    return {
        "muon": torch.optim.Muon(hidden, lr=recipe.muon_rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        "adamw": torch.optim.AdamW(rest, lr=recipe.adam_rate, betas=(0.9, 0.97), weight_decay=0.0),
    }


def _draw_samples(folder: Path, autoencoder: Path, step: int, device: torch.device) -> None:
    """Sixteen scenes never trained on, by their emotional captions (above) and neutral ones (below)."""
    tokenizer = load_tokenizer(folder)
    models = load_models(folder, tokenizer, device)
    vae = load_autoencoder(autoencoder, device)
    rng = np.random.default_rng(11)
    scenes = [scene_at("evaluation", 100 + i) for i in range(16)]
    prompts = [emotional_caption(scene, rng) for scene in scenes] + [neutral_caption(scene, rng) for scene in scenes]
    pictures = to_images(to_pictures(vae, paint(models, tokenizer, prompts, seed=1)))
    sheet = Image.new("RGB", (8 * PICTURE_SIZE, 4 * PICTURE_SIZE))
    for i, picture in enumerate(pictures):
        sheet.paste(picture, ((i % 8) * PICTURE_SIZE, (i // 8) * PICTURE_SIZE))
    sheet.save(folder / f"samples-{step:06d}.png")
