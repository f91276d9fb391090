"""A training run against services at an address: the same run, through deaths and restarts."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from emofeedback import AsyncClient, RetryPolicy
from emofeedback.domain.training import IterationDone
from emofeedback_trainer.evaluation.panel import Panel
from emofeedback_trainer.flow_grpo import outage as outages
from emofeedback_trainer.flow_grpo.config import FlowGrpoConfig
from emofeedback_trainer.flow_grpo.events import RunEvent, RunPaused, RunResumed
from emofeedback_trainer.flow_grpo.trainer import train
from emofeedback_trainer.nano.task import TASK
from support.fakes import ScriptedJudge
from support.scripted_services import Fault, Services, serving
from support.scripted_training import SMALL, StoreGenerator, SummingLearner, store_of

PATIENT = replace(SMALL, patience=120.0)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "_FIRST_PAUSE", 0.05)


def services(folder: Path) -> Services:
    return Services(generator=StoreGenerator(store=store_of(folder)), judge=ScriptedJudge())


async def run(folder: Path, generator: Any, judge: Any, on_event: Any = lambda event: None) -> list[dict[str, Any]]:
    """The run's curve, without its times."""
    config: FlowGrpoConfig = PATIENT
    panel = Panel(pairs=TASK.panel[:2], images=1, rewards=config.rewards, independent=None)
    await train(
        config, folder, generator=generator, judge=judge, learner=SummingLearner(), panel=panel, on_event=on_event
    )
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "images_per_second")} for line in lines]


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(address, retry=RetryPolicy(attempts=1)) as client:
        yield client


async def test_services_give_the_curve_that_engines_in_process_give(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    expected = await run(here, StoreGenerator(store=store_of(here)), ScriptedJudge())
    async with serving(services(there)) as running, connected(running.address) as client:
        assert await run(there, client.generator, client.judge) == expected


@pytest.mark.parametrize("method", ["SampleTrajectories", "AssessStream", "ScoreImages"])
@pytest.mark.parametrize("after", [0, 1])
async def test_a_replica_that_dies_in_the_middle_costs_time_only(method: str, after: int, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    expected = await run(here, StoreGenerator(store=store_of(here)), ScriptedJudge())
    told: list[RunEvent] = []
    async with serving(services(there)) as running, connected(running.address) as client:

        def on_event(event: RunEvent) -> None:
            told.append(event)
            if isinstance(event, IterationDone) and event.iteration == 2:
                running.faults[method] += [Fault(grpc.StatusCode.UNAVAILABLE, "the replica died", after=after)] * 2

        assert await run(there, client.generator, client.judge, on_event) == expected
    assert [type(event) for event in told if isinstance(event, RunPaused | RunResumed)][:2] == [RunPaused, RunResumed]


async def test_services_that_go_and_come_back_are_waited_for(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    expected = await run(here, StoreGenerator(store=store_of(here)), ScriptedJudge())
    gone, paused = asyncio.Event(), asyncio.Event()

    def on_event(event: RunEvent) -> None:
        if isinstance(event, IterationDone) and event.iteration == 1:
            gone.set()
        if isinstance(event, RunPaused):
            paused.set()

    first = serving(services(there))
    running = await first.__aenter__()
    port = int(running.address.rpartition(":")[2])
    async with connected(running.address) as client:
        training = asyncio.create_task(run(there, client.generator, client.judge, on_event))
        await gone.wait()
        await first.__aexit__(None, None, None)
        await paused.wait()
        assert json.loads((there / "status.json").read_text())["state"] == "paused"
        async with serving(services(there), port):
            assert await training == expected
