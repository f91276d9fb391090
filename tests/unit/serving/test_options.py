"""How many replicas an application has and what each takes: the profile's word, and its deployer's."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any, get_args

import pytest

from emofeedback.domain.errors import InvalidRequest
from emofeedback.profiles.builtin import NANO_PROFILE, PROFILES, SD35_MEDIUM_PROFILE
from emofeedback.profiles.profile import Profile, Scaling
from emofeedback.serving.options import Application, deployment_options

OPTIONS_IN_RAY = """
import json, sys
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as built
from emofeedback.serving import apps
found = {}
for name, args in json.loads(sys.argv[1]).items():
    deployment = built(getattr(apps, f"{name}_app"), args)._bound_deployment
    config = deployment._deployment_config
    scaling = config.autoscaling_config
    found[name] = {
        "num_replicas": config.num_replicas,
        "max_ongoing_requests": config.max_ongoing_requests,
        "max_queued_requests": config.max_queued_requests,
        "graceful_shutdown_timeout_s": config.graceful_shutdown_timeout_s,
        "max_surge_percent": config.max_surge_percent,
        "request_router_config": {"request_router_class": config.request_router_config.request_router_class},
        "ray_actor_options": {k: v for k, v in deployment.ray_actor_options.items() if k != "runtime_env"},
    }
    if scaling:
        policy = scaling.policy.get_policy()
        found[name]["bounds"] = [scaling.min_replicas, scaling.max_replicas, scaling.target_ongoing_requests]
        found[name]["delays"] = [scaling.look_back_period_s, scaling.upscale_delay_s, scaling.downscale_delay_s]
        found[name]["policy"] = [policy.__name__, scaling.policy.policy_kwargs]
print(json.dumps(found))
"""


def with_serving(**serving: Scaling) -> Profile:
    return replace(NANO_PROFILE, serving=replace(NANO_PROFILE.serving, **serving))


def test_a_replica_takes_what_the_profile_says_and_has_its_time_to_finish() -> None:
    options = deployment_options(SD35_MEDIUM_PROFILE, "generator")
    assert options["ray_actor_options"] == {"num_cpus": 4.0, "num_gpus": 1.0}
    assert options["graceful_shutdown_timeout_s"] == SD35_MEDIUM_PROFILE.serving.generator.drain_seconds
    assert options["num_replicas"] == 1 and "autoscaling_config" not in options


def test_work_scales_generator_and_judge_and_calls_the_optimizer() -> None:
    generator, judge, optimizer = (
        deployment_options(NANO_PROFILE, name, changes={"max_replicas": 3})["autoscaling_config"]
        for name in ("generator", "judge", "optimizer")
    )
    for config, metric, work in (
        (generator, "image_steps", NANO_PROFILE.serving.generator.target_work),
        (judge, "tokens", NANO_PROFILE.serving.judge.target_work),
    ):
        assert config["policy"]["policy_kwargs"] == {"metric": metric, "target": work}
    assert optimizer["target_ongoing_requests"] == NANO_PROFILE.serving.optimizer.target_work


def test_the_judge_may_be_scaled_to_nothing() -> None:
    options = deployment_options(with_serving(judge=Scaling(min_replicas=0)), "judge")
    assert options["autoscaling_config"]["min_replicas"] == 0


def test_what_the_deployer_says_goes_before_the_profile_and_all_else_stays() -> None:
    options = deployment_options(
        SD35_MEDIUM_PROFILE, "judge", changes={"gpus": 0.5, "surge_percent": 25}, pool="generator"
    )
    labels = {"emofeedback.io/pool": "generator"}
    assert options == deployment_options(SD35_MEDIUM_PROFILE, "judge") | {
        "max_surge_percent": 25,
        "ray_actor_options": {"num_cpus": 4.0, "num_gpus": 0.5, "label_selector": labels},
    }


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("judge", {"min_replicas": 3, "max_replicas": 2}, "serving.judge.max_replicas: is 2.*at least 3"),
        ("judge", {"min_replicas": 0, "max_replicas": 0}, "serving.judge.max_replicas: is 0.*at least 1"),
        ("generator", {"min_replicas": -1}, "serving.generator.min_replicas: is -1.*at least 0"),
        ("generator", {"target_work": 0}, "serving.generator.target_work: is 0.*above 0"),
        ("optimizer", {"drain_seconds": -5}, "serving.optimizer.drain_seconds: is -5.*at least 0"),
        ("optimizer", {"surge_percent": 101}, "serving.optimizer.surge_percent: is 101.*at most 100"),
        ("optimizer", {"replicas": 2}, "serving.optimizer.replicas: unknown key"),
    ],
)
def test_what_serve_would_refuse_is_refused_with_its_key(
    name: Application, changes: dict[str, float], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        deployment_options(NANO_PROFILE, name, changes=changes)


def test_ray_takes_from_the_builders_what_the_profile_says() -> None:
    # In a process of its own: Ray keeps for good the settings that it finds when it is first imported.
    args: dict[str, dict[str, Any]] = {
        "generator": {"profile": "sd35-medium", "scaling": {"max_replicas": 4}, "pool": "gpus"},
        "judge": {"profile": "nano", "scaling": {"min_replicas": 0}},
        "optimizer": {"profile": "sd35-medium"},
    }
    ray = subprocess.run([sys.executable, "-c", OPTIONS_IN_RAY, json.dumps(args)], capture_output=True, text=True)
    assert ray.returncode == 0, ray.stderr
    found = json.loads(ray.stdout.splitlines()[-1])
    for name in get_args(Application):
        of = args[name]
        profile = PROFILES[of["profile"]]
        expected = deployment_options(profile, name, changes=of.get("scaling"), pool=of.get("pool", ""))
        scaling = expected.pop("autoscaling_config", None)
        assert found[name].items() >= expected.items()
        assert ("bounds" in found[name]) == (scaling is not None)
    assert found["generator"]["bounds"][:2] == [1, 4] and found["generator"]["delays"] == [30, 30, 600]
    assert found["generator"]["policy"] == ["WorkPolicy", {"metric": "image_steps", "target": 1400}]
    assert found["judge"]["bounds"][:2] == [0, 1] and found["judge"]["delays"] == [30, 5, 60]
    assert found["judge"]["policy"] == ["WorkPolicy", {"metric": "tokens", "target": 8000}]
