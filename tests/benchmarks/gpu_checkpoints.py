"""Checkpoints of the full-size models' shapes with random weights, in bfloat16: what `gpu.py` measures on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    T5Config,
    T5EncoderModel,
)

from emofeedback.profiles.builtin import NANO
from support.tiny_checkpoints import clip_tokenizer, t5_tokenizer

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")


def save_full_size_generator(folder: Path, device: str) -> None:
    """A StableDiffusion3Pipeline of SD3.5-Medium's shape in bfloat16, every part with random weights."""
    clip_words, t5_words = clip_tokenizer(77), t5_tokenizer()

    def clip(width: int, layers: int, heads: int, activation: str) -> CLIPTextModelWithProjection:
        return CLIPTextModelWithProjection(
            CLIPTextConfig(
                vocab_size=49408,
                hidden_size=width,
                intermediate_size=4 * width,
                projection_dim=width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                hidden_act=activation,
                bos_token_id=clip_words.bos_token_id,
                eos_token_id=clip_words.eos_token_id,
                pad_token_id=clip_words.pad_token_id,
            )
        )

    def transformer() -> SD3Transformer2DModel:
        return SD3Transformer2DModel(
            num_layers=24,
            num_attention_heads=24,
            caption_projection_dim=1536,
            pos_embed_max_size=384,
            dual_attention_layers=tuple(range(13)),
            qk_norm="rms_norm",
        )

    def autoencoder() -> AutoencoderKL:
        return AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            latent_channels=16,
            use_quant_conv=False,
            use_post_quant_conv=False,
            scaling_factor=1.5305,
            shift_factor=0.0609,
        )

    def t5() -> T5EncoderModel:
        shape = T5Config(
            vocab_size=32128, d_model=4096, d_ff=10240, num_layers=24, num_heads=64, feed_forward_proj="gated-gelu"
        )
        return T5EncoderModel(shape)

    StableDiffusion3Pipeline(
        transformer=_drawn(transformer, device),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_drawn(autoencoder, device),
        text_encoder=_drawn(lambda: clip(768, 12, 12, "quick_gelu"), device),
        tokenizer=clip_words,
        text_encoder_2=_drawn(lambda: clip(1280, 32, 20, "gelu"), device),
        tokenizer_2=clip_words,
        text_encoder_3=_drawn(t5, device),
        tokenizer_3=t5_words,
    ).save_pretrained(folder, safe_serialization=True)


def save_full_size_judge(folder: Path, device: str) -> None:
    """A Qwen2.5-VL-7B in bfloat16 with random weights, and the embedded judge's tokenizer and image processor."""
    embedded = json.loads((NANO / "judge" / "config.json").read_text())
    named = {
        key: embedded[key]
        for key in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    }
    ends = {key: embedded["text_config"][key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "vocab_size": 152064,
            "max_position_embeddings": 128000,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
            "rms_norm_eps": 1e-6,
            **ends,
        },
        vision_config={
            "depth": 32,
            "hidden_size": 1280,
            "num_heads": 16,
            "intermediate_size": 3420,
            "out_hidden_size": 3584,
            "fullatt_block_indexes": [7, 15, 23, 31],
            "tokens_per_second": 2,
            "window_size": 112,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        tie_word_embeddings=False,
        **named,
    )
    _drawn(lambda: Qwen2_5_VLForConditionalGeneration(config), device).save_pretrained(folder, max_shard_size="5GB")
    for name in _TOKENIZER:
        shutil.copy(NANO / "judge" / name, folder / name)
    processor = json.loads((NANO / "judge" / "preprocessor_config.json").read_text())
    processor["size"] = {"longest_edge": 12_845_056, "shortest_edge": 3136}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def _drawn(make: Callable[[], nn.Module], device: str) -> Any:
    torch.manual_seed(7)
    with torch.device(device):
        return make().to(torch.bfloat16).eval()
