"""What keeps the cluster's state dies under load: on this machine all is started again, with a Redis nothing is."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from pathlib import Path

import psutil
import pytest

from emofeedback.serving.config import ENVIRONMENT
from support.ray_nodes import REDIS, head_node, pool_node, ray_of_our_own, redis
from support.running_services import Cluster, Services, free_port, is_open, run_on
from support.steady_load import PATIENCE, gone, some_more, under_load

SETTINGS = ENVIRONMENT | {"RAY_gcs_rpc_server_reconnect_timeout_s": "600"}
"""As KubeRay sets it for the nodes of such a cluster."""
APPLICATIONS = ("generator", "judge", "optimizer")
DEPLOY = """
import sys
from emofeedback.serving.local import deploy
from emofeedback.serving.config import serve_config
_, profile, address, port, http_port = sys.argv
config = serve_config(profile, address=address)
config["grpc_options"]["port"] = int(port)
deploy(config | {"http_options": {"host": "127.0.0.1", "port": int(http_port)}})
"""
STATUS = """
from ray import serve
assert len(serve.status().applications) == 3
"""


@pytest.mark.chaos
async def test_services_that_lose_the_clusters_state_are_started_again_and_calls_wait_for_them(
    cluster: Cluster, scene: bytes
) -> None:
    before = {application: cluster.replicas(application) for application in APPLICATIONS}
    async with under_load(cluster.services.address, scene, patience=PATIENCE) as tally:
        kill("gcs_server", cluster.services.process.pid)
        began = time.monotonic()
        for application, replicas in before.items():
            await gone(cluster, application, replicas)
        await some_more(tally)
        seconds = time.monotonic() - began
    assert tally.failed == []
    print(
        f"state lost: every kind of call was answered again after {seconds:.1f} s; {dict(tally.finished)}, none failed"
    )


@pytest.mark.chaos
@pytest.mark.skipif(not REDIS, reason="there is no Redis: REDIS_SERVER may name the path of a redis-server")
async def test_a_head_that_is_lost_under_load_costs_no_call_where_redis_remembers(
    scene: bytes, changed_profile: Path, tmp_path: Path
) -> None:
    gcs, port, http_port, pool_port = (free_port() for _ in range(4))
    address, token = f"127.0.0.1:{gcs}", secrets.token_hex(32)
    with ray_of_our_own(), redis(tmp_path) as store:
        environment = {**os.environ, **SETTINGS, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        of_head = environment | {"RAY_REDIS_ADDRESS": store}
        of_pool = environment | {"RAY_SERVE_WORKER_PROXY_GRPC_PORT": str(pool_port)}
        where = (f"127.0.0.1:{pool_port}", str(port), str(http_port))
        with head_node(gcs, of_head) as head, pool_node(address, of_pool, cpus=8) as node:
            await asyncio.to_thread(run_on, address, environment, DEPLOY, "nano", *where)
            pool = Cluster(Services(where[0], pool_port, http_port, node), token)
            before = {application: pool.replicas(application) for application in APPLICATIONS}
            async with under_load(where[0], scene) as tally:
                kill("gcs_server", head.pid)
                began = time.monotonic()
                await some_more(tally)
                async with asyncio.timeout(PATIENCE):
                    while not is_open(gcs):
                        await asyncio.sleep(0.5)
                await asyncio.to_thread(run_on, address, environment, STATUS)
                seconds = time.monotonic() - began
                await some_more(tally)
                assert before == {application: pool.replicas(application) for application in APPLICATIONS}
                print(f"head lost: its successor answered after {seconds:.1f} s; {dict(tally.finished)} finished")
                await asyncio.to_thread(run_on, address, environment, DEPLOY, str(changed_profile), *where)
                for application, replicas in before.items():
                    await gone(pool, application, replicas)
            assert tally.failed == []
            print(f"and all replaced by it: {dict(tally.finished)} finished, none failed")


def kill(name: str, parent: int) -> None:
    """Kills (`kill -9`) the one process of the name among those of the parent."""
    (process,) = (child for child in psutil.Process(parent).children(recursive=True) if child.name() == name)
    process.send_signal(signal.SIGKILL)
