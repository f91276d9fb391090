"""600 callers at once, far more than there is room for: who can't be served is told when to return; no call is lost."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import psutil
import pytest

from emofeedback import AsyncClient, Deadlines, RetryPolicy
from emofeedback.domain.errors import EmoFeedbackError, ResourceExhausted
from emofeedback.domain.generation import GenerationRequest
from support.running_services import Cluster

CALLERS = 600
SECONDS = 120.0
PATIENCE = 600.0
"""Seconds that a caller's last call may take, with all that stand before it."""
MOST_GROWN = 512
"""MiB, of proxy and replicas together."""
ONCE = RetryPolicy(attempts=1)

Call = Callable[[AsyncClient, int], Awaitable[None]]


@dataclass
class Crowd:
    """What became of the callers' tries."""

    finished: Counter[int] = field(default_factory=Counter)
    """Calls, by caller."""
    refusals: list[float] = field(default_factory=list)
    """Seconds until each was told."""
    untold: int = 0
    """Refusals that don't say when to come back."""
    lost: list[str] = field(default_factory=list)

    async def keep_calling(self, caller: int, client: AsyncClient, call: Call, until: float) -> None:
        """One call after the other, each tried again when it was told to."""
        number = 0
        while time.monotonic() < until:
            began = time.monotonic()
            try:
                await call(client, caller * 1_000_000 + number)
            except ResourceExhausted as error:
                self.refusals.append(time.monotonic() - began)
                self.untold += error.retry_after is None
                await asyncio.sleep(error.retry_after or 1.0)
            except EmoFeedbackError as error:
                self.lost.append(f"{type(error).__name__}: {error}")
                number += 1
            else:
                self.finished[caller] += 1
                number += 1


@pytest.mark.chaos
async def test_600_callers_are_served_or_told_when_to_come_back(cluster: Cluster, scene: bytes) -> None:
    async def paint(client: AsyncClient, number: int) -> None:
        request = GenerationRequest(prompt="a dog in a meadow", seeds=(number,), steps=2)
        async for _ in client.generator.generate(request):
            pass

    async def rate(client: AsyncClient, number: int) -> None:
        await client.judge.assess([scene])

    crowd, processes = Crowd(), working(cluster)
    async with AsyncExitStack() as stack:
        deadlines = Deadlines(total=PATIENCE, attempt=PATIENCE)
        clients = [
            await stack.enter_async_context(AsyncClient(cluster.services.address, retry=ONCE, deadlines=deadlines))
            for _ in range(CALLERS)
        ]
        for call in (paint, rate):
            await call(clients[0], 0)
        quiet, before = await seconds_of(paint, clients[0]), mebibytes(processes)
        peak, until = before, time.monotonic() + SECONDS
        calling = [
            asyncio.create_task(crowd.keep_calling(number, client, (paint, rate)[number % 2], until))
            for number, client in enumerate(clients)
        ]
        while not all(task.done() for task in calling):
            await asyncio.wait(calling, timeout=5)
            peak = max(peak, mebibytes(processes))
        for task in calling:
            task.result()
        over = time.monotonic()
        after = await seconds_of(paint, clients[0])
    say(crowd, quiet=quiet, after=after, until=over - until, memory=(before, peak, mebibytes(processes)))
    assert crowd.lost == []
    assert crowd.refusals and not crowd.untold
    assert peak - before < MOST_GROWN
    assert working(cluster) == processes, "nobody has died of it"


def working(cluster: Cluster) -> set[int]:
    """Process ids of the proxy and of the replicas that are called."""
    return cluster.proxies() | cluster.replicas("generator") | cluster.replicas("judge")


async def seconds_of(call: Call, client: AsyncClient) -> float:
    """The median of five calls, one after another."""
    seconds = []
    for number in range(5):
        began = time.monotonic()
        await call(client, number)
        seconds.append(time.monotonic() - began)
    return statistics.median(seconds)


def mebibytes(processes: set[int]) -> float:
    return sum(psutil.Process(process).memory_info().rss for process in processes) / 2**20


def say(crowd: Crowd, *, quiet: float, after: float, until: float, memory: tuple[float, float, float]) -> None:
    counts = [crowd.finished[number] for number in range(CALLERS)]
    paints, rates = counts[::2], counts[1::2]
    told = sorted(crowd.refusals)
    half, most = told[len(told) // 2], told[int(0.95 * len(told))]
    print(f"{CALLERS} callers: {sum(counts)} calls finished, {len(crowd.lost)} lost; each painted", end=" ")
    print(f"{min(paints)} to {max(paints)} times or rated {min(rates)} to {max(rates)}; {counts.count(0)} never served")
    print(f"{len(told)} refusals, {crowd.untold} without a time to come back; told after", end=" ")
    print(f"{1000 * half:.0f} ms (median), {1000 * most:.0f} ms (95 %), {1000 * told[-1]:.0f} ms (longest)")
    print("memory of proxy and replicas: {:.0f} MiB before, {:.0f} at most, {:.0f} after".format(*memory), end="; ")
    print(f"one call alone: {quiet:.2f} s before, {after:.2f} s after; the last calls ended {until:.1f} s late")
