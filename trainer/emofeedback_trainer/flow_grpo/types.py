"""What passes between the stages of one iteration: conditions in, groups of scored trajectories out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emofeedback.domain.assessment import Assessment
from emofeedback.domain.generation import GroupStarted, NoiseWindow, Trajectory
from emofeedback_trainer.core.condition import Condition


@dataclass(frozen=True, kw_only=True)
class ScoredTrajectory:
    """One sample and what it earned."""

    trajectory: Trajectory
    assessment: Assessment
    alignment: float
    """Cosine of the picture with the neutral prompt, by the scorer."""
    rewards: Mapping[str, float]
    """By name, before normalization: `valence`, `arousal`, `alignment`, and `own` where there is one."""


@dataclass(frozen=True, kw_only=True)
class ScoredGroup:
    """One whole group; a group of which a part failed does not come into being."""

    condition: Condition
    window: NoiseWindow
    started: GroupStarted
    samples: tuple[ScoredTrajectory, ...]
    guidance: float = 1.0
    """The classifier-free guidance scale it was generated with; read where `started.negative` is there."""


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """All groups of one iteration, from one policy version."""

    iteration: int
    policy: str
    groups: tuple[ScoredGroup, ...]
    dropped: Mapping[str, int]
    """Groups that failed, by reason."""
    seconds: float
