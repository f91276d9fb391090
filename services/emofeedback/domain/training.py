"""Runs of the trainer service: how they are asked for, how they stand, and what can be watched of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class RunState(StrEnum):
    """Where a run is in its life."""

    QUEUED = "queued"
    """It waits for a run before it, or for a place in the cluster; its message says what for."""
    RUNNING = "running"
    PAUSED = "paused"
    """The generator or the judge can't be reached; it goes on by itself."""
    FINISHED = "finished"
    FAILED = "failed"
    """It stopped with an error, or its process is gone; it can be resumed."""
    CANCELED = "canceled"
    """It can be resumed."""

    @property
    def is_over(self) -> bool:
        """Nothing more happens by itself."""
        return self in (RunState.FINISHED, RunState.FAILED, RunState.CANCELED)


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """Start a run, or go on with one."""

    name: str
    """1 to 64 small letters, digits, `-`, `_` and `.`, a letter or digit first: the run's folder and policies."""
    config: str = ""
    """TOML, as `emofeedback-train flow-grpo --config FILE` reads it; `extends = "nano"` starts from a built-in one and
    is a whole configuration. Empty with `resume`."""
    resume: bool = False
    """Go on with the run of this name, which has failed or was cancelled."""
    request_id: str = ""
    """Retried with the same id, the run is not created twice."""


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """How a run stands."""

    name: str
    config: str
    """The TOML that it was created with; left out in lists."""
    state: RunState
    iteration: int = 0
    """Finished iterations."""
    iterations: int = 0
    """All iterations of the run; 0 until it has started."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """By name, of the last finished iteration; empty before the first."""
    panel: Mapping[str, float] = field(default_factory=dict)
    """By name, of the last measurement of the held-out panel."""
    created: datetime
    updated: datetime
    message: str = ""
    """Why it waits, is paused or has failed."""
    folder: str
    """The run directory, on the service's machine."""
    policies: str
    """URI of the store of its policies."""


@dataclass(frozen=True, kw_only=True)
class RunStateChanged:
    """First of all events, and whenever the state changes. That a run is over is its last event."""

    run: TrainingRun


@dataclass(frozen=True, kw_only=True)
class IterationDone:
    """One iteration: rollout, rewards, update."""

    iteration: int
    """Finished iterations, this one included."""
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class PanelMeasured:
    """The held-out panel was painted and judged by the independent judge."""

    iteration: int
    """Finished iterations at that time; 0 is the generator before training."""
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class PolicyPublished:
    """A new version of the adapter lies in the store; told at the latest with the next iteration."""

    iteration: int
    """Finished iterations at that time."""
    policy: str


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """The reward rises while the held-out panel falls."""

    iteration: int
    text: str


RunEvent = RunStateChanged | IterationDone | PanelMeasured | PolicyPublished | Alarm
