"""What the chart's preStop hook does to a pod's node: its replicas move first, and no call is lost."""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from emofeedback import AsyncClient
from emofeedback.serving.draining import parts_on
from support.running_services import Cluster, Tally, free_port, painting, serving

pytestmark = pytest.mark.helm

ON_THE_POOL = """
import sys
from emofeedback.serving.local import deploy
from emofeedback.serving.config import serve_config
_, address, http_port = sys.argv
config = serve_config("nano", address=address)
on_the_pool = {"num_cpus": 0.5, "resources": {"pool": 0.1}}
config["applications"][0]["deployments"] = [{"name": "GeneratorDeployment", "ray_actor_options": on_the_pool}]
deploy(config | {"http_options": {"host": "127.0.0.1", "port": int(http_port)}})
"""
DRAIN = """
import time
from emofeedback.serving.draining import drain_node, parts_on
from ray.serve.context import _get_global_client

def nodes():
    generator = _get_global_client().get_serve_details()["applications"]["generator"]
    return {replica.get("node_id") for replica in generator["deployments"]["GeneratorDeployment"]["replicas"]}

while sum("pool" in node["Resources"] for node in ray.nodes()) < 2:
    time.sleep(0.2)
(node,) = nodes()
assert drain_node(node, 900), parts_on(node, _get_global_client().get_serve_details())
assert nodes() and node not in nodes(), nodes()
"""


@contextmanager
def pool_node(cluster: Cluster) -> Iterator[None]:
    """One more Ray node of the services, with the pool's resource.

    Its proxy listens on ports of its own. On the head's, which all nodes of one machine would share, callers might be
    connected to the node that goes, and its proxy would wait for them to pause.
    """
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--address={cluster.address}"]
    resources = ["--num-cpus=1", f"--resources={json.dumps({'pool': 1})}", "--object-store-memory=100000000"]
    process = subprocess.Popen(
        [*command, "--node-ip-address=127.0.0.1", *resources],
        env=cluster.environment
        | {f"RAY_SERVE_WORKER_PROXY_{protocol}_PORT": str(free_port()) for protocol in ("HTTP", "GRPC")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(autouse=True)
def ray_of_our_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`ray start` leaves a note where it was started, for the next Ray that is asked to join one."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:  # sockets' paths must be short
        monkeypatch.setenv("RAY_TMPDIR", folder)
        monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")  # else on loopback, where no node can join
        yield


async def test_a_node_that_is_drained_under_load_loses_no_call() -> None:
    token = secrets.token_hex(32)
    tally = Tally()
    with serving(RAY_AUTH_TOKEN=token, RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S="1") as services:
        cluster = Cluster(services, token)
        with pool_node(cluster):
            await asyncio.to_thread(cluster.run, ON_THE_POOL, services.address, str(services.http_port))
            with pool_node(cluster):
                client = AsyncClient(services.address)
                async with client, tally.calling("paint", painting(client, images=4, steps=14), callers=2):
                    await asyncio.to_thread(cluster.run, DRAIN)
    assert tally.failed == []
    assert tally.finished["paint"] > 0
    print(f"node drained: {dict(tally.finished)} finished, 0 failed")


def test_a_nodes_parts_are_its_replicas_and_a_proxy_that_has_not_ended() -> None:
    replicas = [
        {"replica_id": "a", "node_id": "one"},
        {"replica_id": "b", "node_id": "two"},
        {"replica_id": "starting"},
    ]
    details = {
        "applications": {"generator": {"deployments": {"GeneratorDeployment": {"replicas": replicas}}}},
        "proxies": {"one": {"status": "DRAINING"}, "two": {"status": "DRAINED"}},
    }
    assert parts_on("one", details) == ["a", "proxy"]
    assert parts_on("two", details) == ["b"]
    assert parts_on("three", details) == []
