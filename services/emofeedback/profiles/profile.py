"""Profiles: which models, how they run, how they are served. Everything that differs between two installations."""

from __future__ import annotations

import dataclasses
from dataclasses import field
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from emofeedback.domain.limits import LIMITS

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)
"""How settings are read: no unknown key, no "4" for 4, no NaN; what a key is for stands in the schema."""

INCONSISTENT = "inconsistent"
"""Type of the error of values that don't go together; its `key` says at which one to look."""

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, StringConstraints(min_length=1)]
Device = Literal["cpu", "cuda"]


def inconsistent(key: str, problem: str) -> PydanticCustomError:
    """The error of a validator that compares keys, `key` relative to the table that it validates."""
    return PydanticCustomError(INCONSISTENT, "{problem}", {"key": key, "problem": problem})


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GeneratorSettings:
    """How pictures are painted."""

    checkpoint: Text
    """Hub id or folder of a diffusers StableDiffusion3Pipeline."""
    width: Count
    """Pixels; the checkpoint says of what it must be a multiple."""
    height: Count
    """Pixels, as the width."""
    steps: Annotated[int, Field(ge=1, le=LIMITS.steps)]
    """Default sampling steps of a call."""
    guidance: Annotated[float, Field(ge=1, le=LIMITS.guidance)]
    """Default classifier-free guidance scale; 1 is none."""
    max_batch: Count
    """Images that one denoising step paints together."""
    device: Device
    """What the models run on."""
    dtype: Literal["float32", "bfloat16", "float16"]
    """Number format of the weights."""
    decoder_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format in which finished latents are decoded. `auto` is bfloat16 on a CPU with instructions for it
    (`avx512_bf16`), which then decodes several times as fast, in levels that differ by rounding; elsewhere `dtype`."""
    image_steps_per_minute: Annotated[int, Field(ge=0)] = 0
    """Denoising steps, of all its images together, that one caller may ask of a replica in a minute; 0 is no limit."""
    max_text_tokens: Annotated[int, Field(ge=0)]
    """Tokens of the T5 encoder, where the checkpoint has one."""
    offload_t5: bool = False
    """Keep the T5 encoder's weights in the computer's memory and bring them to the GPU layer by layer for each new
    prompt: 9 GiB less of the GPU at full size, the same numbers, and longer by what the copying takes."""
    compile_blocks: Literal["cuda", "always", "never"] = "cuda"
    """Where to compile the transformer's blocks at start (`torch.compile`), for a minute or less: a GPU then paints in
    0.6 of the time, in pixels that differ by rounding, and forwards of up to 8 rows are CUDA graphs. Needs a C++
    compiler."""
    decode_batch: Count = 4
    """Finished pictures that are decoded together on a GPU: more are a little faster and take more memory, half a GiB
    each at 512 pixels. On a CPU it is one, so that a picture's bits don't depend on its company."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Torch threads of the process on a CPU; 0 leaves torch's own choice."""
    minimum_gpu_memory_gib: NotNegative = 0.0
    """GiB of GPU memory that are asked for before anything heavy starts; 0 asks for nothing."""
    policies: str = ""
    """fsspec URI of the store of adapters (`generator.policy_store`); empty: none."""
    policy: str = ""
    """Name of the adapter that paints where a request names none; empty: the base weights."""
    vocabulary: str = ""
    """File of all words that a closed-vocabulary checkpoint knows, one a line; empty: open vocabulary."""
    recipes: bool = True
    """Every picture carries how it was made, and IPTC's mark of a synthetic one (`domain.recipe`)."""
    c2pa_certificate: str = ""
    """PEM file of the certificate by which pictures are signed (C2PA), and those between it and its authority; empty:
    they are not."""
    c2pa_key: str = ""
    """PEM file of its private key. It lies with the generator and nowhere else."""
    subjects: str = ""
    """What such a checkpoint can paint, as people are told it where they ask for something else."""

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        for given, other in (("c2pa_certificate", "c2pa_key"), ("c2pa_key", "c2pa_certificate")):
            if getattr(self, given) and not getattr(self, other):
                raise inconsistent(given, f"has no effect without {other}: give both or neither")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class JudgeSettings:
    """How pictures are judged, and by which scorer aligned."""

    checkpoint: Text
    """Hub id or folder of a Qwen2.5-VL model."""
    engine: Literal["transformers", "vllm"]
    """Library that runs the model."""
    reasoner: Literal[Device, ""] = ""
    """What a second copy of the model, by transformers, runs on beside vLLM, which keeps a model's states to itself:
    `Reason` is answered by it, once a prompt. Empty: none, and `Reason` fails its precondition."""
    scorer: Text
    """Hub id or folder of a CLIP-format model (PickScore is one)."""
    scorer_processor: Text
    """Hub id or folder of the scorer's tokenizer and image processor; PickScore borrows another model's."""
    max_batch: Count
    """Sequences in one forward."""
    max_pixels: Annotated[int, Field(ge=28 * 28)]
    """Larger images are scaled down to this before the model sees them; a Qwen2.5-VL token is 28 pixels a side."""
    max_reasoning_tokens: Annotated[int, Field(ge=1, le=LIMITS.new_tokens)]
    """Where a reply that reasons aloud, answers in a sentence or describes is cut."""
    device: Device
    """What the models run on."""
    dtype: Literal["float32", "bfloat16", "float16"]
    """Number format of the weights."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Torch threads of the process on a CPU; 0 leaves torch's own choice."""
    minimum_gpu_memory_gib: NotNegative = 0.0
    """GiB of GPU memory that are asked for before anything heavy starts; 0 asks for nothing."""
    calibrations: str = ""
    """fsspec URI of the store of personal calibrations (`judge.calibration_store`); empty: none."""

    @model_validator(mode="after")
    def _one_reasoner(self) -> Self:
        if self.reasoner and self.engine != "vllm":
            raise inconsistent("reasoner", f"is {self.reasoner}, it must be empty: judge.engine has the states itself")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OptimizerSettings:
    """How the loop decides."""

    text_floor: Annotated[float, Field(ge=-1, le=1)]
    """A rewrite whose similarity (a cosine) with the original prompt is below this has lost the subject."""
    image_floor: Annotated[float, Field(ge=0, le=2)]
    """An image whose alignment (a cosine) with the original prompt is this much below round one's mean has lost it
    too."""
    rewrites: Count = 4
    """Rewrites among which a round's images are divided, at most one for each image. As many as images where one prompt
    gives one feeling, whatever the seed."""
    memory: str = ""
    """JSON file of pictures made in earlier runs, rows of prompt, valence and arousal by the judge
    (`optimizer.memory`): readings that the words make unlikely are believed less. Empty: none."""
    rewrite_attempts: Count = 3
    """Replies asked for before a rewrite is given up."""
    plateau_rounds: Count = 2
    """Rounds without a gain of `plateau_gain` after which the loop stops."""
    plateau_gain: NotNegative = 0.05
    """Smallest gain that counts, in points of the 1-9 scale."""
    max_prompt_tokens: Count = 75
    """CLIP reads 77 tokens, two of them its own; a rewrite past this is shortened at a phrase boundary."""
    numeric_target: bool = False
    """Write the target's numbers behind every prompt that is painted (`affect.target_phrase`), for a generator that has
    learned to read them; the agent never sees them."""
    imagine: bool = False
    """Paint from what the judge imagines, where the generator's own policy paints: it must be fused with the judge."""
    vocabulary: str = ""
    """File of all words that a rewrite may add to the user's own, one a line: those that the generator knows, where its
    vocabulary is closed; empty: any."""
    max_analysis_tokens: Annotated[int, Field(ge=1, le=LIMITS.new_tokens)] = 512
    """Where an analysis is cut."""
    max_rewrite_tokens: Annotated[int, Field(ge=1, le=LIMITS.new_tokens)] = 256
    """Where a reply with a rewrite is cut."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Scaling:
    """Replicas of one application, what each takes, and when there should be more or fewer (`scaling`)."""

    min_replicas: Annotated[int, Field(ge=0)] = 1
    """0 ends the last one while nobody calls; the call that finds none waits until one has loaded its models."""
    max_replicas: Count = 1
    """At least `min_replicas`."""
    cpus: NotNegative = 1.0
    """CPUs of a replica."""
    gpus: NotNegative = 0.0
    """GPUs of a replica."""
    max_ongoing_requests: Count = 32
    """Calls in one replica; further ones wait before it."""
    max_queued_requests: Annotated[int, Field(ge=-1)] = 256
    """Calls that wait; further ones are RESOURCE_EXHAUSTED. -1 is no limit."""
    target_work: Positive = 16.0
    """Unfinished work that one replica should have: image-steps in the generator, tokens in the judge, calls in the
    optimizer. As many replicas are wanted as bring it down to this."""
    look_back_seconds: Positive = 30.0
    """Work is averaged over this."""
    upscale_delay_seconds: NotNegative = 30.0
    """Seconds of higher demand before replicas are added."""
    downscale_delay_seconds: NotNegative = 600.0
    """Seconds of lower demand before replicas are removed: many, where loading a model takes minutes."""
    drain_seconds: NotNegative = 600.0
    """A replica that is replaced or no longer wanted takes no new calls and is given so long to finish those it has:
    the longest call that `LIMITS` allows, at a low estimate of the model's speed."""
    surge_percent: Annotated[int, Field(ge=0, le=100)] = 0
    """Replicas above the wanted number, in percent of it rounded up, while a new configuration rolls out. 0 stops an
    old one first, and callers wait for the new one; more needs its GPUs to spare."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise inconsistent("max_replicas", f"is {self.max_replicas}, it must be at least {self.min_replicas}")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ServingSettings:
    """The three applications, each scaled on its own."""

    generator: Scaling = field(default_factory=Scaling)
    judge: Scaling = field(default_factory=Scaling)
    optimizer: Scaling = field(default_factory=Scaling)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Profile:
    """Everything that differs between one installation and another."""

    name: Text
    """What reports and messages call it; that of a file is the file's, where it names none."""
    generator: GeneratorSettings
    judge: JudgeSettings
    optimizer: OptimizerSettings
    serving: ServingSettings = field(default_factory=ServingSettings)


def with_policies(profile: Profile, uri: str) -> Profile:
    """The profile with the adapters of another store. Its own default one is not in there: where a request names no
    policy, the base weights paint, and nothing is imagined for them."""
    return dataclasses.replace(
        profile,
        generator=dataclasses.replace(profile.generator, policies=uri, policy=""),
        optimizer=dataclasses.replace(profile.optimizer, imagine=False),
    )


def with_calibrations(profile: Profile, uri: str) -> Profile:
    """The profile with the personal calibrations of another store."""
    return dataclasses.replace(profile, judge=dataclasses.replace(profile.judge, calibrations=uri))
