"""What a security review would ask of every object that an example brings about, Ray's pods and jobs included."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from support.chart_releases import NAMES, Manifest, Release

pytestmark = pytest.mark.helm

SECRET_NAME = re.compile(r"(TOKEN|PASSWORD|SECRET|KEY)($|_)", re.IGNORECASE)


@pytest.fixture(params=NAMES)
def release(request: pytest.FixtureRequest, examples: Mapping[str, Release]) -> Release:
    """Each example in turn."""
    return examples[request.param]


def containers(release: Release) -> Iterator[tuple[str, Manifest]]:
    """Every container of every pod, and KubeRay's autoscaler as we configure it."""
    for where, pod in release.pods():
        for kind in ("initContainers", "containers"):
            for container in pod.get(kind, ()):
                yield f"{where}.{container['name']}", container
    autoscaler = release.one("RayService")["spec"]["rayClusterConfig"].get("autoscalerOptions")
    if autoscaler:
        yield "autoscaler", autoscaler


def long_running(release: Release) -> Iterator[tuple[str, Manifest]]:
    """Containers that are meant to stay; not those of tests, nor a job's submitter."""
    for where, container in containers(release):
        if container.get("image") and not where.startswith("Pod/") and "submitter" not in where:
            yield where, container


def test_every_container_has_requests_and_limits(release: Release) -> None:
    for where, container in containers(release):
        for bound in ("requests", "limits"):
            amounts = container["resources"][bound]
            assert {"cpu", "memory", "ephemeral-storage"} <= amounts.keys(), f"{where} {bound}"


def test_every_container_that_stays_has_its_probes(release: Release) -> None:
    found = dict(long_running(release))
    assert any("ray-head" in where for where in found) and any("ray-worker" in where for where in found)
    for where, container in found.items():
        assert {"livenessProbe", "readinessProbe"} <= container.keys(), where


def test_no_container_has_a_right_it_does_not_need(release: Release) -> None:
    for where, container in containers(release):
        rights = container["securityContext"]
        assert rights["allowPrivilegeEscalation"] is False, where
        assert rights["readOnlyRootFilesystem"] is True, where
        assert rights["runAsNonRoot"] is True, where
        assert rights["capabilities"] == {"drop": ["ALL"]}, where
        assert rights["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert "privileged" not in rights, where


def test_no_pod_shares_anything_with_its_node(release: Release) -> None:
    for where, pod in release.pods():
        assert pod["securityContext"]["runAsNonRoot"] is True, where
        assert pod["securityContext"]["runAsUser"] > 0, where
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), where
        assert not any("hostPath" in volume for volume in pod.get("volumes", ())), where
        ports = [port for container in pod["containers"] for port in container.get("ports", ())]
        assert not any("hostPort" in port for port in ports), where


def test_what_a_container_writes_to_is_a_volume(release: Release) -> None:
    for where, container in containers(release):
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert "/tmp" in mounted, where


def test_every_image_has_a_version(release: Release) -> None:
    images = {container["image"] for _, container in containers(release) if "image" in container}
    assert images
    for image in images:
        assert re.search(r"(:[\w.-]+|@sha256:[0-9a-f]{64})$", image), image
        assert not image.endswith(":latest"), image


def test_no_secret_is_a_value(release: Release) -> None:
    for where, container in containers(release):
        for variable in container.get("env", ()):
            if SECRET_NAME.search(variable["name"]):
                assert "secretKeyRef" in variable.get("valueFrom", {}), f"{where} {variable['name']}"
    assert release.all("Secret") == []
    for config in release.all("ConfigMap"):
        names = _keys([yaml.safe_load(text) for name, text in config["data"].items() if name.endswith(".yaml")])
        assert not any(re.search(r"password|secret$", name, re.IGNORECASE) for name in names), config["metadata"][
            "name"
        ]


def test_only_pods_that_call_the_kubernetes_api_have_its_token(release: Release) -> None:
    with_token = {where for where, pod in release.pods() if pod.get("automountServiceAccountToken", True)}
    autoscaled = release.one("RayService")["spec"]["rayClusterConfig"]["enableInTreeAutoscaling"]
    for where in with_token:
        is_head = autoscaled and where.endswith("headGroupSpec.template")
        assert is_head or (where.startswith("Deployment/") and where.endswith("-trainer.template")), where


def test_no_right_reaches_beyond_the_namespace(release: Release) -> None:
    assert release.all("ClusterRole") == release.all("ClusterRoleBinding") == []
    for role in release.all("Role"):
        for rule in role["rules"]:
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
            assert "secrets" not in rule["resources"]


def test_the_network_admits_nobody_by_default(release: Release) -> None:
    policy = release.one("NetworkPolicy")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    for rule in policy["ingress"]:
        assert rule["from"], "a rule without peers admits everybody"
        if rule["from"] != [{"podSelector": {}}]:
            assert rule["ports"], "a peer from outside the namespace reaches named ports only"
    labels = [pod["metadata"]["labels"] for pod in _pod_templates(release)]
    assert labels
    for found in labels:
        assert policy["podSelector"]["matchLabels"].items() <= found.items()


def _pod_templates(release: Release) -> list[Manifest]:
    cluster = release.one("RayService")["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"] for group in groups] + [item["spec"]["template"] for item in release.all("Deployment")]


def _keys(content: Any) -> set[str]:
    if isinstance(content, dict):
        return {str(key) for key in content} | {key for value in content.values() for key in _keys(value)}
    if isinstance(content, list):
        return {key for value in content for key in _keys(value)}
    return set()
