"""The Serve configuration inside the RayService is the one that the rest of the tests run, and it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from emofeedback.serving.config import ENVIRONMENT, serve_config
from support.chart_releases import NAMES, Manifest, Release, example
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


def test_for_the_full_size_models_it_is_the_one_of_the_profile_with_the_operators_replicas_and_pools(
    examples: Mapping[str, Release], tmp_path: Path
) -> None:
    values = example("gpu-pools")["applications"]
    profile = tmp_path / "profile.toml"
    profile.write_text(
        'extends = "sd35-medium"\n'
        + "".join(
            f"[serving.{name}]\nmin_replicas = {app['minReplicas']}\nmax_replicas = {app['maxReplicas']}\n"
            for name, app in values.items()
        )
    )
    rendered = examples["gpu-pools"].serve_config
    for app in rendered["applications"]:
        selector = app["deployments"][0]["ray_actor_options"].pop("label_selector")
        assert selector == {"emofeedback.io/pool": values[app["name"]]["pool"]}
        app["args"]["profile"] = str(profile)
    assert rendered == serve_config(str(profile))


def test_a_pools_pods_carry_the_label_that_its_replicas_ask_for(examples: Mapping[str, Release]) -> None:
    release = examples["gpu-pools"]
    groups = release.one("RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    offered = {group["labels"]["emofeedback.io/pool"]: group for group in groups}
    for app in release.serve_config["applications"]:
        options = app["deployments"][0]["ray_actor_options"]
        group = offered[options["label_selector"]["emofeedback.io/pool"]]
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert options["num_gpus"] <= int(limits.get("nvidia.com/gpu", 0))
        assert options["num_cpus"] <= float(limits["cpu"])


@pytest.mark.parametrize("name", NAMES)
def test_every_ray_process_has_the_environment_that_serve_needs(examples: Mapping[str, Release], name: str) -> None:
    for container in ray_containers(examples[name]):
        assert ENVIRONMENT.items() <= variables(container).items()


@pytest.mark.parametrize("name", NAMES)
def test_a_pod_that_is_told_to_end_has_time_to_drain(examples: Mapping[str, Release], name: str) -> None:
    release = examples[name]
    drains = [app["deployments"][0]["graceful_shutdown_timeout_s"] for app in release.serve_config["applications"]]
    cluster = release.one("RayService")["spec"]
    for group in cluster["rayClusterConfig"]["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        hook = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        assert hook[:3] == ["python", "-m", "emofeedback.serving.draining"]
        assert pod["terminationGracePeriodSeconds"] >= int(hook[3]) + 30 >= max(drains) + 30
    assert cluster["rayClusterDeletionDelaySeconds"] >= max(drains)


def test_the_judges_pool_may_go_to_zero(examples: Mapping[str, Release]) -> None:
    release = examples["gpu-pools"]
    judge = release.serve_config["applications"][1]["deployments"][0]
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
