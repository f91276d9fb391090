"""The effective Serve configuration of a profile: what `serve deploy` takes and a RayService embeds (serveConfigV2).

One function makes it for every place that runs the services: this machine (`local_services`), `emofeedback deploy
render`, and the chart, whose template is tested to write the same.
"""

from __future__ import annotations

from typing import Any

from emofeedback.domain.limits import LIMITS
from emofeedback.profiles.overrides import load_profile
from emofeedback.profiles.profile import Scaling
from emofeedback.serving.autoscaling import IMAGE_STEPS, TOKENS, WorkPolicy

SERVICER_FUNCTIONS = ["emofeedback.rpc.proxy.add_services"]
"""What Serve's gRPC proxy answers to."""

ENVIRONMENT = {"RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str(LIMITS.message_bytes)}
"""What Serve has no key for: every Ray process must have it in its environment."""

ADDRESS = "127.0.0.1:9000"
"""Where the optimizer finds the other two: the proxy on its own node."""


def serve_config(profile: str, *, policies: str = "", address: str = ADDRESS) -> dict[str, Any]:
    """The three applications as Serve deploys them; plain values, ready for YAML or JSON.

    Args:
        profile: a built-in profile's name or a TOML file's path; the file must lie at that path on every node.
        policies: fsspec URI of a store of policies that the generator takes instead of the profile's.
        address: HOST:PORT at which the optimizer calls the other two; gRPC is served at its port.

    Raises:
        InvalidRequest: no such profile, or a key of it is wrong; the dotted key is named.
    """
    serving = load_profile(profile).serving
    generator_args = {"profile": profile} | ({"policies": policies} if policies else {})
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "0.0.0.0", "port": 8000},
        "grpc_options": {"port": int(address.rpartition(":")[2]), "grpc_servicer_functions": SERVICER_FUNCTIONS},
        "applications": [
            _application("generator", generator_args, "GeneratorDeployment", serving.generator, IMAGE_STEPS),
            _application("judge", {"profile": profile}, "JudgeDeployment", serving.judge, TOKENS),
            _application(
                "optimizer", {"profile": profile, "address": address}, "PromptOptimizerDeployment", serving.optimizer
            ),
        ],
    }


def _application(
    name: str, args: dict[str, str], deployment: str, scaling: Scaling, metric: str | None = None
) -> dict[str, Any]:
    return {
        "name": name,
        "route_prefix": f"/{name}",
        "import_path": f"emofeedback.serving.apps:{name}_app",
        "args": args,
        "deployments": [{"name": deployment, **_options(scaling, metric)}],
    }


def _options(scaling: Scaling, metric: str | None) -> dict[str, Any]:
    """Options of a deployment; without a metric of its own, calls are its work."""
    replicas: dict[str, Any] = {"num_replicas": scaling.min_replicas}
    if scaling.max_replicas != scaling.min_replicas:
        replicas = {"autoscaling_config": _autoscaling(scaling, metric)}
    return {
        **replicas,
        "max_ongoing_requests": scaling.max_ongoing_requests,
        "max_queued_requests": scaling.max_queued_requests,
        "graceful_shutdown_timeout_s": scaling.drain_seconds,
        "max_surge_percent": scaling.surge_percent,
        "ray_actor_options": {"num_cpus": scaling.cpus, "num_gpus": scaling.gpus},
    }


def _autoscaling(scaling: Scaling, metric: str | None) -> dict[str, Any]:
    config: dict[str, Any] = {
        "min_replicas": scaling.min_replicas,
        "max_replicas": scaling.max_replicas,
        "look_back_period_s": scaling.look_back_seconds,
        "upscale_delay_s": scaling.upscale_delay_seconds,
        "downscale_delay_s": scaling.downscale_delay_seconds,
    }
    if metric is None:
        return config | {"target_ongoing_requests": scaling.target_work}
    policy = {
        "policy_function": f"{WorkPolicy.__module__}:{WorkPolicy.__qualname__}",
        "policy_kwargs": {"metric": metric, "target": scaling.target_work},
    }
    return config | {"policy": policy}
