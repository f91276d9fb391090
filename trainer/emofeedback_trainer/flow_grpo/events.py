"""What happens in a run, as it happens: what the command shows and the trainer service streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
class IterationDone:
    """One iteration is finished and saved."""

    iteration: int
    """Finished iterations, this one included."""
    iterations: int
    figures: Mapping[str, float | str]
    """The line of `curve.jsonl`."""


@dataclass(frozen=True, kw_only=True)
class PanelMeasured:
    """The held-out panel was measured after `iteration` iterations."""

    iteration: int
    figures: Mapping[str, float | str]
    """The line of `panel.jsonl`."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """Something that a person should look at: the panel gets worse while the reward rises, so the policy exploits its
    judge; or generator and learner don't agree on what was painted."""

    iteration: int
    text: str


@dataclass(frozen=True, kw_only=True)
class PolicyPublished:
    """A version of the adapter lies in the store under an immutable name."""

    name: str
    digest: str


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
