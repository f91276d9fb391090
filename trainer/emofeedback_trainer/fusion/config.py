"""The configuration of a fusion: a frozen record, the built-in ones, and TOML files that change some keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from emofeedback.domain.limits import BASE_POLICY, LIMITS
from emofeedback.profiles.overrides import changed, extended, load_profile
from emofeedback.profiles.profile import STRICT, Count, NotNegative, Positive, Share, inconsistent
from emofeedback_trainer.distillation.config import CONDITIONING, FEED_FORWARD, even_levels
from emofeedback_trainer.flow_grpo.learning import ATTENTION


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ConnectorConfig:
    """The inside of the connector; its ends follow from judge and generator."""

    width: Count = 160
    """Of its encoder."""
    heads: Count = 5
    """Of its attention; they share the width evenly."""
    layers: Count = 2
    """Of its encoder."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FusionConfig:
    """One fusion."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")] = "nano-fused"
    """Of the policy that comes of it."""
    profile: str = "nano"
    """Name or TOML file of the profile whose generator learns and whose judge reasons."""
    policy: str = ""
    """The teacher, which paints from words; empty: the profile's, `base`: none."""
    begin_with_it: bool = True
    """Whether the student begins with the teacher's adapter, and so with its rank and layers; else with a fresh one."""
    guidance: Annotated[float, Field(ge=1, le=LIMITS.guidance)] = 1.0
    """The teacher's classifier-free guidance, which the student does without."""
    steps: Annotated[int, Field(ge=1, le=LIMITS.steps)] = 4
    """The student's denoising steps."""
    teacher_steps: Annotated[int, Field(ge=1, le=LIMITS.steps)] = 4
    """The teacher's; a multiple of the student's."""
    states: Literal["judge", "numbers"] = "judge"
    """What the connector reads: the judge's tokens, or, to compare, states that a small network makes of the target's
    two numbers and of the variation's."""
    tokens: Annotated[int, Field(ge=1, le=LIMITS.emotion_tokens)] = 8
    """Places of the states; those of a judge are its own."""
    lessons: str = "emofeedback_trainer.nano.fusion_lessons:lesson"
    """What is learned from: `module:function` that makes lesson number N, or a JSON lines file; see `lessons`."""
    count: Count = 6000
    """Lessons, of whose words the connector learns."""
    painted: Count = 2000
    """The first of them, which the teacher paints where the student learns from it."""
    look_share: Share = 0.4
    """Share of a lesson's turns that read what the judge sees in its picture, where it has both this and an
    imagination."""
    null_share: Share = 0.5
    """Share of the turns of a lesson without a feeling that have the null rows behind the prompt; the others have no
    rows."""
    numbers_share: Share = 0.5
    """Share of the turns in which the target's numbers stand behind the prompt, as the loop writes them."""
    together: Count = 8
    """Pictures that the teacher paints at once."""
    word_updates: Count = 4000
    """Updates in which the connector learns from the text encoders alone, before the student's; see `words`."""
    updates: Annotated[int, Field(ge=0)] = 0
    """Of the student, which learns from what the teacher paints; 0: words are enough."""
    batch: Count = 32
    """Lessons of one update."""
    windows: Count = 1
    """Noise levels, drawn anew, from which an update learns of each of its lessons; at most `steps`."""
    micro_batch: Count = 32
    """Rows of one forward: `windows` of a lesson."""
    own_states: Share = 0.3
    """Share of the lessons on which the student starts each step from where its own steps have led."""
    rank: Count = 32
    """Rank of a fresh adapter."""
    lora_alpha: Count = 32
    """A fresh adapter's change counts `lora_alpha / rank` times."""
    target_modules: Annotated[tuple[str, ...], Field(min_length=1)] = ATTENTION + FEED_FORWARD + CONDITIONING
    """Endings of the names of the linear layers that a fresh adapter changes."""
    connector: ConnectorConfig = ConnectorConfig()
    learning_rate: Positive = 1e-3
    """The connector's, at its highest (AdamW)."""
    adapter_rate: NotNegative = 0.0
    """The adapter's; 0: it stays as it began, and with it whatever is painted without tokens."""
    max_grad_norm: Positive = 1.0
    """A gradient whose norm is larger is scaled down to it."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the averaged weights, per update; the average is what is published."""
    save_every: Count = 100
    """Updates between two checkpoints, with a measurement each."""
    seed: Annotated[int, Field(ge=0, le=LIMITS.seed)] = 0
    """What all that a run draws follows from."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.connector.width % self.connector.heads:
            heads = f"is {self.connector.width}, it must be a multiple of heads ({self.connector.heads})"
            raise inconsistent("connector.width", heads)
        if self.teacher_steps % self.steps:
            raise inconsistent(
                "teacher_steps", f"is {self.teacher_steps}, it must be a multiple of steps ({self.steps})"
            )
        if self.painted > self.count:
            raise inconsistent("painted", f"is {self.painted}, it must be at most count ({self.count})")
        if self.windows > self.steps:
            raise inconsistent("windows", f"is {self.windows}, it must be at most steps ({self.steps})")
        if self.begin_with_it and self.policy == BASE_POLICY:
            raise inconsistent("begin_with_it", "is true, but the base has no adapter: set it to false")
        return self

    @property
    def levels(self) -> tuple[float, ...]:
        """The student's noise levels before the shift: evenly from 1 towards 0."""
        return even_levels(self.steps)

    @property
    def teacher_levels(self) -> tuple[float, ...]:
        """The teacher's, the student's among them."""
        return even_levels(self.teacher_steps)


CONFIGS: Mapping[str, FusionConfig] = {
    "nano": FusionConfig(policy="nano-fast", count=24_000, word_updates=16_000),
    "sd35-medium": FusionConfig(
        name="sd35-medium-fused",
        profile="sd35-medium",
        policy=BASE_POLICY,
        begin_with_it=False,
        guidance=4.5,
        steps=28,
        teacher_steps=28,
        lessons="lessons.jsonl",
        connector=ConnectorConfig(width=1024, heads=16, layers=4),
        rank=64,
        lora_alpha=64,
        learning_rate=1e-4,
        adapter_rate=1e-4,
    ),
}
"""The built-in configurations. The second one is a starting point that nobody has run yet."""

MAY_CHANGE = frozenset({"updates", "together", "micro_batch", "save_every"})
"""Keys that a run may be resumed with another value of."""


def load_config(source: str) -> FusionConfig:
    """A built-in configuration by name, or one from a TOML file that `extends` one.

    Raises:
        InvalidRequest: no such configuration or file, or keys that are unknown, of the wrong type or out of range.
    """
    base, changes = extended(source, CONFIGS, "config")
    return with_changes(base, changes)


def with_changes(config: FusionConfig, changes: Mapping[str, Any]) -> FusionConfig:
    """The configuration with some keys replaced; raises as `load_config`."""
    made = changed(config, changes)
    load_profile(made.profile)
    return made
