"""Callers of all three services who never stop, while something happens to what they call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from emofeedback import AsyncClient, RetryPolicy
from support.running_services import Cluster, Tally, judging, optimizing, painting

KINDS = ("paint", "judge", "optimize")
PATIENCE = 300.0
"""Seconds, on a machine that has much else to do."""


@asynccontextmanager
async def under_load(address: str, scene: bytes, *, token: str = "", patience: float = 120.0) -> AsyncIterator[Tally]:
    """Two callers who paint, one who judges, one who runs whole loops; all bear so many seconds of silence."""
    tally = Tally()
    patient = AsyncClient(address, token=token, retry=RetryPolicy(patience=patience))
    async with patient as client, AsyncExitStack() as callers:
        for kind, call, number in (
            ("paint", painting(client, images=2, steps=6), 2),
            ("judge", judging(client, scene), 1),
            ("optimize", optimizing(client), 1),
        ):
            await callers.enter_async_context(tally.calling(kind, call, callers=number))
        await some_more(tally)
        yield tally
        await some_more(tally)


async def some_more(tally: Tally) -> None:
    """Until every kind of call has finished once more."""
    before = tally.finished.copy()
    deadline = time.monotonic() + PATIENCE
    while any(tally.finished[kind] < before[kind] + 1 for kind in KINDS):
        assert time.monotonic() < deadline, f"nothing goes on: {tally}"
        await asyncio.sleep(0.05)


async def gone(cluster: Cluster, application: str, replicas: set[int]) -> None:
    """Until none of these replicas is left."""
    deadline = time.monotonic() + PATIENCE
    while cluster.replicas(application) & replicas:
        assert time.monotonic() < deadline, f"{application}: {replicas} stay"
        await asyncio.sleep(0.2)
