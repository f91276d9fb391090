"""Limits and profiles: which models, how they run, how much one call may ask for.

A profile is a frozen tree of dataclasses. `load_profile` takes the name of a built-in one or the path of a TOML file
that starts from a built-in one and changes some keys:

    extends = "nano"
    [generator]
    checkpoint = "/models/my-sd3-finetune"
    steps = 28
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from emofeedback.errors import InvalidRequest

T = TypeVar("T")

NANO = Path(__file__).parent / "nano"
"""Folder of the embedded models."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one call may ask for; over it is INVALID_ARGUMENT (or RESOURCE_EXHAUSTED for the queue and messages)."""

    prompt_characters: int = 2000
    images_per_call: int = 64
    """Also the most images a round of the loop may have."""
    rounds: int = 20
    steps: int = 200
    guidance: float = 50.0
    smallest_noise_level: float = 0.001
    """Of a trajectory's window: below it, rounding in float32 blurs how likely a step was."""
    sde_noise_level: float = 2.0
    cps_noise_level: float = 1.0
    """All of the noise is fresh."""
    seed: int = 2**63 - 1
    image_pixels: int = 40_000_000
    """Refused from the header alone, before anything is decoded."""
    image_aspect: float = 100.0
    """Longer side by shorter side; Qwen2.5-VL's own limit is 200, scaling down rounds the shorter side."""
    conversations_per_call: int = 64
    conversation_messages: int = 32
    message_parts: int = 32
    text_characters: int = 20_000
    """An analysis, one text of a conversation, or the configuration of a training run."""
    name_characters: int = 200
    """A policy's name, a person's or a request's id."""
    new_tokens: int = 2048
    temperature: float = 2.0
    time_budget_seconds: float = 86_400.0
    message_bytes: int = 64 * 1024 * 1024
    queued_images: int = 512
    """Images that wait in one generator replica."""
    run_name_characters: int = 64
    runs_per_list: int = 1000
    """Training runs in one reply."""


LIMITS = Limits()

BASE_POLICY = "base"
"""What a request names to paint with the base weights, whatever policy the profile paints with by default."""

TOKEN_VARIABLE = "EMOFEEDBACK_TOKEN"
"""Environment variable that holds the bearer token, for the services and for the command."""


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """How pictures are painted."""

    checkpoint: str
    """Hub id or folder of a diffusers StableDiffusion3Pipeline."""
    width: int
    height: int
    steps: int
    """Default sampling steps of a call."""
    guidance: float
    """Default classifier-free guidance scale."""
    max_batch: int
    """Images that one denoising step paints together."""
    device: Literal["cpu", "cuda"]
    dtype: Literal["float32", "bfloat16", "float16"]
    max_text_tokens: int
    """Tokens of the T5 encoder, where the checkpoint has one."""
    threads: int = 0
    """Torch threads of the process on a CPU; 0 leaves torch's own choice."""
    minimum_gpu_memory_gib: float = 0.0
    """Asked for before anything heavy starts; 0 asks for nothing."""
    policies: str = ""
    """fsspec URI of the store of adapters (`generator.policy_store`); empty: none."""
    policy: str = ""
    """Name of the adapter that paints where a request names none; empty: the base weights."""
    vocabulary: str = ""
    """File of all words that a closed-vocabulary checkpoint knows, one a line; empty: open vocabulary."""


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """How pictures are judged, and by which scorer aligned."""

    checkpoint: str
    """Hub id or folder of a Qwen2.5-VL model."""
    engine: Literal["transformers", "vllm"]
    scorer: str
    """Hub id or folder of a CLIP-format model (PickScore is one)."""
    scorer_processor: str
    """Hub id or folder of the scorer's tokenizer and image processor; PickScore borrows another model's."""
    max_batch: int
    """Sequences in one forward."""
    max_pixels: int
    """Larger images are scaled down to this before the model sees them."""
    max_reasoning_tokens: int
    device: Literal["cpu", "cuda"]
    dtype: Literal["float32", "bfloat16", "float16"]
    threads: int = 0
    """Torch threads of the process on a CPU; 0 leaves torch's own choice."""
    minimum_gpu_memory_gib: float = 0.0
    calibrations: str = ""
    """fsspec URI of the store of personal calibrations (`judge.calibration_store`); empty: none."""


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """How the loop decides."""

    text_floor: float
    """A rewrite whose similarity with the original prompt is below this has lost the subject."""
    image_floor: float
    """An image whose alignment with the original prompt is this much below round one's mean has lost it too."""
    rewrite_attempts: int = 3
    """Rewrites asked for in a round before its own prompt stays."""
    plateau_rounds: int = 2
    """Rounds without a gain of `plateau_gain` after which the loop stops."""
    plateau_gain: float = 0.05
    """On the 1-9 scale."""
    max_prompt_tokens: int = 75
    """CLIP reads 77 tokens, two of them its own; a rewrite past this is shortened at a phrase boundary."""
    numeric_target: bool = False
    """Write the target's numbers behind every prompt that is painted (`affect.target_phrase`), for a generator that has
    learned to read them; the agent never sees them."""
    max_analysis_tokens: int = 512
    max_rewrite_tokens: int = 256


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Replicas of one application, what each takes, and when there should be more or fewer (`scaling`)."""

    min_replicas: int = 1
    """0 ends the last one while nobody calls; the call that finds none waits until one has loaded its models."""
    max_replicas: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    max_ongoing_requests: int = 32
    """Calls in one replica; further ones wait before it."""
    max_queued_requests: int = 256
    """Calls that wait; further ones are RESOURCE_EXHAUSTED."""
    target_work: float = 16.0
    """Unfinished work that one replica should have: image-steps in the generator, tokens in the judge, calls in the
    optimizer. As many replicas are wanted as bring it down to this."""
    look_back_seconds: float = 30.0
    """Work is averaged over this."""
    upscale_delay_seconds: float = 30.0
    """More replicas must have been wanted for so long."""
    downscale_delay_seconds: float = 600.0
    """Fewer must have been: long, where loading a model takes minutes."""
    drain_seconds: float = 600.0
    """A replica that is replaced or no longer wanted takes no new calls and is given so long to finish those it has:
    the longest call that `LIMITS` allows, at a low estimate of the model's speed."""
    surge_percent: int = 0
    """Replicas above the wanted number, in percent of it rounded up, while a new configuration rolls out. 0 stops an
    old one first, and callers wait for the new one; more needs its GPUs to spare."""


@dataclass(frozen=True, kw_only=True)
class ServingSettings:
    """The three applications, each scaled on its own."""

    generator: Scaling = field(default_factory=Scaling)
    judge: Scaling = field(default_factory=Scaling)
    optimizer: Scaling = field(default_factory=Scaling)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Everything that differs between one installation and another."""

    name: str
    generator: GeneratorSettings
    judge: JudgeSettings
    optimizer: OptimizerSettings
    serving: ServingSettings = field(default_factory=ServingSettings)


NANO_PROFILE = Profile(
    name="nano",
    generator=GeneratorSettings(
        checkpoint=str(NANO / "generator"),
        width=128,
        height=128,
        steps=14,
        guidance=2.5,
        max_batch=4,
        device="cpu",
        dtype="float32",
        # A second thread gains nothing on models so small, and on two cores generator and judge work at once.
        threads=1,
        max_text_tokens=0,
        vocabulary=str(NANO / "generator" / "words.txt"),
        policies=str(NANO / "policies"),
        policy="nano-final",
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
    optimizer=OptimizerSettings(text_floor=0.7, image_floor=0.25, max_prompt_tokens=34, numeric_target=True),
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
        # Estimated at 20 image-steps and 500 tokens a second, until somebody measures them on such a GPU.
        generator=Scaling(cpus=4.0, gpus=1.0, target_work=600.0, drain_seconds=900.0),
        judge=Scaling(cpus=4.0, gpus=1.0, target_work=15_000.0),
        optimizer=Scaling(cpus=1.0, max_ongoing_requests=64, drain_seconds=1800.0, surge_percent=100),
    ),
)

PROFILES: Mapping[str, Profile] = {p.name: p for p in (NANO_PROFILE, SD35_MEDIUM_PROFILE)}


def load_profile(name: str) -> Profile:
    """A built-in profile by name, or one from a TOML file (see the module's docstring).

    Raises:
        InvalidRequest: no such profile or file, an unknown key, or a value of the wrong type; the dotted key is named.
    """
    if name in PROFILES:
        return PROFILES[name]
    base, changes = extended(name, PROFILES, "profile")
    return changed(base, {"name": Path(name).stem, **changes}, "profile")


def extended(source: str, built_in: Mapping[str, T], field: str) -> tuple[T, dict[str, Any]]:
    """The built-in settings that a TOML file starts from (`extends`, "nano" where it says nothing), and its changes;
    none for the name of built-in ones.

    Args:
        field: what messages call the source.

    Raises:
        InvalidRequest: no such settings or file, or the file is no TOML.
    """
    if source in built_in:
        return built_in[source], {}
    known, path = ", ".join(built_in), Path(source)
    if path.suffix != ".toml" or not path.is_file():
        raise InvalidRequest.of(field, f"{source!r} is neither one of {known} nor an existing .toml file")
    try:
        changes = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest.of(field, f"{path} is not TOML: {error}") from error
    base = changes.pop("extends", "nano")
    if base not in built_in:
        raise InvalidRequest.of(f"{field}.extends", f"{base!r} is not one of {known}")
    return built_in[base], changes


def with_policies(profile: Profile, uri: str) -> Profile:
    """The profile with the adapters of another store. Its own default one is not in there: where a request names no
    policy, the base weights paint."""
    return dataclasses.replace(profile, generator=dataclasses.replace(profile.generator, policies=uri, policy=""))


def with_calibrations(profile: Profile, uri: str) -> Profile:
    """The profile with the personal calibrations of another store."""
    return dataclasses.replace(profile, judge=dataclasses.replace(profile.judge, calibrations=uri))


def changed(settings: T, changes: Mapping[str, Any], where: str) -> T:
    """A copy of a settings dataclass with some keys replaced, tables descended into.

    Args:
        changes: as TOML has them; a list replaces a tuple of texts.
        where: what the dotted keys in messages start with; empty: the settings are the root.

    Raises:
        InvalidRequest: an unknown key, or a value of another type than the present one.
    """
    assert dataclasses.is_dataclass(settings) and not isinstance(settings, type)
    known = {f.name for f in dataclasses.fields(settings)}
    replaced: dict[str, Any] = {}
    for key, value in changes.items():
        dotted = f"{where}.{key}" if where else key
        if key not in known:
            raise InvalidRequest.of(dotted, f"unknown key, known are {', '.join(sorted(known))}")
        current = getattr(settings, key)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise InvalidRequest.of(dotted, "must be a table")
            replaced[key] = changed(current, value, dotted)
            continue
        if isinstance(current, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if isinstance(current, tuple) and isinstance(value, list) and all(isinstance(item, str) for item in value):
            value = tuple(value)
        if type(value) is not type(current):
            raise InvalidRequest.of(dotted, f"must be of type {type(current).__name__}, not {type(value).__name__}")
        replaced[key] = value
    return dataclasses.replace(settings, **replaced)
