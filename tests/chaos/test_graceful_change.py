"""What happens to calls while replicas are replaced, killed and ended: nothing.

One set of services, the tests in this order: the last one ends them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from emofeedback import AsyncClient, Deadlines, RetryPolicy
from emofeedback.domain.errors import EmoFeedbackError
from emofeedback.domain.generation import GeneratedImage, GenerationRequest
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

SESSIONS = """
from ray import serve
from emofeedback.serving.options import deployment_options
from emofeedback.profiles.builtin import NANO_PROFILE

router = deployment_options(NANO_PROFILE, "judge")["request_router_config"]

@serve.deployment(
    num_replicas=2, max_ongoing_requests=64, request_router_config=router, ray_actor_options={"num_cpus": 0}
)
class Who:
    def __call__(self) -> str:
        return serve.get_replica_context().replica_id.unique_id

who = serve.run(Who.bind(), name="who", route_prefix=None)
def answered(*sessions: str) -> set[str]:
    calls = [(who.options(session_id=session) if session else who).remote() for session in sessions]
    return {call.result() for call in calls}

try:
    for session in ("a", "b", "c"):
        assert len(answered(*[session] * 8)) == 1, "a call that comes again"
    assert len(answered(*map(str, range(32)))) == 2, "other calls"
    assert answered(*[""] * 8), "calls without an id"
finally:
    serve.delete("who")
"""


def test_calls_with_one_id_meet_one_replica(cluster: Cluster) -> None:
    cluster.run(SESSIONS)


async def test_replicas_killed_under_load_lose_no_call(cluster: Cluster, scene: bytes) -> None:
    killed = {application: cluster.replicas(application) for application in ("generator", "judge")}
    async with under_load(cluster.services.address, scene) as tally:
        for application, replicas in killed.items():
            for replica in replicas:
                os.kill(replica, signal.SIGKILL)
            await gone(cluster, application, replicas)
    assert tally.failed == []
    for application, replicas in killed.items():
        assert len(replicas) == len(cluster.replicas(application)) == 1
    print(f"killed: {dict(tally.finished)} finished, none failed")


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


async def test_services_that_are_told_to_end_finish_what_they_paint(cluster: Cluster) -> None:
    request = GenerationRequest(prompt="a house on a hill", seeds=tuple(range(8)), steps=20)
    painted = 0
    async with AsyncClient(cluster.services.address, deadlines=Deadlines(total=PATIENCE)) as client:
        async for event in client.generator.generate(request):
            if isinstance(event, GeneratedImage):
                painted += 1
                if painted == 1:
                    cluster.services.process.send_signal(signal.SIGTERM)
    assert painted == 8
    assert await asyncio.to_thread(cluster.services.process.wait, PATIENCE) == 0
