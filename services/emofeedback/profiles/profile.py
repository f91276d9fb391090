"""Profiles: which models, how they run, how they are served. Everything that differs between two installations."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal


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
    subjects: str = ""
    """What such a checkpoint can paint, as people are told it where they ask for something else."""


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
    vocabulary: str = ""
    """File of all words that a rewrite may add to the user's own, one a line: those that the generator knows, where its
    vocabulary is closed; empty: any."""
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


def with_policies(profile: Profile, uri: str) -> Profile:
    """The profile with the adapters of another store. Its own default one is not in there: where a request names no
    policy, the base weights paint."""
    return dataclasses.replace(profile, generator=dataclasses.replace(profile.generator, policies=uri, policy=""))


def with_calibrations(profile: Profile, uri: str) -> Profile:
    """The profile with the personal calibrations of another store."""
    return dataclasses.replace(profile, judge=dataclasses.replace(profile.judge, calibrations=uri))
