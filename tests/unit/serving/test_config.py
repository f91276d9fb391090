"""The Serve configuration of a profile, as Ray reads it."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from emofeedback.domain.errors import InvalidRequest
from emofeedback.profiles.builtin import PROFILES
from emofeedback.serving import apps as serving
from emofeedback.serving.config import serve_config


@pytest.mark.parametrize("name", PROFILES)
def test_builders_and_arguments_are_those_of_the_package(name: str) -> None:
    for application in serve_config(name)["applications"]:
        module, _, builder = application["import_path"].partition(":")
        assert module == serving.__name__
        # Serve makes the arguments a model only where the annotation is the class itself.
        (parameter,) = inspect.signature(getattr(serving, builder)).parameters.values()
        assert parameter.annotation is serving.AppArgs
        serving.AppArgs.model_validate(application["args"])
        assert "deployments" not in application  # the profile says it all


def test_an_argument_that_no_builder_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="polices"):
        serving.AppArgs.model_validate({"profile": "nano", "polices": "/adapters"})


def test_policies_and_address_reach_those_who_need_them() -> None:
    config = serve_config("nano", policies="s3://adapters", address="127.0.0.1:9900")
    generator, judge, optimizer = (application["args"] for application in config["applications"])
    assert generator == {"profile": "nano", "policies": "s3://adapters"}
    assert judge == {"profile": "nano"}
    assert optimizer == {"profile": "nano", "address": "127.0.0.1:9900"}
    assert config["grpc_options"]["port"] == 9900


def test_what_serve_would_refuse_is_refused_when_the_configuration_is_written(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[serving.judge]\nmin_replicas = 3\nmax_replicas = 2\n")
    with pytest.raises(InvalidRequest, match=r"serving\.judge\.max_replicas: is 2.*at least 3"):
        serve_config(str(path))


def test_rays_own_schema_takes_every_profile_s() -> None:
    # In a process of its own: Ray keeps for good the settings that it finds when it is first imported.
    program = """
import json, sys
from ray.serve.schema import ServeDeploySchema
for name, config in json.loads(sys.argv[1]).items():
    ServeDeploySchema(**config)
    print(name)
"""
    configs = {name: serve_config(name) for name in PROFILES}
    ray = subprocess.run([sys.executable, "-c", program, json.dumps(configs)], capture_output=True, text=True)
    assert ray.stdout.split() == list(PROFILES), ray.stderr
