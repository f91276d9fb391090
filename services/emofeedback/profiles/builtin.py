"""The built-in profiles: which models, how they run, how they are served.

`load_profile` takes the name of one of them or the path of a TOML file that starts from one and changes some keys:

    extends = "sd35-medium"
    [generator]
    checkpoint = "/models/my-sd3-finetune"
    steps = 28

An environment variable changes a key of whatever profile is loaded: EMOFEEDBACK_PROFILE__GENERATOR__STEPS=28.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from emofeedback.profiles.profile import (
    GeneratorSettings,
    JudgeSettings,
    OptimizerSettings,
    Profile,
    Scaling,
    ServingSettings,
)
from emofeedback.storage.checkpoints import EMBEDDED

NANO = EMBEDDED
_NANO_WORDS = str(NANO / "generator" / "words.txt")


NANO_PROFILE = Profile(
    name="nano",
    generator=GeneratorSettings(
        checkpoint=str(NANO / "generator"),
        width=256,
        height=256,
        steps=14,
        guidance=2.5,
        max_batch=4,
        device="cpu",
        dtype="float32",
        # A second thread gains nothing on models so small, and on two cores generator and judge work at once.
        threads=1,
        max_text_tokens=0,
        vocabulary=_NANO_WORDS,
        subjects="a girl, man, dog, cat, rabbit, owl, house, castle, boat, tree, car or kettle",
        policies=str(NANO / "policies"),
        policy="nano-fused",
    ),
    judge=JudgeSettings(
        checkpoint=str(NANO / "judge"),
        engine="transformers",
        scorer=str(NANO / "scorer"),
        scorer_processor=str(NANO / "scorer"),
        max_batch=16,
        max_pixels=112 * 112,
        max_reasoning_tokens=160,
        device="cpu",
        dtype="float32",
        threads=1,
    ),
    optimizer=OptimizerSettings(
        text_floor=0.7,
        image_floor=0.25,
        rewrites=8,
        memory=str(NANO / "memory.json"),
        max_prompt_tokens=34,
        numeric_target=True,
        imagine=True,
        vocabulary=_NANO_WORDS,
    ),
    serving=ServingSettings(
        # One replica of each; the figures count where a profile on it raises `max_replicas`. On one busy core:
        # 30 image-steps and 1,000 tokens a second.
        generator=Scaling(
            cpus=0.5, target_work=240.0, upscale_delay_seconds=5.0, downscale_delay_seconds=60.0, surge_percent=100
        ),
        judge=Scaling(
            cpus=0.5, target_work=8000.0, upscale_delay_seconds=5.0, downscale_delay_seconds=60.0, surge_percent=100
        ),
        optimizer=Scaling(
            cpus=0.2,
            upscale_delay_seconds=5.0,
            downscale_delay_seconds=60.0,
            surge_percent=100,
            max_ongoing_requests=64,
        ),
    ),
)


SD35_MEDIUM_PROFILE = Profile(
    name="sd35-medium",
    generator=GeneratorSettings(
        checkpoint="stabilityai/stable-diffusion-3.5-medium",
        width=512,
        height=512,
        steps=25,
        guidance=4.5,
        max_batch=8,
        device="cuda",
        dtype="bfloat16",
        max_text_tokens=256,
        minimum_gpu_memory_gib=20.0,
    ),
    judge=JudgeSettings(
        checkpoint="Qwen/Qwen2.5-VL-7B-Instruct",
        engine="vllm",
        scorer="yuvalkirstain/PickScore_v1",
        scorer_processor="laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        max_batch=16,
        max_pixels=512 * 512,
        max_reasoning_tokens=512,
        device="cuda",
        dtype="bfloat16",
        minimum_gpu_memory_gib=24.0,
    ),
    optimizer=OptimizerSettings(text_floor=0.6, image_floor=0.06),
    serving=ServingSettings(
        # Half a minute's work, at 47 image-steps a second without compiled blocks and 3,200 tokens by transformers: so
        # measured on one H200, with random weights of these shapes.
        generator=Scaling(cpus=4.0, gpus=1.0, target_work=1400.0, drain_seconds=900.0),
        judge=Scaling(cpus=4.0, gpus=1.0, target_work=96_000.0),
        optimizer=Scaling(cpus=1.0, max_ongoing_requests=64, drain_seconds=1800.0, surge_percent=100),
    ),
)


# The whole stack side by side on one card of 24 GB: the T5 in the computer's memory, pictures decoded one by one, the
# smaller judge by transformers, since vLLM takes a card for itself. What it needs was computed from the measured parts
# of sd35-medium: generator 17.4 GiB without the T5's 8.9, judge 19.9 with 4.5 billion weights less; it never ran.
SD35_MEDIUM_24GB_PROFILE = replace(
    SD35_MEDIUM_PROFILE,
    name="sd35-medium-24gb",
    generator=replace(SD35_MEDIUM_PROFILE.generator, offload_t5=True, decode_batch=1, minimum_gpu_memory_gib=10.0),
    judge=replace(
        SD35_MEDIUM_PROFILE.judge,
        checkpoint="Qwen/Qwen2.5-VL-3B-Instruct",
        engine="transformers",
        minimum_gpu_memory_gib=12.0,
    ),
    serving=replace(
        SD35_MEDIUM_PROFILE.serving,
        generator=replace(SD35_MEDIUM_PROFILE.serving.generator, gpus=0.5),
        judge=replace(SD35_MEDIUM_PROFILE.serving.judge, gpus=0.5),
    ),
)


PROFILES: Mapping[str, Profile] = {p.name: p for p in (NANO_PROFILE, SD35_MEDIUM_PROFILE, SD35_MEDIUM_24GB_PROFILE)}
