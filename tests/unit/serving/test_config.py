"""The Serve configuration of a profile, as Ray reads it."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from emofeedback.domain.errors import InvalidRequest
from emofeedback.profiles.builtin import NANO_PROFILE, PROFILES
from emofeedback.serving import apps as serving
from emofeedback.serving.config import serve_config


def profile(tmp_path: Path, changes: str) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "nano"\n{changes}')
    return str(path)


def deployment(config: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [application for application in config["applications"] if application["name"] == name]
    (only,) = found["deployments"]
    assert isinstance(only, dict)
    return only


@pytest.mark.parametrize("name", PROFILES)
def test_builders_and_deployments_are_those_of_the_package(name: str) -> None:
    for application in serve_config(name)["applications"]:
        module, _, builder = application["import_path"].partition(":")
        assert module == serving.__name__
        # Serve makes the arguments a model only where the annotation is the class itself.
        (parameter,) = inspect.signature(getattr(serving, builder)).parameters.values()
        assert parameter.annotation is serving.AppArgs
        serving.AppArgs.model_validate(application["args"])
        (only,) = application["deployments"]
        assert inspect.isclass(getattr(serving, only["name"]))


def test_an_argument_that_no_builder_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="polices"):
        serving.AppArgs.model_validate({"profile": "nano", "polices": "/adapters"})


def test_a_replica_has_the_profiles_time_to_finish() -> None:
    options = deployment(serve_config("nano"), "generator")
    assert options["graceful_shutdown_timeout_s"] == NANO_PROFILE.serving.generator.drain_seconds


def test_policies_and_address_reach_those_who_need_them() -> None:
    config = serve_config("nano", policies="s3://adapters", address="127.0.0.1:9900")
    generator, judge, optimizer = (application["args"] for application in config["applications"])
    assert generator == {"profile": "nano", "policies": "s3://adapters"}
    assert judge == {"profile": "nano"}
    assert optimizer == {"profile": "nano", "address": "127.0.0.1:9900"}
    assert config["grpc_options"]["port"] == 9900


def test_work_scales_generator_and_judge_and_calls_the_optimizer(tmp_path: Path) -> None:
    changes = "".join(f"[serving.{name}]\nmax_replicas = 3\n" for name in ("generator", "judge", "optimizer"))
    config = serve_config(profile(tmp_path, changes))
    kwargs = {
        name: deployment(config, name)["autoscaling_config"]["policy"]["policy_kwargs"]
        for name in ("generator", "judge")
    }
    assert kwargs == {
        "generator": {"metric": "image_steps", "target": NANO_PROFILE.serving.generator.target_work},
        "judge": {"metric": "tokens", "target": NANO_PROFILE.serving.judge.target_work},
    }
    optimizer = deployment(config, "optimizer")["autoscaling_config"]
    assert optimizer["target_ongoing_requests"] == NANO_PROFILE.serving.optimizer.target_work


def test_the_judge_may_be_scaled_to_nothing(tmp_path: Path) -> None:
    config = serve_config(profile(tmp_path, "[serving.judge]\nmin_replicas = 0\n"))
    assert deployment(config, "judge")["autoscaling_config"]["min_replicas"] == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ("[serving.judge]\nmin_replicas = 3\nmax_replicas = 2\n", "serving.judge.max_replicas: is 2.*at least 3"),
        ("[serving.judge]\nmin_replicas = 0\nmax_replicas = 0\n", "serving.judge.max_replicas: is 0.*at least 1"),
        ("[serving.generator]\nmin_replicas = -1\n", "serving.generator.min_replicas: is -1.*at least 0"),
        ("[serving.generator]\ntarget_work = 0\n", "serving.generator.target_work: is 0.*above 0"),
        ("[serving.optimizer]\ndrain_seconds = -5\n", "serving.optimizer.drain_seconds: is -5.*at least 0"),
        ("[serving.optimizer]\nsurge_percent = 101\n", "serving.optimizer.surge_percent: is 101.*at most 100"),
    ],
)
def test_what_serve_would_refuse_is_refused_with_its_key(tmp_path: Path, changes: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        serve_config(profile(tmp_path, changes))


def test_rays_own_schema_and_policy_loader_take_it(tmp_path: Path) -> None:
    # In a process of its own: Ray keeps for good the settings that it finds when it is first imported.
    path = profile(tmp_path, "[serving.generator]\nmax_replicas = 2\n[serving.judge]\nmin_replicas = 0\n")
    program = """
import json, sys
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import ServeDeploySchema
for config in map(json.loads, sys.argv[1:]):
    for application in ServeDeploySchema(**config).applications:
        for deployment in application.deployments:
            if deployment.is_autoscaling_configured():
                loaded = AutoscalingConfig.model_validate(deployment.autoscaling_config).policy
                print(application.name, loaded.get_policy()(**loaded.policy_kwargs).__class__.__name__)
"""
    configs = [json.dumps(serve_config(name)) for name in (*PROFILES, path)]
    ray = subprocess.run([sys.executable, "-c", program, *configs], capture_output=True, text=True)
    assert ray.returncode == 0, ray.stderr
    assert ray.stdout.split("\n")[:2] == ["generator WorkPolicy", "judge WorkPolicy"]
