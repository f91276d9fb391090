"""What the chart's preStop hook does to a pod's node: its replicas move first, and no call is lost."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from emofeedback import AsyncClient
from emofeedback.serving.draining import parts_on
from support.ray_nodes import pool_node, ray_of_our_own
from support.running_services import Cluster, Tally, painting, serving

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


async def test_a_node_that_is_drained_under_load_loses_no_call() -> None:
    token = secrets.token_hex(32)
    tally = Tally()
    with ray_of_our_own(), serving(RAY_AUTH_TOKEN=token, RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S="1") as services:
        cluster = Cluster(services, token)
        with pool_node(cluster.address, cluster.environment):
            await asyncio.to_thread(cluster.run, ON_THE_POOL, services.address, str(services.http_port))
            with pool_node(cluster.address, cluster.environment):
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
