"""A real Helm lints, installs, upgrades and tests the chart; a wrong value is refused in words."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml

from support.chart_releases import CHART, NAMES, Release, example, merged
from support.kubernetes.store import KubeApi
from support.real_helm import NAMESPACE, Helm, HelmRefused

pytestmark = pytest.mark.helm


@pytest.mark.parametrize("name", NAMES)
def test_helm_finds_nothing_wrong_with_the_chart(helm: Helm, name: str) -> None:
    helm.lint(CHART, example(name))


def test_without_values_the_embedded_models_run_on_one_pool_without_gpus(install: Callable[..., Release]) -> None:
    release = install()
    (group,) = release.one("RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert group["groupName"] == "agent"
    assert not any("gpu" in name for name in group["template"]["spec"]["containers"][0]["resources"]["limits"])
    assert {app["args"]["profile"] for app in release.serve_config["applications"]} == {"nano"}


@pytest.mark.parametrize("name", NAMES)
def test_what_helm_describes_is_what_it_sends_to_the_cluster(helm: Helm, cluster: KubeApi, name: str) -> None:
    release = Release.of(helm.install(CHART, example(name)))
    for item in release.objects:
        sent = cluster.find(item["kind"], item["metadata"]["name"], NAMESPACE)
        assert sent.get("spec") == item.get("spec")
        assert sent.get("data") == item.get("data")


def test_the_notes_say_how_to_wait_test_and_call_and_that_the_door_is_open(install: Callable[..., Release]) -> None:
    notes = install("cpu").notes
    for words in ("kubectl --namespace emofeedback wait rayservice/", "helm --namespace emofeedback test", "9000"):
        assert words in notes
    assert "Authentication is off" in notes


def test_an_upgrade_changes_the_serve_configuration_and_leaves_the_pods_alone(helm: Helm, cluster: KubeApi) -> None:
    values = example("gpu-pools")
    helm.install(CHART, values)
    (before,) = cluster.objects("RayService", NAMESPACE)
    helm.upgrade(CHART, merged(values, {"applications": {"generator": {"maxReplicas": 6}}}))
    (after,) = cluster.objects("RayService", NAMESPACE)
    scaled = yaml.safe_load(after["spec"]["serveConfigV2"])["applications"][0]["args"]["scaling"]
    assert scaled["max_replicas"] == 6
    # Another pod template would be another cluster.
    assert after["spec"]["rayClusterConfig"] == before["spec"]["rayClusterConfig"]


def test_another_inline_profile_brings_up_another_cluster(helm: Helm, cluster: KubeApi) -> None:
    helm.install(CHART, {"profile": {"inline": 'extends = "nano"\n'}})
    (before,) = cluster.objects("RayService", NAMESPACE)
    helm.upgrade(CHART, {"profile": {"inline": 'extends = "nano"\n[generator]\nsteps = 20\n'}})
    (after,) = cluster.objects("RayService", NAMESPACE)
    assert after["spec"]["rayClusterConfig"] != before["spec"]["rayClusterConfig"]
    assert "steps = 20" in cluster.find("ConfigMap", "feel-emofeedback-profile", NAMESPACE)["data"]["profile.toml"]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_helm_test_runs_one_pod_and_says_how_it_ended(helm: Helm, cluster: KubeApi, phase: str) -> None:
    helm.install(CHART, example("cpu"))
    pods: list[dict[str, Any]] = []

    def kubelet() -> None:
        deadline = time.monotonic() + 30
        while not pods and time.monotonic() < deadline:
            pods.extend(cluster.objects("Pod", NAMESPACE))
            time.sleep(0.05)
        for pod in pods:
            cluster.set_status("Pod", pod["metadata"]["name"], {"phase": phase}, NAMESPACE)

    thread = threading.Thread(target=kubelet)
    thread.start()
    try:
        if phase == "Succeeded":
            helm.test()
        else:
            with pytest.raises(HelmRefused, match="paint-one-picture"):
                helm.test()
    finally:
        thread.join()
    (pod,) = pods
    assert pod["metadata"]["name"] == "feel-emofeedback-paint-one-picture"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"pools": {"agent": {"minReplica": 2}}}, ["minReplica", "pools"]),
        ({"applications": {"judge": {"minReplicas": -1}}}, ["applications", "judge", "minReplicas"]),
        ({"applications": {"painter": {}}}, ["applications", "painter"]),
        ({"ports": {"grpc": "nine"}}, ["ports", "grpc"]),
        ({"route": {"type": "ingress"}}, ["route", "hostnames"]),
        ({"route": {"type": "grpcroute", "hostnames": ["a.example"]}}, ["route.gateway"]),
        (
            {"route": {"type": "ingress", "hostnames": ["a.example"]}},
            ["route.tlsSecret is needed: an existing TLS secret"],
        ),
        ({"trainer": {"backend": "slurm"}}, ["trainer", "backend", "kubernetes"]),
        ({"image": {"tag": "latest"}}, ["image.tag", "latest", "name a version"]),
        ({"gcsFaultTolerance": {"enabled": True}}, ["gcsFaultTolerance.redisAddress is needed"]),
        ({"pools": {"agent": {"resources": {"limits": {"memory": "lots"}}}}}, ["resources", "limits", "memory"]),
        (
            {"applications": {"generator": {"pool": "generator"}}},
            ["applications.generator.pool", "pools.generator.enabled is false"],
        ),
        (
            {"applications": {"generator": {"minReplicas": 3, "maxReplicas": 2}}},
            ["applications.generator.maxReplicas is 2", "at least minReplicas (3)"],
        ),
        # By the profile alone there is one replica.
        ({"applications": {"judge": {"minReplicas": 3}}}, ["applications.judge.maxReplicas is 1", "minReplicas (3)"]),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_value_is_refused_with_its_place(
    helm: Helm, cluster: KubeApi, values: Mapping[str, Any], words: list[str]
) -> None:
    with pytest.raises(HelmRefused) as refused:
        helm.install(CHART, values)
    for word in words:
        assert word in str(refused.value)
    assert cluster.objects("RayService") == []
