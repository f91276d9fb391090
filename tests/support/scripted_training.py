"""Training without a model: a learner that adds up what it sees, and a service whose runs are `scripted_run.py`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import Tensor

from emofeedback.client import AsyncClient, RetryPolicy
from emofeedback.domain.errors import NotFound
from emofeedback.domain.generation import GroupStarted, ModelInfo, TrajectoryEvent, TrajectoryRequest
from emofeedback.domain.training import IterationDone, RunEvent, RunRequest, RunState, RunStateChanged
from emofeedback.generator.policy_store import PolicyStore
from emofeedback_trainer.core.rewards import RewardConfig
from emofeedback_trainer.flow_grpo.config import FlowGrpoConfig, PanelConfig, SamplingConfig
from emofeedback_trainer.flow_grpo.learning import LearnerConfig, UpdateMetrics
from emofeedback_trainer.flow_grpo.types import Rollout
from emofeedback_trainer.service import supervisor
from emofeedback_trainer.service.allowance import Allowance
from emofeedback_trainer.service.backends.base import Backend
from emofeedback_trainer.service.backends.process import Processes
from emofeedback_trainer.service.server import serving
from support.fakes import GENERATOR_MODEL, ScriptedGenerator

COMMAND = (sys.executable, str(Path(__file__).with_name("scripted_run.py")))


def let_scripts_have_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The script, which stands in for a training run, reads keys of its own."""
    checked = supervisor.checked

    def lenient(request: RunRequest, allowance: Allowance) -> tuple[str, str]:
        own = ("iterations", "pace", "stubborn", "fails_at", "away", "held")
        lines = request.config.splitlines()
        config, policies = checked(
            RunRequest(name=request.name, config="\n".join(line for line in lines if not line.startswith(own))),
            allowance,
        )
        return "\n".join([*(line for line in lines if line.startswith(own)), config]), policies

    monkeypatch.setattr(supervisor, "checked", lenient)


def processes() -> Processes:
    return Processes(COMMAND)


@asynccontextmanager
async def trainer(folder: Path, backend: Backend | None = None, **options: Any) -> AsyncIterator[AsyncClient]:
    """A client of a service whose runs are processes, or what the back end says."""
    async with AsyncExitStack() as stack:
        running = serving(folder, backend or processes(), interval=0.05, **options)
        address = await stack.enter_async_context(running)
        retry = RetryPolicy(initial_backoff=0.05)
        yield await stack.enter_async_context(AsyncClient(address, token=options.get("token", ""), retry=retry))


async def until(client: AsyncClient, name: str, *states: RunState, iteration: int = 0) -> None:
    async with asyncio.timeout(600):
        while (run := await client.trainer.get(name)).state not in states or run.iteration < iteration:
            assert not run.state.is_over, run
            await asyncio.sleep(0.02)


async def watched(
    client: AsyncClient, name: str, from_iteration: int = 0, releasing: Mapping[RunState, Path] = MappingProxyType({})
) -> list[RunEvent]:
    """All that a watch tells; a file that holds a run goes once the state is told that it goes with."""
    told: list[RunEvent] = []
    async with asyncio.timeout(600):
        async for event in client.trainer.watch(name, from_iteration=from_iteration):
            told.append(event)
            if isinstance(event, RunStateChanged) and event.run.state in releasing:
                releasing[event.run.state].unlink()
    return told


def holding(file: Path) -> str:
    """The line of a configuration by which a run does no third iteration while the file exists, as it does now."""
    file.touch()
    return f'held = "{file}"\n'


def states(events: list[RunEvent]) -> list[RunState]:
    return [event.run.state for event in events if isinstance(event, RunStateChanged)]


def iterations(events: list[RunEvent]) -> list[int]:
    return [event.iteration for event in events if isinstance(event, IterationDone)]


SMALL = FlowGrpoConfig(
    name="small",
    iterations=4,
    groups=3,
    num_generations=2,
    patience=0.0,
    sampling=SamplingConfig(steps=4, sde_window_size=2, sde_window_range=(0, 1)),
    rewards=RewardConfig(shape="continuous"),
    learner=LearnerConfig(rank=2, lora_alpha=2),
    panel=PanelConfig(every=100),
)
"""A run of a fraction of a second."""


@dataclass
class StoreGenerator(ScriptedGenerator):
    """A scripted generator that paints with the policies of a store, and says the digest of each."""

    store: str = ""
    digest: str = ""
    """Said instead of the right one."""

    async def sample_trajectories(self, request: TrajectoryRequest) -> AsyncGenerator[TrajectoryEvent, None]:
        async for event in super().sample_trajectories(request):
            if isinstance(event, GroupStarted):
                digest = self.digest or PolicyStore(self.store).manifest(request.policy).digest
                yield replace(event, policy_digest=digest)
            else:
                yield event

    def _model(self, policy: str) -> ModelInfo:
        if policy not in PolicyStore(self.store).names():
            raise NotFound(f"there is no policy {policy!r}")
        return replace(GENERATOR_MODEL, policy=policy)


@dataclass
class SummingLearner:
    """Learns by adding up what it is given: its weights tell exactly which rollouts it saw, in which order."""

    rollouts: list[Rollout] = field(default_factory=list)
    fails_at: int = -1
    """Number of the update, counted from 0, that raises."""
    drift: float = 0.0

    def __post_init__(self) -> None:
        self._weights = {
            f"transformer_blocks.0.attn.to_q.lora_{part}.weight": torch.zeros(shape)
            for part, shape in (("A", (2, 3)), ("B", (3, 2)))
        }
        self._averages = {name: weight.clone() for name, weight in self._weights.items()}

    def update(self, rollout: Rollout, advantages: Sequence[Sequence[float]]) -> UpdateMetrics:
        if len(self.rollouts) == self.fails_at:
            raise RuntimeError("the power is cut")
        self.rollouts.append(rollout)
        seen = sum(
            advantage * (sample.trajectory.seed % 997)
            for group, of_group in zip(rollout.groups, advantages, strict=True)
            for sample, advantage in zip(group.samples, of_group, strict=True)
        )
        for name, weight in self._weights.items():
            weight.mul_(0.5).add_(seen + rollout.iteration)
            self._averages[name].lerp_(weight, 0.3)
        return UpdateMetrics(
            loss=float(seen), log_probability_drift=self.drift, groups=len(rollout.groups), groups_dropped=0
        )

    def adapter(self, *, averaged: bool) -> Mapping[str, Tensor]:
        return {name: weight.clone() for name, weight in (self._averages if averaged else self._weights).items()}

    def state(self) -> Mapping[str, Tensor]:
        weights = {f"weights/{name}": weight.clone() for name, weight in self._weights.items()}
        return weights | {f"averages/{name}": weight.clone() for name, weight in self._averages.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        for name in self._weights:
            self._weights[name] = state[f"weights/{name}"].clone()
            self._averages[name] = state[f"averages/{name}"].clone()


def store_of(folder: Path) -> str:
    """Where a run in this folder publishes its policies."""
    return str(folder.resolve() / "policies")
