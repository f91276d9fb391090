"""Empties the Ray node that it runs on: `python -m emofeedback.serving.draining SECONDS`, the chart's preStop hook.

A pod that Kubernetes ends would take its replicas with it, and their calls. Told beforehand, Serve starts a replacement
for each on another node, sends new calls there, and lets the old ones finish; then the pod may go.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

_LOOK_SECONDS = 1.0


def drain_node(node: str, seconds: float) -> bool:
    """Asks Serve, by the Ray that this process is connected to, to leave a node, and waits until it has.

    Args:
        node: the Ray node's id, in hex.
        seconds: until the node goes. A replica keeps taking calls until its replacement does, or until no more is left
            than its own time to finish (`Scaling.drain_seconds`); so it should be longer than that by what loading
            the models takes.

    Returns:
        False where something of Serve is still there after that time.
    """
    import ray
    from ray.core.generated.autoscaler_pb2 import DRAIN_NODE_REASON_PREEMPTION
    from ray.serve.context import _get_global_client

    deadline = time.time() + seconds
    # What `ray drain-node` does. A node that is about to be taken away is the only reason that is never refused.
    accepted, refusal = ray._raylet.GcsClient(address=ray.get_runtime_context().gcs_address).drain_node(
        node, DRAIN_NODE_REASON_PREEMPTION, "the pod is told to end", int(deadline * 1000)
    )
    if not accepted:
        raise RuntimeError(f"Ray does not drain this node: {refusal}")
    client = _get_global_client(raise_if_no_controller_running=False)
    while client is not None and parts_on(node, client.get_serve_details()):
        if time.time() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def parts_on(node: str, details: Mapping[str, Any]) -> list[str]:
    """Replicas of a node, by Serve's own account (`ServeInstanceDetails`), and its proxy while it has calls."""
    replicas = [
        replica["replica_id"]
        for application in details["applications"].values()
        for deployment in application["deployments"].values()
        for replica in deployment["replicas"]
        if replica.get("node_id") == node  # one that starts has none yet
    ]
    proxy = details["proxies"].get(node)
    return replicas + (["proxy"] if proxy and proxy["status"] != "DRAINED" else [])


def main() -> int:
    """The process's exit code: 1 where the node is not empty in time."""
    import ray

    seconds = float(sys.argv[1])
    ray.init(address="auto", log_to_driver=False)
    return 0 if drain_node(ray.get_runtime_context().get_node_id(), seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
