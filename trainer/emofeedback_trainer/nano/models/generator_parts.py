"""The base generator: tokenizer, transformer and text encoders as Stable Diffusion 3 has them; sampling and export."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, trainers
from tokenizers.models import BPE
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from emofeedback_trainer.core.training_state import averaged_weights
from emofeedback_trainer.nano.models.autoencoder import load_autoencoder
from emofeedback_trainer.nano.world.captions import WORDS, emotional_caption, neutral_caption, with_target
from emofeedback_trainer.nano.world.scenes import sample_scene

SHIFT = 1.5
"""Of the noise schedule towards its noisy end, in training and in the scheduler."""
_PROMPT_TOKENS = 36
_WIDTHS = (96, 64)  # of the two text encoders; their sum is the joint attention's width, so there was never a T5


def new_tokenizer(folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer whose merges were learned from captions: nearly every word of the world is one token."""
    rng = np.random.default_rng(7)
    scenes = [sample_scene(rng) for _ in range(4000)]
    texts = [with_target(emotional_caption(scene, rng), scene, rng, 1.7) for scene in scenes]
    texts += [neutral_caption(scene, rng) for scene in scenes[:1000]]
    bpe = Tokenizer(BPE(end_of_word_suffix="</w>"))
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


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer of a training folder; learned from captions on first use."""
    path = folder / "tokenizer"
    return CLIPTokenizer.from_pretrained(path) if path.exists() else new_tokenizer(path)


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


def load_models(folder: Path, tokenizer: CLIPTokenizer, device: torch.device) -> dict[str, nn.Module]:
    """The running averages of a training folder, ready to generate."""
    models = new_models(tokenizer)
    for name, model in models.items():
        model.load_state_dict(averaged_weights(folder, name))
        model.eval().to(device)
    return models


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


@torch.no_grad()
def paint(
    models: dict[str, nn.Module],
    tokenizer: CLIPTokenizer,
    prompts: list[str],
    *,
    seed: int,
    steps: int = 20,
    guidance: float = 3.0,
    shift: float = SHIFT,
) -> Tensor:
    """Latents for prompts by Euler steps with classifier-free guidance: (N, 16, 16, 16), about unit variance."""
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
    return latents


@torch.no_grad()
def to_pictures(autoencoder: AutoencoderTiny, latents: Tensor) -> Tensor:
    """Painted latents as pictures: (N, 3, 256, 256) in [-1, 1]."""
    scale, offset = autoencoder.config["scaling_factor"], autoencoder.config["shift_factor"]
    decoded: Tensor = autoencoder.decode(latents / scale + offset).sample
    return decoded


def export_generator(folder: Path, autoencoder_folder: Path, target: Path) -> None:
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
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        **models,
    )
    pipeline.to(dtype=torch.float16)
    pipeline.save_pretrained(target, safe_serialization=True)
    (target / "words.txt").write_text("\n".join(sorted(WORDS)) + "\n")
