"""What happens to calls while the proxy is killed and all replicas are replaced: nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from emofeedback import AsyncClient, Deadlines, RetryPolicy
from emofeedback.domain.errors import EmoFeedbackError
from support.running_services import Cluster
from support.steady_load import PATIENCE, gone, some_more, under_load

REDEPLOY = """
import sys
from emofeedback.serving.local import deploy
from emofeedback.serving.config import serve_config
_, profile, address, http_port = sys.argv
config = serve_config(profile, address=address)
deploy(config | {"http_options": {"host": "127.0.0.1", "port": int(http_port)}})
"""


@pytest.mark.chaos
async def test_a_proxy_killed_under_load_loses_no_call(cluster: Cluster, scene: bytes) -> None:
    seconds = []
    async with under_load(cluster.services.address, scene) as tally:
        for _ in range(3):
            proxies = cluster.proxies()
            assert len(proxies) == 1
            os.kill(proxies.pop(), signal.SIGKILL)
            seconds.append(await answered_again(cluster.services.address))
            await some_more(tally)
    assert tally.failed == []
    took = ", ".join(f"{one:.1f}" for one in seconds)
    print(f"proxy killed: answered again after {took} s; {dict(tally.finished)} finished, none failed")


async def answered_again(address: str) -> float:
    """Seconds until somebody who never tries twice is answered."""
    began = time.monotonic()
    deadlines = Deadlines(attempt=5.0)
    while True:
        assert time.monotonic() - began < PATIENCE
        async with AsyncClient(address, retry=RetryPolicy(attempts=1), deadlines=deadlines) as client:
            try:
                await client.generator.model()
            except EmoFeedbackError:
                await asyncio.sleep(0.1)
            else:
                return time.monotonic() - began


@pytest.mark.chaos
async def test_a_rolling_change_of_all_three_services_loses_no_call(
    cluster: Cluster, scene: bytes, changed_profile: Path
) -> None:
    before = {application: cluster.replicas(application) for application in ("generator", "judge", "optimizer")}
    where = (cluster.services.address, str(cluster.services.http_port))
    async with under_load(cluster.services.address, scene) as tally:
        await asyncio.to_thread(cluster.run, REDEPLOY, str(changed_profile), *where)
        for application, replicas in before.items():
            await gone(cluster, application, replicas)
    assert tally.failed == []
    for application, replicas in before.items():
        assert len(cluster.replicas(application) - replicas) == 1
    print(f"all replaced: {dict(tally.finished)} finished, none failed")
