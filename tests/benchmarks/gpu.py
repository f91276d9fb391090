"""The full-size generator beside plain diffusers on one card, random weights of SD3.5-Medium's shape, in turns.

    python tests/benchmarks/gpu.py                  on a GPU: 33 GB of memory or disk for the weights, some minutes
    python tests/benchmarks/gpu.py --shape tiny     anywhere: shows that it runs, its figures mean nothing

Both get the same weights, prompt, steps and guidance; both end with pictures, ours with PNGs. The tokenizers are tiny
ones, so prompts have other words and the full lengths. The peak is that of a dense matrix product, measured in the same
run; the operations are those that torch counts in the plain pipeline.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from speed import IMAGES, Row, alternate, show
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from emofeedback.domain.generation import GenerationRequest
from emofeedback.generator.local import LocalGenerator
from emofeedback.in_process import silence_libraries
from emofeedback.profiles.builtin import SD35_MEDIUM_PROFILE
from emofeedback.profiles.profile import GeneratorSettings
from support.tiny_checkpoints import clip_tokenizer, save_tiny_sd3, t5_tokenizer, tiny_sd3_settings

PROMPT = "a quiet house by the lake in the first light of the day"


def save_full_size(folder: Path, device: str) -> None:
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

    def drawn(make: Callable[[], nn.Module]) -> nn.Module:
        torch.manual_seed(7)
        with torch.device(device):
            return make().to(torch.bfloat16).eval()

    StableDiffusion3Pipeline(
        transformer=drawn(transformer),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=drawn(autoencoder),
        text_encoder=drawn(lambda: clip(768, 12, 12, "quick_gelu")),
        tokenizer=clip_words,
        text_encoder_2=drawn(lambda: clip(1280, 32, 20, "gelu")),
        tokenizer_2=clip_words,
        text_encoder_3=drawn(t5),
        tokenizer_3=t5_words,
    ).save_pretrained(folder, safe_serialization=True)


def settings_of(shape: str, folder: Path) -> GeneratorSettings:
    """The profile sd35-medium on such a checkpoint; of the tiny one on the CPU, without compiling."""
    if shape == "tiny":
        return tiny_sd3_settings(folder)
    return replace(SD35_MEDIUM_PROFILE.generator, checkpoint=str(folder))


def matmul_peak(device: str) -> float:
    """Operations a second of a dense bfloat16 product, the median of some."""
    size = 8192 if device == "cuda" else 256
    one, other = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(5):
        _settled(device)
        began = time.perf_counter()
        for _ in range(10):
            torch.mm(one, other)
        _settled(device)
        seconds.append((time.perf_counter() - began) / 10)
    return 2 * size**3 / statistics.median(seconds)


def operations(pipeline: StableDiffusion3Pipeline, *, steps: int, images: int, settings: GeneratorSettings) -> float:
    """Of painting so many images with guidance, by the plain pipeline in one step and in two."""

    def counted(steps: int) -> int:
        with FlopCounterMode(display=False) as counter:
            _paint_plainly(pipeline, steps=steps, images=1, settings=settings)
        total: int = counter.get_total_flops()
        return total

    one, two = counted(1), counted(2)
    return images * (one + (steps - 1) * (two - one))


def _paint_plainly(pipeline: StableDiffusion3Pipeline, *, steps: int, images: int, settings: GeneratorSettings) -> None:
    pipeline(
        PROMPT,
        negative_prompt="",
        num_inference_steps=steps,
        guidance_scale=settings.guidance,
        num_images_per_prompt=images,
        width=settings.width,
        height=settings.height,
        max_sequence_length=settings.max_text_tokens,
    )


async def _paint(engine: LocalGenerator, *, steps: int, images: int) -> None:
    async for _ in engine.generate(GenerationRequest(prompt=PROMPT, seeds=tuple(range(images)), steps=steps)):
        pass


def _settled(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


async def measure(shape: str, folder: Path, runs: int) -> list[Row]:
    settings = settings_of(shape, folder)
    device = settings.device
    if shape == "tiny":
        save_tiny_sd3(folder)
    else:
        save_full_size(folder, device)
    card = torch.cuda.get_device_name() if device == "cuda" else "a CPU"
    peak = matmul_peak(device)
    rows = [Row(what=f"{card}: dense bfloat16 product, TFLOP/s", ours=f"{peak / 1e12:.1f}", peer="", ratio="")]
    engine = LocalGenerator.load(settings)
    try:
        await _paint(engine, steps=settings.steps, images=IMAGES)
        if device == "cuda":
            gib = torch.cuda.max_memory_allocated() / 2**30
            rows.append(Row(what="GiB allocated at most, 8 images", ours=f"{gib:.1f}", peer="", ratio=""))
        pipeline = StableDiffusion3Pipeline.from_pretrained(folder, torch_dtype=getattr(torch, settings.dtype))
        pipeline.to(device).set_progress_bar_config(disable=True)
        for images, steps in ((IMAGES, 25), (IMAGES, 10), (1, 25)):

            async def peer(images: int = images, steps: int = steps) -> None:
                _paint_plainly(pipeline, steps=steps, images=images, settings=settings)

            async def ours(images: int = images, steps: int = steps) -> None:
                await _paint(engine, steps=steps, images=images)

            fast, slow = await alternate(ours, peer, runs)
            what = f"{images} images, {steps} steps, seconds"
            rows.append(Row(what=what, ours=f"{fast:.2f}", peer=f"{slow:.2f}", ratio=f"{fast / slow:.2f}"))
            if images == IMAGES:
                work = operations(pipeline, steps=steps, images=images, settings=settings)
                shares = [f"{work / seconds / peak:.0%}" for seconds in (fast, slow)]
                rows.append(Row(what=f"{what[:-9]}, share of the peak", ours=shares[0], peer=shares[1], ratio=""))
    finally:
        engine.close()
    return rows


def main() -> None:
    """Measure and print a Markdown table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shape", choices=("sd35-medium", "tiny"), default="sd35-medium")
    parser.add_argument("--runs", type=int, default=3, help="counted turns of each comparison (default %(default)s)")
    parser.add_argument("--weights", type=Path, help="folder for the random weights; default: a temporary one")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if options.shape != "tiny" and not torch.cuda.is_available():
        sys.exit("no CUDA device is here; --shape tiny shows on a CPU that this runs")
    silence_libraries()
    with tempfile.TemporaryDirectory(prefix="emofeedback-bench-") as folder:
        weights = options.weights or Path(folder)
        show(asyncio.run(measure(options.shape, weights, options.runs)), as_json=options.json)


if __name__ == "__main__":
    main()
