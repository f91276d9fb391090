"""The base generator of the nano world: a small SD3, trained by flow matching on rendered scenes and their captions.

Transformer and both text encoders are trained together on cached latents. Captions are neutral or emotional, made anew
at every step; a share of them carries a numeric target drawn widely around the truth, from the start, so that the base
follows a target faintly and reinforcement has something to sharpen.
"""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from diffusers import AutoencoderTiny, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from emofeedback.affect import AffectPoint, clip_to_scale, target_phrase
from emofeedback_trainer.nano.attention import PlainAttention
from emofeedback_trainer.nano.autoencoder import load_autoencoder, to_images, to_tensor
from emofeedback_trainer.nano.captions import WORDS, emotional_caption, neutral_caption
from emofeedback_trainer.nano.checkpoints import TrainingState, averaged_weights, cosine, set_rates
from emofeedback_trainer.nano.datasets import pixels, scene_at
from emofeedback_trainer.nano.scenes import Scene, affect, sample_scene

_SHARD = 4096  # scenes in one file of latents
_PROMPT_TOKENS = 36
_WIDTHS = (96, 64)  # of the two text encoders; their sum is the joint attention's width, so there was never a T5


@dataclass(frozen=True, kw_only=True)
class GeneratorRecipe:
    """How the base generator is trained."""

    scenes: int = 49_152
    steps: int = 5000
    batch: int = 64
    muon_rate: float = 2e-3
    adam_rate: float = 1e-3
    neutral_share: float = 0.4
    target_share: float = 0.35
    target_spread: float = 1.7  # standard deviation of a numeric target around the scene's true valence and arousal
    empty_share: float = 0.1  # captions dropped for classifier-free guidance
    shift: float = 1.5  # of the scheduler, and of the noise levels drawn in training
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
        print(f"scenes {start} to {start + _SHARD} encoded", flush=True)


def new_tokenizer(folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer whose merges were learned from captions: nearly every word of the world is one token."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    rng = np.random.default_rng(7)
    scenes = [sample_scene(rng) for _ in range(4000)]
    texts = [_with_target(emotional_caption(scene, rng), scene, rng, 1.7) for scene in scenes]
    texts += [neutral_caption(scene, rng) for scene in scenes[:1000]]
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(words, "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, initial_alphabet=alphabet, min_frequency=20, end_of_word_suffix="</w>", show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    learned = json.loads(bpe.to_str())["model"]
    vocabulary: dict[str, int] = {}
    for token in [*sorted(alphabet), *(f"{letter}</w>" for letter in sorted(alphabet)), *learned["vocab"]]:
        vocabulary.setdefault(token, len(vocabulary))
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[special] = len(vocabulary)
    merges = [tuple(pair) for pair in learned["merges"]]
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=_PROMPT_TOKENS)
    tokenizer.save_pretrained(folder)
    return tokenizer


def new_models(tokenizer: CLIPTokenizer) -> dict[str, nn.Module]:
    """Untrained transformer (about 4.6 million parameters) and text encoders; residual branches start closed."""
    encoders = [
        CLIPTextModelWithProjection(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=width,
                intermediate_size=4 * width,
                projection_dim=width,
                num_hidden_layers=2,
                num_attention_heads=width // 32,
                max_position_embeddings=_PROMPT_TOKENS,
                hidden_act="gelu",
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        for width in _WIDTHS
    ]
    transformer = SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=5,
        attention_head_dim=32,
        num_attention_heads=5,
        joint_attention_dim=sum(_WIDTHS),
        caption_projection_dim=160,
        pooled_projection_dim=sum(_WIDTHS),
        pos_embed_max_size=16,
        qk_norm="rms_norm",
    )
    for name, parameter in transformer.named_parameters():
        if "norm1.linear" in name or "norm1_context.linear" in name or "norm_out.linear" in name or "proj_out" in name:
            nn.init.zeros_(parameter)
    for encoder in encoders:
        for name, parameter in encoder.named_parameters():
            if "embedding" in name:
                nn.init.normal_(parameter, std=0.3)
    return {"transformer": transformer, "text_encoder": encoders[0], "text_encoder_2": encoders[1]}


def encode_prompts(models: dict[str, nn.Module], tokenizer: CLIPTokenizer, prompts: list[str]) -> tuple[Tensor, Tensor]:
    """Prompt embeddings (N, tokens, 160) and pooled projections (N, 160), as diffusers' SD3 pipeline makes them."""
    device = next(models["transformer"].parameters()).device
    tokens = tokenizer(prompts, padding="max_length", max_length=_PROMPT_TOKENS, truncation=True, return_tensors="pt")
    ids = tokens["input_ids"].to(device)
    replies = [models[name](ids, output_hidden_states=True) for name in ("text_encoder", "text_encoder_2")]
    return (
        torch.cat([reply.hidden_states[-2] for reply in replies], dim=-1),
        torch.cat([reply.text_embeds for reply in replies], dim=-1),
    )


def training_caption(scene: Scene, rng: np.random.Generator, recipe: GeneratorRecipe) -> str:
    """A caption as the base sees it: empty, neutral or emotional (whole or in part), at times with a numeric target."""
    if rng.random() < recipe.empty_share:
        return ""
    if rng.random() < recipe.neutral_share:
        caption = neutral_caption(scene, rng)
    else:
        caption = emotional_caption(scene, rng, share=1.0 if rng.random() < 0.6 else 0.6)
    if rng.random() < recipe.target_share:
        caption = _with_target(caption, scene, rng, recipe.target_spread)
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
    forward = models["transformer"]
    losses: list[float] = []
    while state.step < recipe.steps:
        set_rates(optimizers.values(), cosine(state.step, recipe.steps, peak=1.0, floor=0.02, warmup=100))
        clean, captions, generator = next(batches)
        loss = _loss(models, forward, tokenizer, clean.to(device), captions, generator, recipe)
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
            _draw_samples(folder, autoencoder, state.step, recipe, device)


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer of a training folder; learned from captions on first use."""
    path = folder / "tokenizer"
    return CLIPTokenizer.from_pretrained(path) if path.exists() else new_tokenizer(path)


def load_models(folder: Path, tokenizer: CLIPTokenizer, device: torch.device) -> dict[str, nn.Module]:
    """The running averages of a training folder, ready for painting."""
    models = new_models(tokenizer)
    for name, model in models.items():
        model.load_state_dict(averaged_weights(folder, name))
        model.eval().to(device)
    return models


@torch.no_grad()
def paint(
    models: dict[str, nn.Module],
    tokenizer: CLIPTokenizer,
    autoencoder: AutoencoderTiny,
    prompts: list[str],
    *,
    seed: int,
    steps: int = 20,
    guidance: float = 3.0,
    shift: float = 1.5,
) -> Tensor:
    """Pictures for prompts by Euler steps with classifier-free guidance: (N, 3, 128, 128) in [-1, 1]."""
    device = next(models["transformer"].parameters()).device
    noise = torch.randn(len(prompts), 16, 16, 16, generator=torch.Generator().manual_seed(seed))
    latents = noise.to(device)
    embeddings, pooled = encode_prompts(models, tokenizer, prompts + [""] * len(prompts))
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps)
    for sigma, following in zip(scheduler.sigmas[:-1], scheduler.sigmas[1:], strict=True):
        velocity = models["transformer"](
            hidden_states=torch.cat([latents, latents]),
            encoder_hidden_states=embeddings,
            pooled_projections=pooled,
            timestep=(sigma * 1000).to(device).expand(2 * len(prompts)),
            return_dict=False,
        )[0]
        with_prompt, without = velocity.chunk(2)
        latents = latents + (following - sigma) * (without + guidance * (with_prompt - without))
    scale, offset = autoencoder.config["scaling_factor"], autoencoder.config["shift_factor"]
    decoded: Tensor = autoencoder.decode(latents / scale + offset).sample
    return decoded


def export_generator(folder: Path, autoencoder_folder: Path, target: Path, recipe: GeneratorRecipe) -> None:
    """Writes the trained generator as a diffusers folder of a StableDiffusion3Pipeline without T5, weights in fp16."""
    device = torch.device("cpu")
    tokenizer = load_tokenizer(folder)
    models: dict[str, Any] = load_models(folder, tokenizer, device)
    autoencoder = load_autoencoder(autoencoder_folder, device)
    pipeline = StableDiffusion3Pipeline(
        vae=autoencoder,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        tokenizer_3=None,
        text_encoder_3=None,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=recipe.shift),
        **models,
    )
    pipeline.to(dtype=torch.float16)
    pipeline.save_pretrained(target, safe_serialization=True)
    (target / "words.txt").write_text("\n".join(sorted(WORDS)) + "\n")


def _with_target(caption: str, scene: Scene, rng: np.random.Generator, spread: float) -> str:
    truth = affect(scene)
    noise = rng.normal(0.0, spread, 2)
    point = AffectPoint(clip_to_scale(truth.valence + noise[0]), clip_to_scale(truth.arousal + noise[1]))
    return f"{caption}, {target_phrase(point)}"


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
    forward: Any,
    tokenizer: CLIPTokenizer,
    clean: Tensor,
    captions: list[str],
    generator: torch.Generator,
    recipe: GeneratorRecipe,
) -> Tensor:
    """Flow matching (Esser et al. 2024, section 2 and 3.1): velocity at a logit-normal noise level."""
    noise = torch.randn(clean.shape, generator=generator).to(clean.device)
    level = torch.sigmoid(torch.randn(len(clean), generator=generator))
    level = (recipe.shift * level / (1 + (recipe.shift - 1) * level)).to(clean.device)
    sigma = level.view(-1, 1, 1, 1)
    attention = PlainAttention() if clean.device.type == "cpu" else nullcontext()
    with torch.autocast(clean.device.type, torch.bfloat16), attention:
        embeddings, pooled = encode_prompts(models, tokenizer, captions)
        velocity = forward(
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


def _draw_samples(folder: Path, autoencoder: Path, step: int, recipe: GeneratorRecipe, device: torch.device) -> None:
    """Eight scenes never trained on, by their emotional captions (above) and neutral ones (below)."""
    tokenizer = load_tokenizer(folder)
    models = load_models(folder, tokenizer, device)
    vae = load_autoencoder(autoencoder, device)
    rng = np.random.default_rng(11)
    scenes = [scene_at("evaluation", 100 + i) for i in range(16)]
    prompts = [emotional_caption(scene, rng) for scene in scenes] + [neutral_caption(scene, rng) for scene in scenes]
    pictures = to_images(paint(models, tokenizer, vae, prompts, seed=1, shift=recipe.shift))
    sheet = Image.new("RGB", (8 * 128, 4 * 128))
    for i, picture in enumerate(pictures):
        sheet.paste(picture, ((i % 8) * 128, (i // 8) * 128))
    sheet.save(folder / f"samples-{step:06d}.png")
