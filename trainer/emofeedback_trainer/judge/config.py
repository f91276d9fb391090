"""Configurations of the judge's training: frozen trees, the built-in ones, and TOML files that change some keys.

extends = "nano"
steps = 300
rewards.form = "continuous"
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, TypeVar

from emofeedback.domain.limits import LIMITS
from emofeedback.profiles.builtin import NANO_PROFILE, SD35_MEDIUM_PROFILE
from emofeedback.profiles.overrides import changed, extended
from emofeedback_trainer.core.config import flat, out_of_range, refuse
from emofeedback_trainer.core.rewards import STEP_THRESHOLD
from emofeedback_trainer.evaluation.metrics import TWO_SHARED
from emofeedback_trainer.judge.rewards import Form
from emofeedback_trainer.judge.tasks import TASKS, TaskName

Config = TypeVar("Config", bound="SftConfig | GrpoConfig")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which judge learns, where, and what of it."""

    checkpoint: str
    """Hub id or folder of a Qwen2.5-VL model."""
    max_pixels: int
    """Larger pictures are scaled down to this."""
    device: Literal["cpu", "cuda"]
    dtype: Literal["float32", "bfloat16"]
    """Of the frozen weights; what learns is float32."""
    rank: int = 64
    """Of the LoRA adapter (EEmo-Logic's, as the next two)."""
    alpha: int = 64
    """The adapter's scale, times the rank."""
    dropout: float = 0.05
    """Before the adapter, in [0, 1)."""
    modules: str = "all-linear"
    """What it binds: all linear layers, eyes included, or a regular expression of their names."""
    gradient_checkpointing: bool = False
    """Computes activations anew in the backward pass: slower, and fits where memory is short."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How many steps, and how large."""

    steps: int
    """Optimizer steps."""
    learning_rate: float
    """Where the half cosine begins."""
    final_rate: float = 0.0
    """Where it ends, as a share of `learning_rate`."""
    batch: int = 16
    """Replies of one forward and backward pass."""
    accumulation: int = 1
    """Such passes a step."""
    warmup: int = 0
    """Steps over which the rate rises first."""
    save_every: int = 20
    """Steps between two checkpoints."""
    measure_every: int = 20
    """Steps between two measurements on the validation split; the first comes before any training."""
    measured: int = 64
    """Pictures of the validation split that are judged each time."""


@dataclass(frozen=True, kw_only=True)
class RewardWeights:
    """What a reply earns. The paper names the weights 0.25 and 0.75 without saying what they weigh."""

    form: Form = "step"
    """Of the reward of a number; see `rewards.number_reward`."""
    threshold: float = STEP_THRESHOLD
    """Largest error that the step rewards, in points of the 1-9 scale."""
    format: float = 0.25
    """Of thoughts and answer in their tags; EEmo-Logic's eta."""
    rating: float = 0.75
    """Of valence and arousal, half of it each; 0 trains classification alone."""
    emotion: float = 0.25
    """Of the class; 0 trains regression alone."""
    ranking: float = 1.0
    dominance: float = 1.0
    similarity: float = 1.0
    """Of one of Ekman's emotions, near misses rewarded."""
    normalized: Literal["sum", "each"] = "sum"
    """What is normalized in its group: the sum of the rewards (GRPO), or each of them before they are summed (GDPO), so
    that one which varies little counts as much as one which varies a lot."""
    two_shared: float = TWO_SHARED
    """How much the order of two shared emotions counts beside that of three, in a ranking."""


@dataclass(frozen=True, kw_only=True)
class SftConfig:
    """Supervised fine-tuning: the judge learns to reply as somebody who knows the labels."""

    model: ModelConfig
    schedule: Schedule
    tasks: tuple[TaskName, ...] = ("assessment",)
    """See `tasks`."""
    questions: bool = False
    """Also learns the data folder's questions and answers, which `data build-eemodb` makes."""
    max_new_tokens: int = 512
    """Of the replies by which it is measured; a judge that has not learned to end them is cut there."""
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class GrpoConfig:
    """GRPO: the judge replies several times, and what earned more than its group becomes likelier."""

    model: ModelConfig
    schedule: Schedule
    rewards: RewardWeights = field(default_factory=RewardWeights)
    tasks: tuple[TaskName, ...] = ("assessment",)
    """See `tasks`; each has rewards of its own."""
    num_generations: int = 8
    """Replies of a group: the same picture and question."""
    beta: float = 1e-3
    """Weight of the divergence from the judge that the run began with."""
    temperature: float = 1.0
    max_new_tokens: int = 512
    """Longer replies are cut, and earn nothing for their form."""
    vllm_server: str = ""
    """Base URL of a running `vllm serve` that replies and takes new weights after each step; empty: transformers, in
    this process."""
    seed: int = 0


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
        model=replace(_NANO_MODEL, modules=".*language_model.*_proj"),
        schedule=Schedule(steps=80, learning_rate=1e-4, final_rate=1.0, batch=64, measured=200),
        rewards=RewardWeights(normalized="each"),
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


def load_config(source: str, built_in: Mapping[str, Config], changes: Mapping[str, Any]) -> Config:
    """A built-in configuration by name, or one from a TOML file (see the module's docstring), with further changes.

    Raises:
        InvalidRequest: no such configuration or file, an unknown key, a value of the wrong type or out of its range;
            the dotted key is named.
    """
    base, written = extended(source, built_in, "config")
    config = changed(changed(base, written, ""), changes, "")
    refuse(_problems(config))
    return config


def _problems(config: SftConfig | GrpoConfig) -> Iterator[tuple[str, str]]:
    """Dotted keys that are out of their ranges, each with what is wrong."""
    must = partial(out_of_range, flat(config))
    counts = ("steps", "batch", "accumulation", "save_every", "measure_every", "measured")
    yield from must(lambda n: n >= 1, "at least 1", *(f"schedule.{key}" for key in counts))
    yield from must(lambda n: n >= 0, "0 or above", "schedule.warmup")
    yield from must(lambda x: 0 < x < math.inf, "above 0", "schedule.learning_rate")
    yield from must(lambda x: 0 <= x <= 1, "in [0, 1]", "schedule.final_rate", "model.dropout")
    yield from must(lambda n: n >= 1, "at least 1", "model.rank", "model.alpha", "model.max_pixels")
    yield from must(lambda device: device in ("cpu", "cuda"), "'cpu' or 'cuda'", "model.device")
    yield from must(lambda dtype: dtype in ("float32", "bfloat16"), "'float32' or 'bfloat16'", "model.dtype")
    yield from must(lambda n: 0 <= n < 2**32, "in [0, 4294967295]", "seed")
    known = ", ".join(TASKS)
    yield from must(lambda tasks: bool(tasks) and set(tasks) <= set(TASKS), f"some of {known}", "tasks")
    yield from must(lambda n: 1 <= n <= LIMITS.new_tokens, f"in [1, {LIMITS.new_tokens}]", "max_new_tokens")
    if isinstance(config, GrpoConfig):
        yield from _grpo_problems(config, must)


def _grpo_problems(config: GrpoConfig, must: Callable[..., Iterator[tuple[str, str]]]) -> Iterator[tuple[str, str]]:
    yield from must(lambda n: n >= 2, "at least 2", "generations")
    replies = config.schedule.batch * config.schedule.accumulation
    if config.num_generations >= 2 and replies % config.num_generations:
        yield (
            "generations",
            f"is {config.num_generations}, it must divide the {replies} replies of a step into whole groups",
        )
    yield from must(lambda x: 0 <= x < math.inf, "0 or a finite number above", "beta")
    yield from must(lambda x: 0 < x <= LIMITS.temperature, f"in (0, {LIMITS.temperature:g}]", "temperature")
    forms = ("step", "continuous", "hybrid")
    yield from must(lambda form: form in forms, f"one of {', '.join(forms)}", "rewards.form")
    yield from must(lambda what: what in ("sum", "each"), "'sum' or 'each'", "rewards.normalized")
    yield from must(lambda x: 0 < x < math.inf, "above 0", "rewards.threshold")
    weights = tuple(f"rewards.{name}" for name in ("format", "rating", "emotion", "ranking", "dominance", "similarity"))
    yield from must(lambda x: 0 <= x < math.inf, "0 or a finite number above", *weights)
    yield from must(lambda x: 0 <= x <= 1, "in [0, 1]", "rewards.two_shared")
    if config.vllm_server and config.model.device != "cuda":
        yield "vllm_server", "needs model.device 'cuda': new weights reach the server over NCCL"
