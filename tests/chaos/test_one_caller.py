"""What one caller does to another: bombs, huge pictures, silent streams and replies that nobody reads, all at once."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import psutil
import pytest

from emofeedback import AsyncClient, RetryPolicy
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.limits import LIMITS
from emofeedback.v1 import generator_pb2
from support.pictures import encoded, red, scanned
from support.running_services import Cluster

GENERATOR, JUDGE = [("application", "generator")], [("application", "judge")]
ASKED = 100
MOST_GROWN = 1024
"""MiB: one picture of 40 megapixels decoded, four small ones, and what Python keeps."""


async def quantile(client: AsyncClient, scene: bytes) -> float:
    """The 95th percentile of the seconds that a rating takes."""
    seconds = []
    for _ in range(ASKED):
        began = time.monotonic()
        await client.judge.assess([scene])
        seconds.append(time.monotonic() - began)
    return statistics.quantiles(seconds, n=20)[-1]


def mebibytes(replicas: set[int]) -> float:
    return sum(psutil.Process(replica).memory_info().rss for replica in replicas) / 2**20


@asynccontextmanager
async def attacked(address: str) -> AsyncIterator[None]:
    """Six bombs, six pictures of 40 megapixels, 40 silent streams, 40 callers who read nothing, for the context."""
    bomb = scanned(400, (2000, 2000))
    huge = encoded(red("RGBA", (6_300, 6_300)))
    options = [("grpc.max_send_message_length", LIMITS.message_bytes)]
    retry = RetryPolicy(attempts=100)
    async with AsyncClient(address, retry=retry) as client, grpc.aio.insecure_channel(address, options=options) as raw:

        async def send(picture: bytes) -> None:
            while True:
                try:
                    await client.judge.assess([picture])
                except InvalidRequest:
                    await asyncio.sleep(0.1)

        stream = raw.stream_stream("/emofeedback.v1.JudgeService/AssessStream", None, None)
        silent = [stream(None, metadata=JUDGE) for _ in range(40)]
        request = generator_pb2.GenerateRequest(prompt="a dog", seeds=[1], steps=2, request_id="the same")
        generate = raw.unary_stream("/emofeedback.v1.GeneratorService/Generate", None, None)
        unread = [generate(request.SerializeToString(), metadata=GENERATOR) for _ in range(40)]
        sending = [asyncio.create_task(send(picture)) for picture in [bomb] * 6 + [huge] * 6]
        await asyncio.sleep(5)
        try:
            yield
        finally:
            for call in [*silent, *unread]:
                call.cancel()
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)


@pytest.mark.chaos
async def test_one_who_attacks_costs_another_little(cluster: Cluster, scene: bytes) -> None:
    address, judges = cluster.services.address, cluster.replicas("judge")
    async with AsyncClient(address) as client:
        await quantile(client, scene)
        quiet, before = await quantile(client, scene), mebibytes(judges)
        async with attacked(address):
            besieged, peak = await quantile(client, scene), mebibytes(judges)
    print(f"another caller's p95: quiet {quiet:.2f} s, attacked {besieged:.2f} s, {besieged / quiet:.1f} times")
    print(f"memory of the judge: {before:.0f} MiB before, {peak:.0f} MiB attacked")
    assert cluster.replicas("judge") == judges, "the judge has not died of it"
    assert peak - before < MOST_GROWN
