"""A trainer service whose runs are `scripted_run.py`, and what its tests ask of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from emofeedback.client import AsyncClient, RetryPolicy
from emofeedback.domain.training import IterationDone, RunEvent, RunRequest, RunState, RunStateChanged
from emofeedback_trainer.service import supervisor
from emofeedback_trainer.service.allowance import Allowance
from emofeedback_trainer.service.backends.base import Backend
from emofeedback_trainer.service.backends.process import Processes
from emofeedback_trainer.service.server import serving

COMMAND = (sys.executable, str(Path(__file__).with_name("scripted_run.py")))


def let_scripts_have_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The script, which stands in for a training run, reads keys of its own."""
    checked = supervisor.checked

    def lenient(request: RunRequest, allowance: Allowance) -> tuple[str, str]:
        own = ("iterations", "pace", "stubborn", "fails_at", "away")
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
    async with asyncio.timeout(180):
        while (run := await client.trainer.get(name)).state not in states or run.iteration < iteration:
            assert not run.state.is_over, run
            await asyncio.sleep(0.02)


async def watched(client: AsyncClient, name: str, from_iteration: int = 0) -> list[RunEvent]:
    async with asyncio.timeout(180):
        return [event async for event in client.trainer.watch(name, from_iteration=from_iteration)]


def states(events: list[RunEvent]) -> list[RunState]:
    return [event.run.state for event in events if isinstance(event, RunStateChanged)]


def iterations(events: list[RunEvent]) -> list[int]:
    return [event.iteration for event in events if isinstance(event, IterationDone)]
