"""The full-size path on one card with random weights: pictures beside plain diffusers, a 7B judge, learning.

    python tests/benchmarks/gpu.py                  on a GPU: 33 GB of memory or disk for the weights, some minutes
    python tests/benchmarks/gpu.py --shape tiny     anywhere: shows that it runs, its figures mean nothing

Generator and diffusers take turns and get the same weights, prompt, steps and guidance; both end with pictures, ours
with PNGs. The tokenizers are tiny ones, so prompts have other words and the full lengths. The peak is that of a dense
matrix product, measured in the same run; the operations are those that torch counts in the plain pipeline. An iteration
of Flow-GRPO is all between two of them: publish, fetch, rollout, update, checkpoint.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusion3Pipeline
from numpy.typing import NDArray
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1]))

from gpu_checkpoints import save_full_size_generator, save_full_size_judge
from speed import IMAGES, Row, alternate, show

from emofeedback.domain.assessment import Decoding, Message
from emofeedback.domain.generation import GeneratedImage, GenerationRequest
from emofeedback.domain.training import IterationDone
from emofeedback.generator.local import LocalGenerator
from emofeedback.in_process import silence_libraries
from emofeedback.judge.local import LocalJudge
from emofeedback.profiles.builtin import NANO, NANO_PROFILE, SD35_MEDIUM_PROFILE
from emofeedback.profiles.overrides import to_toml
from emofeedback.profiles.profile import GeneratorSettings, JudgeSettings
from emofeedback_trainer.flow_grpo.components import engines, load_learner, load_panel
from emofeedback_trainer.flow_grpo.config import CONFIGS, with_changes
from emofeedback_trainer.flow_grpo.events import RunEvent
from emofeedback_trainer.flow_grpo.trainer import train
from support.pictures import encoded
from support.tiny_checkpoints import save_tiny_sd3, tiny_sd3_settings

_SCORER = str(NANO / "scorer")
PROMPT = "a house by the lake"
"""Short enough for a tokenizer of letters, which diffusers would cut otherwise than we do."""


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


def _paint_plainly(
    pipeline: StableDiffusion3Pipeline,
    *,
    steps: int,
    images: int,
    settings: GeneratorSettings,
    noise: torch.Tensor | None = None,
) -> list[Image.Image]:
    painted: list[Image.Image] = pipeline(
        PROMPT,
        negative_prompt="",
        num_inference_steps=steps,
        guidance_scale=settings.guidance,
        num_images_per_prompt=images,
        width=settings.width,
        height=settings.height,
        max_sequence_length=settings.max_text_tokens,
        latents=None if noise is None else noise.to(pipeline.device, pipeline.dtype),
    ).images
    return painted


async def _paint(engine: LocalGenerator, *, steps: int, images: int) -> list[bytes]:
    """PNGs in the order of their seeds, 0 and on."""
    painted: dict[int, bytes] = {}
    async for event in engine.generate(GenerationRequest(prompt=PROMPT, seeds=tuple(range(images)), steps=steps)):
        if isinstance(event, GeneratedImage):
            painted[event.index] = event.data
    return [painted[index] for index in range(images)]


def _settled(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def pixels(settings: GeneratorSettings, ours: Sequence[bytes], theirs: Sequence[NDArray[np.uint8]]) -> Row:
    """How far our pictures are from those of diffusers."""
    opened = (np.asarray(Image.open(io.BytesIO(picture))) for picture in ours)
    levels = np.stack([np.abs(one.astype(int) - other) for one, other in zip(opened, theirs, strict=True)])
    return _one(
        f"levels from diffusers' pictures, {settings.steps} steps, mean (largest)",
        f"{levels.mean():.2f} ({levels.max()})",
    )


async def painting(settings: GeneratorSettings, folder: Path, peak: float, runs: int) -> list[Row]:
    """Pictures by our generator and by the plain pipeline."""
    device, rows = settings.device, []
    engine = LocalGenerator.load(settings)
    try:
        painted = await _paint(engine, steps=settings.steps, images=IMAGES)
        if device == "cuda":
            free, total = torch.cuda.mem_get_info()
            rows.append(_one("GiB of the card, 8 images", f"{(total - free) / 2**30:.1f}"))
        pipeline = StableDiffusion3Pipeline.from_pretrained(folder, torch_dtype=getattr(torch, settings.dtype))
        pipeline.to(device).set_progress_bar_config(disable=True)
        shape = engine._models.latent_shape
        noise = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(i)) for i in range(IMAGES)])
        plain = _paint_plainly(pipeline, steps=settings.steps, images=IMAGES, settings=settings, noise=noise)
        rows.append(pixels(settings, painted, [np.asarray(picture) for picture in plain]))
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


async def judging(settings: JudgeSettings, side: int, runs: int) -> list[Row]:
    """Short ratings, and what a token costs where the judge reasons aloud."""
    judge = LocalJudge.load(settings)
    random = np.random.default_rng(0)
    pictures = [
        encoded(Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8))) for _ in range(IMAGES)
    ]
    talk = (Message(role="user", parts=(pictures[0], "What is in this picture?")),)

    async def seconds(work: Callable[[], Awaitable[object]]) -> float:
        await work()
        spent = []
        for _ in range(runs):
            began = time.perf_counter()
            await work()
            spent.append(time.perf_counter() - began)
        return statistics.median(spent)

    try:
        rating = await seconds(lambda: judge.assess(pictures))
        few, many = [
            await seconds(partial(judge.converse, [talk], Decoding(max_new_tokens=tokens))) for tokens in (16, 64)
        ]
    finally:
        judge.close()
    return [
        _one("8 short ratings, seconds", f"{rating:.2f}"),
        _one("a token of a reply, ms", f"{(many - few) / 48 * 1e3:.1f}"),
    ]


async def learning(settings: GeneratorSettings, folder: Path) -> list[Row]:
    """Iterations of Flow-GRPO: a group of 8, a window of two of ten steps, no guidance, rank 32; the embedded judge."""
    judge = replace(NANO_PROFILE.judge, device=settings.device, threads=0)
    file = folder / "learning.toml"
    file.write_text(to_toml(replace(SD35_MEDIUM_PROFILE, generator=settings, judge=judge)))
    changes = {"groups": 1, "iterations": 4, "sampling.mode": "window", "panel.pairs": 1, "panel.images": 1}
    of_learner = {"learner.gradient_checkpointing": False, "learner.activation_gib": 45.0, "learner.clip_range": 1e-5}
    config = with_changes(
        CONFIGS["sd35-medium"], {"profile": str(file), "policies": str(folder / "policies"), **changes, **of_learner}
    )
    ends: list[float] = []

    def seen(event: RunEvent) -> None:
        if isinstance(event, IterationDone):
            ends.append(time.perf_counter())

    if settings.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    async with engines(config, config.policies) as (generator, rewarding):
        await train(
            config,
            folder / "run",
            generator=generator,
            judge=rewarding,
            learner=load_learner(config),
            panel=load_panel(config),
            on_event=seen,
        )
    rows = [_one("an iteration of Flow-GRPO, 8 images, seconds", f"{min(b - a for a, b in pairwise(ends)):.2f}")]
    if settings.device == "cuda":
        rows.append(_one("GiB allocated at most while learning", f"{torch.cuda.max_memory_allocated() / 2**30:.1f}"))
    return rows


def _one(what: str, ours: str) -> Row:
    return Row(what=what, ours=ours, peer="", ratio="")


async def measure(shape: str, folder: Path, runs: int) -> list[Row]:
    generator, judge = folder / "generator", folder / "judge"
    if shape == "tiny":
        save_tiny_sd3(generator)
        judging_settings = replace(NANO_PROFILE.judge, threads=0)
    else:
        save_full_size_generator(generator, "cuda")
        save_full_size_judge(judge, "cuda")
        judging_settings = replace(
            SD35_MEDIUM_PROFILE.judge,
            checkpoint=str(judge),
            engine="transformers",
            scorer=_SCORER,
            scorer_processor=_SCORER,
        )
    settings = settings_of(shape, generator)
    card = torch.cuda.get_device_name() if settings.device == "cuda" else "a CPU"
    peak = matmul_peak(settings.device)
    rows = [_one(f"{card}: dense bfloat16 product, TFLOP/s", f"{peak / 1e12:.1f}")]
    rows += await painting(settings, generator, peak, runs)
    rows += await judging(judging_settings, settings.width, runs)
    return rows + await learning(settings, folder)


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
