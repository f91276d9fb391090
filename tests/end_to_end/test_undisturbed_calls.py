"""What happens to calls while replicas are killed and ended: nothing.

In this order, and behind all other tests of the services that all share: the last one ends them.
"""

from __future__ import annotations

import asyncio
import os
import signal

import psutil

from emofeedback import AsyncClient, Deadlines
from emofeedback.domain.generation import GeneratedImage, GenerationRequest
from support.running_services import TOKEN, Cluster
from support.steady_load import PATIENCE, gone, under_load

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
    async with under_load(cluster.services.address, scene, token=TOKEN) as tally:
        for application, replicas in killed.items():
            for replica in replicas:
                os.kill(replica, signal.SIGKILL)
            await gone(cluster, application, replicas)
    assert tally.failed == []
    for application, replicas in killed.items():
        assert len(replicas) == len(cluster.replicas(application)) == 1
    print(f"killed: {dict(tally.finished)} finished, none failed")


async def test_services_that_are_told_to_end_finish_what_they_paint_and_leave_no_process_behind(
    cluster: Cluster,
) -> None:
    request = GenerationRequest(prompt="a house on a hill", seeds=tuple(range(8)), steps=20)
    family, painted = psutil.Process(cluster.services.process.pid).children(recursive=True), 0
    async with AsyncClient(cluster.services.address, token=TOKEN, deadlines=Deadlines(total=PATIENCE)) as client:
        async for event in client.generator.generate(request):
            if isinstance(event, GeneratedImage):
                painted += 1
                if painted == 1:
                    cluster.services.process.send_signal(signal.SIGTERM)
    assert painted == 8
    assert await asyncio.to_thread(cluster.services.process.wait, PATIENCE) == 0
    _, alive = await asyncio.to_thread(psutil.wait_procs, family, timeout=60)
    assert alive == []
