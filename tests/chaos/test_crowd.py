"""600 callers at once, far more than there is room for: who can't be served is told when to return; no call is lost."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor, wait

import psutil
import pytest

from emofeedback import AsyncClient
from support.crowd import DEADLINES, ONCE, Call, Crowd, crowd, paint, rating
from support.running_services import Cluster

CALLERS = 600
PROCESSES = 4
"""That the callers are in: 600 in one would measure how long they wait for each other."""
SECONDS = 120.0
MOST_GROWN = 512
"""MiB, of proxy and replicas together."""


@pytest.mark.chaos
async def test_600_callers_are_served_or_told_when_to_come_back(cluster: Cluster, scene: bytes) -> None:
    address, processes, all_of_them = cluster.services.address, working(cluster), Crowd()
    async with AsyncClient(address, retry=ONCE, deadlines=DEADLINES) as client:
        for call in (paint, rating(scene)):
            await call(client, 0)
        quiet, before = await seconds_of(paint, client), mebibytes(processes)
        peak, until = before, time.monotonic() + SECONDS
        with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
            calling = {
                pool.submit(crowd, address, [n for n in range(CALLERS) if n // 2 % PROCESSES == part], until, scene)
                for part in range(PROCESSES)
            }
            while wait(calling, timeout=5).not_done:
                peak = max(peak, mebibytes(processes))
            for part in calling:
                all_of_them.add(part.result())
        over = time.monotonic()
        after = await seconds_of(paint, client)
    say(all_of_them, quiet=quiet, after=after, until=over - until, memory=(before, peak, mebibytes(processes)))
    assert all_of_them.lost == []
    assert all_of_them.refusals and not all_of_them.untold
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


def say(came: Crowd, *, quiet: float, after: float, until: float, memory: tuple[float, float, float]) -> None:
    counts = [came.finished[number] for number in range(CALLERS)]
    paints, rates = counts[::2], counts[1::2]
    told = sorted(came.refusals)
    half, most = told[len(told) // 2], told[int(0.95 * len(told))]
    print(f"{CALLERS} callers: {sum(counts)} calls finished, {len(came.lost)} lost; each painted", end=" ")
    print(f"{min(paints)} to {max(paints)} times or rated {min(rates)} to {max(rates)}; {counts.count(0)} never served")
    print(f"{len(told)} refusals, {came.untold} without a time to come back; told after", end=" ")
    print(f"{1000 * half:.0f} ms (median), {1000 * most:.0f} ms (95 %), {1000 * told[-1]:.0f} ms (longest)")
    print("memory of proxy and replicas: {:.0f} MiB before, {:.0f} at most, {:.0f} after".format(*memory), end="; ")
    print(f"one call alone: {quiet:.2f} s before, {after:.2f} s after; the last calls ended {until:.1f} s late")
