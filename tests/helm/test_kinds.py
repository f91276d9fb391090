"""Every object is one that a cluster takes: built-in kinds by Kubernetes' schemas, KubeRay's by its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from support.chart_releases import NAMES, Release
from support.kuberay_crds import KUBERAY_VARIABLE, kuberay_schemas, problems

pytestmark = pytest.mark.helm

KUBERNETES = "1.33"
NOT_BUILT_IN = ("ray.io/", "gateway.networking.k8s.io/", "monitoring.coreos.com/")


@pytest.fixture(scope="module")
def kuberay() -> dict[str, dict[str, Any]]:
    """KubeRay's schemas."""
    folder = os.environ.get(KUBERAY_VARIABLE)
    schemas = kuberay_schemas(Path(folder)) if folder else {}
    if not schemas:
        pytest.skip(f"{KUBERAY_VARIABLE} names no folder with KubeRay's CustomResourceDefinitions")
    return schemas


@pytest.mark.parametrize("name", NAMES)
def test_built_in_kinds_have_no_unknown_key(examples: Mapping[str, Release], name: str) -> None:
    release = examples[name]
    built_in = [item for item in (*release.objects, *release.hooks) if not item["apiVersion"].startswith(NOT_BUILT_IN)]
    assert {"NetworkPolicy", "ServiceAccount", "Pod"} <= {item["kind"] for item in built_in}
    for item in built_in:
        kubernetes_validate.validate(item, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", NAMES)
def test_kuberays_kinds_have_no_unknown_key(
    examples: Mapping[str, Release], kuberay: dict[str, dict[str, Any]], name: str
) -> None:
    release = examples[name]
    theirs = [
        item for item in (*release.objects, *release.manifests_in_configs()) if item["apiVersion"].startswith("ray.io/")
    ]
    assert "RayService" in {item["kind"] for item in theirs}
    assert {item["kind"]: problems(item, kuberay[item["kind"]]) for item in theirs} == {
        item["kind"]: [] for item in theirs
    }


def test_a_misspelled_key_would_be_found(install: Callable[..., Release], kuberay: dict[str, dict[str, Any]]) -> None:
    service = install("cpu").one("RayService")
    service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    (problem,) = problems(service, kuberay["RayService"])
    assert "livenesProbe" in problem


def test_all_objects_are_named_after_the_release_and_fit_kuberays_length(install: Callable[..., Release]) -> None:
    release = install("production", fullnameOverride="x" * 60)
    service = release.one("RayService")
    # KubeRay appends a cluster's suffix and a pod's: a label has 63 characters.
    assert len(service["metadata"]["name"]) <= 40
    assert all(item["metadata"]["name"].startswith("x" * 40) for item in release.objects)
