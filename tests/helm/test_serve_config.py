"""The Serve configuration inside the RayService is the one that the rest of the tests run, and it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from emofeedback.profiles.builtin import PROFILES
from emofeedback.profiles.profile import Scaling
from emofeedback.serving.apps import AppArgs
from emofeedback.serving.config import ENVIRONMENT, serve_config
from emofeedback.serving.options import POOL_LABEL
from support.chart_releases import CHART, NAMES, Manifest, Release
from support.running_services import command, free_port, interrupt, wait_until_listening

pytestmark = pytest.mark.helm


def ray_containers(release: Release) -> list[Manifest]:
    """The containers that run Ray's nodes for the services."""
    cluster = release.one("RayService")["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"]["spec"]["containers"][0] for group in groups]


def variables(container: Manifest) -> dict[str, str]:
    """The environment that is written out in a container."""
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


@pytest.mark.parametrize("name", NAMES)
def test_rays_own_schema_takes_it(examples: Mapping[str, Release], name: str) -> None:
    from ray.serve.schema import ServeDeploySchema

    parsed = ServeDeploySchema.model_validate(examples[name].serve_config)
    assert [app.name for app in parsed.applications] == ["generator", "judge", "optimizer"]


def test_for_the_embedded_models_it_is_the_one_of_the_profile(examples: Mapping[str, Release]) -> None:
    assert examples["cpu"].serve_config == serve_config("nano")


def test_for_the_full_size_models_it_is_the_one_of_the_profile_with_what_the_operator_says_otherwise(
    examples: Mapping[str, Release],
) -> None:
    said = {
        "generator": {"pool": "generator", "scaling": {"max_replicas": 4}},
        "judge": {"pool": "judge", "scaling": {"min_replicas": 0, "max_replicas": 2}},
        "optimizer": {"pool": "agent", "scaling": {"max_replicas": 3}},
    }
    expected = serve_config("sd35-medium")
    for app in expected["applications"]:
        app["args"] |= said[app["name"]]
    assert examples["gpu-pools"].serve_config == expected


def test_what_the_values_leave_out_or_null_is_the_profiles(installed_anew: Callable[..., Release]) -> None:
    nothing = {"maxReplicas": None, "targetWork": None}
    release = installed_anew({"applications": {"generator": nothing, "judge": nothing}})
    assert release.serve_config == serve_config("nano")


def test_every_value_of_scaling_is_a_field_of_the_profiles(
    installed_anew: Callable[..., Release], tmp_path: Path
) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())["definitions"]["application"]["properties"]
    ones = {name: 1 for name in schema if name != "pool"}
    pools = {"agent": {"gpu": {"count": 1, "resource": "a.b/c"}}}
    release = installed_anew({"applications": dict.fromkeys(("generator", "judge", "optimizer"), ones), "pools": pools})
    for app in release.serve_config["applications"]:
        assert app["args"]["scaling"].keys() == {field.name for field in fields(Scaling)}
        AppArgs.model_validate(app["args"])
    for options in release.options(tmp_path).values():
        assert options["ray_actor_options"] == {"num_cpus": 1, "num_gpus": 1}
        assert options["graceful_shutdown_timeout_s"] == options["num_replicas"] == 1


def test_the_chart_knows_the_built_in_profiles() -> None:
    known = yaml.safe_load((CHART / "profiles.yaml").read_text())
    assert known.keys() == PROFILES.keys()
    for name, profile in PROFILES.items():
        assert known[name].keys() == {"generator", "judge", "optimizer"}
        for application, facts in known[name].items():
            settings, scaling = getattr(profile, application), getattr(profile.serving, application)
            found = {key: getattr(settings if key == "device" else scaling, key) for key in facts}
            assert facts == found and facts.keys() >= {"gpus", "min_replicas", "max_replicas", "drain_seconds"}
            assert ("device" in facts) == hasattr(settings, "device")


def test_a_pools_pods_carry_the_label_that_its_replicas_ask_for(
    examples: Mapping[str, Release], tmp_path: Path
) -> None:
    release = examples["gpu-pools"]
    groups = release.one("RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    offered = {group["labels"][POOL_LABEL]: group for group in groups}
    for options in release.options(tmp_path).values():
        wanted = options["ray_actor_options"]
        group = offered[wanted["label_selector"][POOL_LABEL]]
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert wanted["num_gpus"] <= int(limits.get("nvidia.com/gpu", 0))
        assert wanted["num_cpus"] <= float(limits["cpu"])


@pytest.mark.parametrize("name", NAMES)
def test_every_ray_process_has_the_environment_that_serve_needs(examples: Mapping[str, Release], name: str) -> None:
    for container in ray_containers(examples[name]):
        assert ENVIRONMENT.items() <= variables(container).items()


@pytest.mark.parametrize("name", NAMES)
def test_a_pod_that_is_told_to_end_has_time_to_drain(
    examples: Mapping[str, Release], name: str, tmp_path: Path
) -> None:
    has_time_to_drain(examples[name], tmp_path)


@pytest.mark.parametrize(
    "values",
    [
        {"profile": {"inline": "[serving.optimizer]\ndrain_seconds = 7_200.0\n"}},
        {"profile": {"inline": "[serving.judge]\ncpus = 1.0\n[serving.generator]\ndrain_seconds = 5000.5 # long\n"}},
        {"applications": {"judge": {"drainSeconds": 4000}}},
    ],
)
def test_a_pod_has_time_to_drain_whoever_says_how_long_that_takes(
    installed_anew: Callable[..., Release], values: Manifest, tmp_path: Path
) -> None:
    has_time_to_drain(installed_anew(values), tmp_path)


def has_time_to_drain(release: Release, folder: Path) -> None:
    """Each of its pods."""
    drains = [options["graceful_shutdown_timeout_s"] for options in release.options(folder).values()]
    cluster = release.one("RayService")["spec"]
    for group in cluster["rayClusterConfig"]["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        hook = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        assert hook[:3] == ["python", "-m", "emofeedback.serving.draining"]
        assert pod["terminationGracePeriodSeconds"] >= int(hook[3]) + 30 >= max(drains) + 30
    assert cluster["rayClusterDeletionDelaySeconds"] >= max(drains)


def test_the_judges_pool_may_go_to_zero(examples: Mapping[str, Release], tmp_path: Path) -> None:
    release = examples["gpu-pools"]
    judge = release.options(tmp_path)["judge"]
    assert judge["autoscaling_config"]["min_replicas"] == 0
    groups = release.one("RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    (group,) = (group for group in groups if group["groupName"] == "judge")
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (0, 0, 2)


def test_what_the_cpu_example_deploys_paints_the_picture_of_helm_test(
    install: Callable[..., Release], tmp_path: Path
) -> None:
    grpc, http = free_port(), free_port()
    release = install("cpu", ports={"grpc": grpc, "http": http})
    config = tmp_path / "serve.yaml"
    config.write_text(release.one("RayService")["spec"]["serveConfigV2"])
    rays = {name: value for name, value in variables(ray_containers(release)[0]).items() if name.startswith("RAY_")}
    services = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "deployed.py"), str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **rays},
    )
    try:
        wait_until_listening(grpc, services)
        (pod,) = release.hooks
        (painter,) = pod["spec"]["containers"]
        assert painter["command"] == ["emofeedback"]
        # The pod's own words, but for the service's name, which only a cluster resolves, and the folder.
        words = {
            f"--address=feel-emofeedback:{grpc}": f"--address=127.0.0.1:{grpc}",
            "--out=/tmp/picture": f"--out={tmp_path / 'picture'}",
        }
        assert words.keys() <= set(painter["args"])
        painting = command(*(words.get(word, word) for word in painter["args"]))
        _, stderr = painting.communicate(timeout=120)
        assert painting.returncode == 0, stderr
    finally:
        survivors = interrupt(services)
    result = json.loads((tmp_path / "picture" / "result.json").read_text())
    (picture,) = result["rounds"][0]["candidates"]
    assert (tmp_path / "picture" / picture["path"]).read_bytes().startswith(b"\x89PNG")
    assert survivors == []
