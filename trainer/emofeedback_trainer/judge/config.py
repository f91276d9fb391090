"""Configurations of the judge's training: frozen trees, the built-in ones, and TOML files that change some keys.

extends = "nano"
steps = 300
rewards.shape = "continuous"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.limits import LIMITS
from emofeedback.profiles.builtin import NANO_PROFILE, SD35_MEDIUM_PROFILE
from emofeedback.profiles.overrides import changed, extended, flat
from emofeedback.profiles.profile import STRICT, Count, Device, NotNegative, Positive, Share, Text, inconsistent
from emofeedback_trainer.core.config import renamed
from emofeedback_trainer.core.rewards import STEP_THRESHOLD
from emofeedback_trainer.evaluation.metrics import TWO_SHARED
from emofeedback_trainer.judge.rewards import Form
from emofeedback_trainer.judge.tasks import TaskName

Config = TypeVar("Config", bound="SftConfig | GrpoConfig")
Tasks = Annotated[tuple[TaskName, ...], Field(min_length=1)]
NewTokens = Annotated[int, Field(ge=1, le=LIMITS.new_tokens)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelConfig:
    """Which judge learns, where, and what of it."""

    checkpoint: Text
    """Hub id or folder of a Qwen2.5-VL model."""
    max_pixels: Annotated[int, Field(ge=28 * 28)]
    """Larger pictures are scaled down to this; a Qwen2.5-VL token is 28 pixels a side."""
    device: Device
    """What the judge learns on."""
    dtype: Literal["float32", "bfloat16"]
    """Number format of the frozen weights; what learns is float32."""
    rank: Count = 64
    """Rank of the LoRA adapter; EEmo-Logic's."""
    lora_alpha: Count = 64
    """The adapter's change counts `lora_alpha / rank` times; EEmo-Logic's."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the adapter's inputs that is dropped in training; EEmo-Logic's."""
    target_modules: Text = "all-linear"
    """The layers that the adapter changes: all linear ones, the vision encoder's included, or a regular expression of
    their names."""
    gradient_checkpointing: bool = False
    """Computes activations anew in the backward pass: slower, and fits where memory is short."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Schedule:
    """How many steps, and how large."""

    steps: Count
    """Optimizer steps."""
    learning_rate: Positive
    """Learning rate at which the half cosine begins."""
    final_rate: Share = 0.0
    """Learning rate at which the half cosine ends, as a share of `learning_rate`."""
    batch: Count = 16
    """Replies of one forward and backward pass."""
    accumulation: Count = 1
    """Forward and backward passes of a step."""
    warmup: Annotated[int, Field(ge=0)] = 0
    """Steps over which the rate rises first."""
    save_every: Count = 20
    """Steps between two checkpoints."""
    measure_every: Count = 20
    """Steps between two measurements on the validation split; the first comes before any training."""
    measured: Count = 64
    """Pictures of the validation split that are judged each time."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RewardWeights:
    """What a reply earns. The paper names the weights 0.25 and 0.75 without saying what they weigh."""

    shape: Form = "step"
    """Shape of the reward of a number; see `rewards.number_reward`."""
    threshold: Positive = STEP_THRESHOLD
    """Largest error that the step rewards, in points of the 1-9 scale."""
    format: NotNegative = 0.25
    """Weight of thoughts and answer in their tags; EEmo-Logic's eta."""
    rating: NotNegative = 0.75
    """Weight of valence and arousal, half of it each; 0 trains classification alone."""
    emotion: NotNegative = 0.25
    """Weight of the emotion's class; 0 trains regression alone."""
    ranking: NotNegative = 1.0
    """Weight of the order of the three emotions felt most."""
    vad: NotNegative = 1.0
    """Weight of valence, arousal and dominance together, of the task `vad`."""
    dominance: NotNegative = 1.0
    """Weight of dominance, where it is asked on its own."""
    similarity: NotNegative = 1.0
    """Weight of one of Ekman's emotions, near misses rewarded."""
    multi_objective_aggregation: Literal["sum_then_normalize", "normalize_then_sum"] = "sum_then_normalize"
    """What is normalized in its group: the sum of the rewards (GRPO), or each of them before they are summed (GDPO), so
    that one which varies little counts as much as one which varies a lot."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SftConfig:
    """Supervised fine-tuning: the judge learns to reply as somebody who knows the labels."""

    model: ModelConfig
    schedule: Schedule
    tasks: Tasks = ("assessment",)
    """What the judge is asked about a picture, see `tasks`."""
    questions: bool = False
    """Also learns the data folder's questions and answers, which `data build-eemodb` makes."""
    max_new_tokens: NewTokens = 512
    """Longest replies by which it is measured; a judge that has not learned to end them is cut there."""
    seed: Seed = 0
    """What the order of the samples and the sampling follow from."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GrpoConfig:
    """GRPO: the judge replies several times, and what earned more than its group becomes likelier."""

    model: ModelConfig
    schedule: Schedule
    rewards: RewardWeights = field(default_factory=RewardWeights)
    tasks: Tasks = ("assessment",)
    """What the judge is asked about a picture, see `tasks`; each has rewards of its own."""
    num_generations: Annotated[int, Field(ge=2)] = 8
    """Replies of a group: the same picture and question."""
    beta: NotNegative = 1e-3
    """Weight of the divergence from the judge that the run began with."""
    temperature: Annotated[float, Field(gt=0, le=LIMITS.temperature)] = 1.0
    """Sampling temperature of the replies."""
    max_new_tokens: NewTokens = 512
    """Longer replies are cut, and earn nothing for their form."""
    vllm_server: str = ""
    """Base URL of a running `vllm serve` that replies and takes new weights after each step; empty: transformers, in
    this process."""
    seed: Seed = 0
    """What the order of the samples and the sampling follow from."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        replies = self.schedule.batch * self.schedule.accumulation
        if replies % self.num_generations:
            limit = f"divide the {replies} replies of a step into whole groups"
            raise inconsistent("num_generations", f"is {self.num_generations}, it must {limit}")
        if self.vllm_server and self.model.device != "cuda":
            raise inconsistent("vllm_server", "needs model.device 'cuda': new weights reach the server over NCCL")
        return self


_NANO = NANO_PROFILE.judge
_PAPER = SD35_MEDIUM_PROFILE.judge
_NANO_MODEL = ModelConfig(
    checkpoint=_NANO.checkpoint, max_pixels=_NANO.max_pixels, device="cpu", dtype="float32", dropout=0.0
)
_PAPER_MODEL = ModelConfig(
    checkpoint=_PAPER.checkpoint,
    max_pixels=_PAPER.max_pixels,
    device="cuda",
    dtype="bfloat16",
    gradient_checkpointing=True,
)
_PAPER_STEPS = 14_563 // 16
"""An epoch of the paper's training split in batches of 16."""

SFT_CONFIGS: Mapping[str, SftConfig] = {
    "nano": SftConfig(
        model=_NANO_MODEL,
        schedule=Schedule(steps=20, learning_rate=3e-4, batch=32, warmup=5, measured=200),
        max_new_tokens=_NANO.max_reasoning_tokens,
    ),
    "qwen2.5-vl-7b": SftConfig(
        model=_PAPER_MODEL,
        schedule=Schedule(
            steps=_PAPER_STEPS,
            learning_rate=2e-4,
            batch=4,
            accumulation=4,
            warmup=30,
            save_every=100,
            measure_every=100,
        ),
        max_new_tokens=_PAPER.max_reasoning_tokens,
    ),
}
"""Built-in configurations of `judge-sft`; the rate of the large model is EEmo-Logic's."""

GRPO_CONFIGS: Mapping[str, GrpoConfig] = {
    # A model this small takes larger steps, and its replies end within 160 tokens. Its eyes stay as they are: a few
    # thousand rewards say too little about them, and their noise makes it see worse.
    "nano": GrpoConfig(
        model=replace(_NANO_MODEL, target_modules=".*language_model.*_proj"),
        schedule=Schedule(steps=80, learning_rate=1e-4, final_rate=1.0, batch=64, measured=200),
        rewards=RewardWeights(multi_objective_aggregation="normalize_then_sum"),
        max_new_tokens=_NANO.max_reasoning_tokens,
    ),
    # The paper's: groups of 8, 16 replies a step, 5 epochs, 1e-6 to 1e-9.
    "qwen2.5-vl-7b": GrpoConfig(
        model=_PAPER_MODEL,
        schedule=Schedule(
            steps=5 * _PAPER_STEPS,
            learning_rate=1e-6,
            final_rate=1e-3,
            batch=8,
            accumulation=2,
            save_every=100,
            measure_every=100,
        ),
        max_new_tokens=_PAPER.max_reasoning_tokens,
    ),
}
"""Built-in configurations of `judge-grpo`."""


_RENAMED = {
    "model.alpha": "model.lora_alpha",
    "model.modules": "model.target_modules",
    "rewards.form": "rewards.shape",
    "rewards.normalized": "rewards.multi_objective_aggregation",
    "generations": "num_generations",
}
"""The keys that configurations once had."""

_AGGREGATIONS = {"sum": "sum_then_normalize", "each": "normalize_then_sum"}
"""What `rewards.normalized` once said."""


def load_config(source: str, built_in: Mapping[str, Config], changes: Mapping[str, Any]) -> Config:
    """A built-in configuration by name, or one from a TOML file (see the module's docstring), with further changes.

    Args:
        changes: in tables or by dotted key.

    Raises:
        InvalidRequest: no such configuration or file, or keys that are unknown, of the wrong type or out of their
            ranges: a violation for each, by its dotted key.
    """
    base, written = extended(source, built_in, "config")
    return changed(base, {**present_keys(written), **present_keys(changes)})


def present_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of some keys by today's dotted ones, with a warning for each old one.

    Raises:
        InvalidRequest: `rewards.two_shared`, which is a constant now, has another value.
    """
    values = flat(values)
    if values.pop("rewards.two_shared", TWO_SHARED) != TWO_SHARED:
        raise InvalidRequest.of("rewards.two_shared", f"is no longer a choice, it is {TWO_SHARED:.3f}")
    if values.get("rewards.normalized") in ("sum", "each"):
        values["rewards.normalized"] = _AGGREGATIONS[values["rewards.normalized"]]
    return renamed(values, _RENAMED)
