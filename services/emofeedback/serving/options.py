"""What Serve is told of an application's replicas: how many, what each takes, how long one may finish its calls.

A profile says so (`Profile.serving`), and whoever deploys it may say otherwise of single fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from emofeedback.profiles.overrides import changed
from emofeedback.profiles.profile import Profile, Scaling
from emofeedback.serving.autoscaling import IMAGE_STEPS, TOKENS, WorkPolicy

Application = Literal["generator", "judge", "optimizer"]

POOL_LABEL = "emofeedback.io/pool"
"""Label of a Ray node: the pool that it belongs to."""

_ROUTER = "emofeedback.serving.router.RequestIdRouter"
"""By its name: what Serve is told has to come without importing Ray."""
_METRICS = {"generator": IMAGE_STEPS, "judge": TOKENS}
"""The work by which an application is scaled; of one without a metric, calls are the work."""


def deployment_options(
    profile: Profile, name: Application, *, changes: Mapping[str, float] | None = None, pool: str = ""
) -> dict[str, Any]:
    """Options of an application's deployment (`ray.serve.deployment(...).options`).

    Args:
        changes: fields of `Scaling` that go before the profile's.
        pool: the nodes that its replicas run on, by their `POOL_LABEL`; empty: wherever their resources are.

    Raises:
        InvalidRequest: an unknown field, or a value that Serve would refuse only once it deploys; the key is named.
    """
    asked = changed(profile, {f"serving.{name}.{field}": value for field, value in (changes or {}).items()})
    scaling: Scaling = getattr(asked.serving, name)
    replicas: dict[str, Any] = {"num_replicas": scaling.min_replicas}
    if scaling.max_replicas != scaling.min_replicas:
        replicas = {"autoscaling_config": _autoscaling(scaling, _METRICS.get(name))}
    return {
        **replicas,
        "max_ongoing_requests": scaling.max_ongoing_requests,
        "max_queued_requests": scaling.max_queued_requests,
        "graceful_shutdown_timeout_s": scaling.drain_seconds,
        "max_surge_percent": scaling.surge_percent,
        "request_router_config": {"request_router_class": _ROUTER},
        "ray_actor_options": {"num_cpus": scaling.cpus, "num_gpus": scaling.gpus}
        | ({"label_selector": {POOL_LABEL: pool}} if pool else {}),
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
