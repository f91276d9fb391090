"""The configuration of a distillation: a frozen record, the built-in ones, and TOML files that change some keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from emofeedback.domain.limits import LIMITS
from emofeedback.profiles.overrides import changed, extended, load_profile
from emofeedback.profiles.profile import STRICT, Count, Positive, Share, inconsistent
from emofeedback_trainer.flow_grpo.learning import ATTENTION

FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2")
"""The linear layers behind SD3's joint attention."""
CONDITIONING = (
    "timestep_embedder.linear_1",
    "timestep_embedder.linear_2",
    "text_embedder.linear_1",
    "text_embedder.linear_2",
)
"""The linear layers through which the noise level and the pooled prompt come in."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FinishConfig:
    """The student's last lessons: to paint what can't be told from real pictures; see `finishing`."""

    updates: Annotated[int, Field(ge=0)] = 0
    """Of the discriminator, and from `head_start` on of the student; 0: there are no such lessons."""
    head_start: Annotated[int, Field(ge=0)] = 150
    """Updates in which the discriminator learns before the student hears of it."""
    pictures: str = "emofeedback_trainer.nano.captioned_scenes:captioned"
    """The real ones: `module:function` that gives picture number N, or a JSON lines file; see `pictures`."""
    count: Count = 6144
    """Real pictures."""
    batch: Count = 10
    """Pictures of one update, real ones and painted ones of the same captions."""
    kept: Count = 8
    """Trajectories of one update, by which the student keeps to its teacher."""
    realism: Positive = 0.4
    """How much the discriminator's verdict counts beside the mean squared difference from the teacher's latents."""
    learning_rate: Positive = 5e-4
    """AdamW's of the student, at its highest."""
    discriminator_rate: Positive = 4e-4
    """Adam's of the discriminator."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the averaged adapter, per update; the average is what is published."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DistillationConfig:
    """One distillation."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")] = "nano-fast"
    """Of the policy that comes of it."""
    profile: str = "nano"
    """Name or TOML file of the profile whose generator is the teacher."""
    policy: str = ""
    """The teacher's policy; empty: the profile's, `base`: none."""
    guidance: Annotated[float, Field(ge=1, le=LIMITS.guidance)] = 2.5
    """The teacher's classifier-free guidance, which the student learns to do without."""
    steps: Annotated[int, Field(ge=1, le=LIMITS.steps)] = 4
    """The student's denoising steps."""
    teacher_steps: Annotated[int, Field(ge=1, le=LIMITS.steps)] = 12
    """The teacher's; a multiple of the student's."""
    prompts: str = "emofeedback_trainer.nano.captions_task:TASK"
    """The task whose training prompts are painted; see `core.task`."""
    target_share: Share = 0.7
    """Share of the prompts without a target of their own that get one behind them, anywhere on the plane."""
    trajectories: Count = 6000
    """Pictures that the teacher paints for the student to learn from; 32 more are for measuring it."""
    together: Count = 8
    """Pictures that the teacher paints at once."""
    updates: Count = 3000
    """Of the student."""
    batch: Count = 16
    """Trajectories of one update; each gives a row for every step of the student's."""
    micro_batch: Count = 32
    """Rows of one forward. More need more memory; on a CPU they are no faster."""
    own_states: Share = 0.5
    """Share of the trajectories on which the student starts each step from where its own steps have led."""
    rank: Count = 32
    """Rank of the LoRA adapter."""
    lora_alpha: Count = 32
    """The adapter's change counts `lora_alpha / rank` times."""
    target_modules: Annotated[tuple[str, ...], Field(min_length=1)] = ATTENTION + FEED_FORWARD + CONDITIONING
    """Endings of the names of the linear layers that learn."""
    learning_rate: Positive = 1e-3
    """AdamW's, at its highest."""
    max_grad_norm: Positive = 1.0
    """A gradient whose norm is larger is scaled down to it."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995
    """Decay of the averaged adapter, per update; the average is what is published."""
    finish: FinishConfig = FinishConfig()
    save_every: Count = 100
    """Updates between two checkpoints, with a measurement each."""
    seed: Annotated[int, Field(ge=0, le=LIMITS.seed)] = 0
    """What all that a run draws follows from."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.teacher_steps % self.steps:
            raise inconsistent(
                "teacher_steps", f"is {self.teacher_steps}, it must be a multiple of steps ({self.steps})"
            )
        if 0 < self.finish.updates <= self.finish.head_start:
            head_start = f"is {self.finish.head_start}, it must be less than updates ({self.finish.updates})"
            raise inconsistent("finish.head_start", head_start)
        return self

    @property
    def levels(self) -> tuple[float, ...]:
        """The student's noise levels before the shift: evenly from 1 towards 0."""
        return even_levels(self.steps)

    @property
    def teacher_levels(self) -> tuple[float, ...]:
        """The teacher's, the student's among them."""
        return even_levels(self.teacher_steps)


CONFIGS: Mapping[str, DistillationConfig] = {
    "nano": DistillationConfig(policy="nano-final", finish=FinishConfig(updates=600)),
    "sd35-medium": DistillationConfig(
        name="sd35-medium-fast", profile="sd35-medium", guidance=4.5, steps=5, teacher_steps=25, rank=64, lora_alpha=64
    ),
}
"""The built-in configurations. The second one is a starting point that nobody has run yet."""

MAY_CHANGE = frozenset({"updates", "together", "micro_batch", "save_every"})
"""Keys that a run may be resumed with another value of."""


def load_config(source: str) -> DistillationConfig:
    """A built-in configuration by name, or one from a TOML file that `extends` one.

    Raises:
        InvalidRequest: no such configuration or file, or keys that are unknown, of the wrong type or out of range.
    """
    base, changes = extended(source, CONFIGS, "config")
    return with_changes(base, changes)


def with_changes(config: DistillationConfig, changes: Mapping[str, Any]) -> DistillationConfig:
    """The configuration with some keys replaced; raises as `load_config`."""
    made = changed(config, changes)
    load_profile(made.profile)
    return made


def even_levels(steps: int) -> tuple[float, ...]:
    """Noise levels before the shift, evenly from 1 towards 0."""
    return tuple(1 - step / steps for step in range(steps))
