"""The loop with its generator and judge on the other side of the wire, as the optimizer application runs it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest

from emofeedback import AffectPoint, AsyncClient, RetryPolicy
from emofeedback.domain.errors import Unavailable
from emofeedback.domain.optimization import ImagePainted, OptimizationEvent, OptimizationRequest, RoundFinished
from emofeedback.optimizer.loop import optimize
from support.fakes import ScriptedGenerator, ScriptedJudge
from support.scripted_loop import SETTINGS, without_time
from support.scripted_services import Fault, Services, serving, until

REQUEST = OptimizationRequest(prompt="a boat", target=AffectPoint(7, 3), rounds=2, images=3, seed=10)


@asynccontextmanager
async def remote(**services: Any) -> AsyncIterator[tuple[Services, dict[str, Any]]]:
    """The services, and a generator and a judge that call them."""
    async with (
        serving(Services(**services)) as running,
        AsyncClient(running.address, retry=RetryPolicy(attempts=1)) as client,
    ):
        yield running, {"generator": client.generator, "judge": client.judge, "settings": SETTINGS}


def by_kind(events: Iterable[OptimizationEvent]) -> list[OptimizationEvent]:
    """Painting and judging run side by side: only the order within a kind is fixed."""
    return sorted(map(without_time, events), key=lambda event: type(event).__name__)


async def test_the_loop_finds_the_same_through_the_services_as_in_process() -> None:
    local = optimize(REQUEST, generator=ScriptedGenerator(), judge=ScriptedJudge(), settings=SETTINGS)
    in_process = [event async for event in local]
    async with remote() as (_, far):
        through_services = [event async for event in optimize(REQUEST, **far)]
    assert by_kind(through_services) == by_kind(in_process)


async def test_closing_the_loop_stops_the_painting_on_the_other_side() -> None:
    async with remote(generator=ScriptedGenerator(delay=0.01)) as (running, far):
        async with aclosing(optimize(replace(REQUEST, images=50), **far)) as events:
            async for event in events:
                if isinstance(event, ImagePainted):
                    break
        await until(lambda: running.generator.closed_early == 1)
        steps = running.generator.steps_done
        await asyncio.sleep(0.1)
        assert running.generator.steps_done == steps


async def test_where_the_judge_goes_away_the_finished_round_stays() -> None:
    async with remote() as (running, far):
        events = []
        with pytest.raises(Unavailable):
            async for event in optimize(REQUEST, **far):
                events.append(event)
                if isinstance(event, RoundFinished):
                    running.faults["AssessStream"].append(Fault(grpc.StatusCode.UNAVAILABLE))
        assert sum(isinstance(event, RoundFinished) for event in events) == 1
