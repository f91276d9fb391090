"""The Serve configuration of a profile: what `serve deploy` takes and a RayService embeds (serveConfigV2).

It names the applications and the profile that they serve; how many replicas there are and what each takes, the
applications' builders read in the profile (`serving.options`). One function writes it for every place that runs the
services: this machine (`serving.local`), `emofeedback deploy render`, and the chart, whose template is tested to write
the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from emofeedback.domain.limits import LIMITS
from emofeedback.profiles.overrides import load_profile
from emofeedback.serving.options import Application

SERVICER_FUNCTIONS = ["emofeedback.rpc.proxy.add_services"]
"""What Serve's gRPC proxy answers to."""

ENVIRONMENT = {
    "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str(LIMITS.message_bytes),
    # Ray's own is 15, for Serve's proxies too: who is to be answered then waits behind all else on the machine.
    "RAY_worker_niceness": "0",
    # Calls go from proxy to replica by gRPC, and the proxy's router runs in the loop that takes them: two thirds of the
    # time for a call that computes nothing. Serve's own limit on that way is 4 MiB, and it wraps the message.
    "RAY_SERVE_PROXY_USE_GRPC": "1",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(LIMITS.message_bytes + 2**20),
}
"""What Serve has no key for: every Ray process must have it in its environment."""

HTTP = "http"
"""The application that may stand beside the three."""

ADDRESS = "127.0.0.1:9000"
"""Where the optimizer finds the other two: the proxy on its own node."""


def serve_config(
    profile: str, *, policies: str = "", address: str = ADDRESS, http: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The applications as Serve deploys them; plain values, ready for YAML or JSON.

    Args:
        profile: a built-in profile's name or a TOML file's path; the file must lie at that path on every node.
        policies: fsspec URI of a store of policies that the generator takes instead of the profile's.
        address: HOST:PORT at which the optimizer calls the other two; gRPC is served at its port.
        http: arguments of the HTTP API (`serving.http_app.HttpArgs`) but for the address; None: there is no such
            application.

    Raises:
        InvalidRequest: no such profile, a key of it is wrong, or Serve would refuse it; the dotted key is named.
    """
    load_profile(profile)  # refused here, before the cluster does
    more = {"generator": {"policies": policies} if policies else {}, "optimizer": {"address": address}}
    applications = [
        {
            "name": name,
            "route_prefix": f"/{name}",
            "import_path": f"emofeedback.serving.apps:{name}_app",
            "args": {"profile": profile} | more.get(name, {}),
        }
        for name in get_args(Application)
    ]
    if http is not None:
        applications.append(
            {
                "name": HTTP,
                "route_prefix": "/",
                "import_path": "emofeedback.serving.http_app:http_app",
                "args": {"address": address, **http},
            }
        )
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "0.0.0.0", "port": 8000},
        "grpc_options": {"port": int(address.rpartition(":")[2]), "grpc_servicer_functions": SERVICER_FUNCTIONS},
        "applications": applications,
    }
