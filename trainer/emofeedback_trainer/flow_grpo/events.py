"""What happens in a run, as it happens.

Those events that the trainer service streams too are those of `emofeedback.domain.training`.
"""

from __future__ import annotations

from dataclasses import dataclass

from emofeedback.domain.training import Alarm, IterationDone, PanelMeasured, PolicyPublished
from emofeedback_trainer.flow_grpo.types import Rollout


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """The run begins, or goes on after `iteration` finished iterations."""

    iteration: int
    iterations: int


@dataclass(frozen=True, kw_only=True)
class GroupJudged:
    """One more group of the running iteration's rollout is painted and judged, or dropped."""

    iteration: int
    done: int
    groups: int


@dataclass(frozen=True, kw_only=True)
class RolloutPainted:
    """All groups of an iteration are there, to look at before they are learned from."""

    iteration: int
    """The one under way, from 1."""
    rollout: Rollout


@dataclass(frozen=True, kw_only=True)
class RunPaused:
    """A service is away; the run waits for it and loses nothing."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class RunResumed:
    """The service is back."""

    seconds: float
    """How long the run waited."""


@dataclass(frozen=True, kw_only=True)
class RunFinished:
    """All iterations are done and the final adapter is published."""

    policy: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class RunFailed:
    """The run stopped; its last checkpoint is intact."""

    message: str


RunEvent = (
    RunStarted
    | GroupJudged
    | RolloutPainted
    | IterationDone
    | PanelMeasured
    | Alarm
    | PolicyPublished
    | RunPaused
    | RunResumed
    | RunFinished
    | RunFailed
)
