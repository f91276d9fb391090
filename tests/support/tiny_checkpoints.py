"""Random-weight checkpoints in exactly the formats of the real ones, small enough to save and load in a test."""

import json
import string
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from peft import LoraConfig, get_peft_model_state_dict
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.reasoning import EmotionTokens
from emofeedback.domain.tensors import from_torch
from emofeedback.generator.connector import EmotionConnector, Fused
from emofeedback.generator.policy_store import MANIFEST, Manifest, Sampling, weights_digest
from emofeedback.generator.policy_store import WEIGHTS as POLICY_WEIGHTS
from emofeedback.generator.preflight import WEIGHTED
from emofeedback.profiles.builtin import SD35_MEDIUM_PROFILE
from emofeedback.profiles.profile import GeneratorSettings
from emofeedback.storage.checkpoints import digest
from emofeedback_trainer.core.publish import publish

CLIP_WIDTH = 16
T5_WIDTH = 48


def clip_tokenizer(max_tokens: int) -> CLIPTokenizer:
    """Byte-level, one token a letter: every text becomes long quickly."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = alphabet + [letter + "</w>" for letter in alphabet] + ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=max_tokens)


def clip_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=CLIP_WIDTH,
            intermediate_size=32,
            projection_dim=CLIP_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=2,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def t5_tokenizer() -> T5TokenizerFast:
    pieces = ["<pad>", "</s>", "<unk>", "\u2581", *string.ascii_lowercase, *string.punctuation, *string.digits]
    tokenizer = Tokenizer(models.Unigram([(piece, -2.0) for piece in pieces], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return T5TokenizerFast(tokenizer_object=tokenizer, extra_ids=0)


def t5_encoder(tokenizer: T5TokenizerFast) -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(vocab_size=len(tokenizer), d_model=T5_WIDTH, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    )


def tiny_transformer(joint_width: int) -> SD3Transformer2DModel:
    """With random weights, of torch's generator as it stands."""
    return SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=joint_width,
        pooled_projection_dim=2 * CLIP_WIDTH,
        pos_embed_max_size=16,
        dual_attention_layers=(0,),
        qk_norm="rms_norm",
    )


def save_tiny_sd3(
    folder: Path, *, with_t5: bool = True, joint_width: int | None = None, tiny_autoencoder: bool = False
) -> Path:
    """A StableDiffusion3Pipeline of some 60,000 parameters: 4x downscaling, 32 px native.

    `joint_width` defaults to T5's width with T5 and to the two CLIPs' together without. With T5's width and no T5 it
    is an SD3 whose T5 was left out.
    """
    torch.manual_seed(7)
    tokenizer, t5 = clip_tokenizer(40), t5_tokenizer() if with_t5 else None
    autoencoder: AutoencoderKL | AutoencoderTiny
    if tiny_autoencoder:
        autoencoder = AutoencoderTiny(
            latent_channels=4,
            encoder_block_out_channels=(8, 8, 8),
            decoder_block_out_channels=(8, 8, 8),
            num_encoder_blocks=(1, 1, 1),
            num_decoder_blocks=(1, 1, 1),
        )
    else:
        autoencoder = AutoencoderKL(
            block_out_channels=(8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=4,
            norm_num_groups=4,
            layers_per_block=1,
            use_quant_conv=False,
            use_post_quant_conv=False,
            scaling_factor=1.5,
            shift_factor=0.06,
        )
    transformer = tiny_transformer(joint_width or (T5_WIDTH if with_t5 else 2 * CLIP_WIDTH))
    StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder,
        text_encoder=clip_text_encoder(tokenizer),
        tokenizer=tokenizer,
        text_encoder_2=clip_text_encoder(tokenizer),
        tokenizer_2=tokenizer,
        text_encoder_3=t5_encoder(t5) if t5 else None,
        tokenizer_3=t5,
    ).save_pretrained(folder, safe_serialization=True)
    return folder


def tiny_sd3_settings(folder: Path, **changes: Any) -> GeneratorSettings:
    """The profile sd35-medium, with only what a tiny checkpoint on a CPU must have otherwise."""
    tiny: dict[str, Any] = {
        "checkpoint": str(folder),
        "width": 32,
        "height": 48,
        "device": "cpu",
        "dtype": "float32",
        "decoder_dtype": "float32",
        "max_text_tokens": 24,
        "minimum_gpu_memory_gib": 0.0,
    }
    return replace(SD35_MEDIUM_PROFILE.generator, **{**tiny, **changes})


TINY_JUDGE = ModelInfo(name="tiny-judge", digest="sha256:" + "5" * 64)
TOKENS, TOKEN_WIDTH = 3, 24
"""Of the tiny judge's emotion tokens."""


def tiny_fused(base: Path, *, seed: int = 1) -> Fused:
    """A connector from a tiny judge to a tiny SD3, strong enough to change its pictures."""
    transformer = SD3Transformer2DModel.load_config(base / "transformer")
    torch.manual_seed(seed)
    connector = EmotionConnector(
        tokens=TOKENS,
        judge_width=TOKEN_WIDTH,
        context_width=transformer["joint_attention_dim"],
        pooled_width=transformer["pooled_projection_dim"],
        width=16,
        heads=2,
        layers=1,
    )
    for weight in (connector.leave.weight, connector.pool.weight, connector.null):
        torch.nn.init.normal_(weight)
    return Fused(connector=connector.eval(), judge=TINY_JUDGE, variations=4)


def tiny_emotion(variations: int = 2, *, seed: int = 1, judge: ModelInfo = TINY_JUDGE) -> EmotionTokens:
    """What a tiny judge has in mind."""
    states = torch.randn(variations, TOKENS, TOKEN_WIDTH, generator=torch.Generator().manual_seed(seed))
    return EmotionTokens(states=from_torch(states), judge=judge)


def tiny_velocity(transformer: SD3Transformer2DModel) -> torch.Tensor:
    """What a tiny SD3's transformer says of one latent, always the same."""
    generator = torch.Generator().manual_seed(5)
    with torch.inference_mode():
        moved: torch.Tensor = transformer(
            hidden_states=torch.randn(1, 4, 8, 8, generator=generator),
            timestep=torch.tensor([500.0]),
            encoder_hidden_states=torch.randn(1, 4, transformer.config.joint_attention_dim, generator=generator),
            pooled_projections=torch.randn(1, 32, generator=generator),
        ).sample
    return moved


def save_tiny_policy(
    folder: Path,
    base: Path,
    *,
    seed: int = 1,
    layers: Sequence[str] = ("to_q", "to_v"),
    sampling: Sampling | None = None,
    fused: Fused | None = None,
) -> Path:
    """A policy of rank 2 on the attention of a tiny SD3, strong enough to change its pictures."""
    transformer = SD3Transformer2DModel.from_pretrained(base / "transformer")
    transformer.add_adapter(LoraConfig(r=2, lora_alpha=16, target_modules=list(layers), init_lora_weights=False))
    generator = torch.Generator().manual_seed(seed)
    weights = get_peft_model_state_dict(transformer)
    weights = {name: torch.randn(weight.shape, generator=generator) for name, weight in weights.items()}
    model = ModelInfo(name=base.name, digest=digest(base, WEIGHTED))
    publish(
        str(folder.parent),
        folder.name,
        weights,
        rank=2,
        alpha=16,
        base=model,
        run="tiny",
        step=seed,
        sampling=sampling,
        fused=fused,
    )
    return folder


def save_policy_of(folder: Path, base: Path, weights: bytes, **changes: Any) -> Path:
    """A policy with any weights under a manifest that fits them, but for `changes`."""
    folder.mkdir(parents=True)
    (folder / POLICY_WEIGHTS).write_bytes(weights)
    manifest = Manifest(
        name=folder.name,
        digest=weights_digest(folder / POLICY_WEIGHTS),
        base_name=base.name,
        base_digest=digest(base, WEIGHTED),
        rank=2,
        modules=8,
        run="tiny",
        step=0,
        created="2026-01-01T00:00:00+00:00",
    )
    (folder / MANIFEST).write_text(json.dumps(replace(manifest, **changes).to_json()))
    return folder
