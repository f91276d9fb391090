"""A pretended cluster and a real Helm for every test of the chart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.chart_releases import CHART, NAMES, Release, example, merged
from support.kubernetes.api import kube_api
from support.kubernetes.store import KubeApi
from support.real_helm import NAMESPACE, RELEASE, Helm, real_helm


@pytest.fixture
def cluster() -> Iterator[KubeApi]:
    """A Kubernetes API server in memory, with the release's namespace."""
    with _cluster() as api:
        yield api


@pytest.fixture
def helm(cluster: KubeApi, tmp_path: Path) -> Helm:
    """A Helm that talks to the cluster."""
    return _helm(cluster, tmp_path)


@pytest.fixture
def install(helm: Helm) -> Callable[..., Release]:
    """`install("cpu", trainer={"enabled": True})`: an example, or none, with changes."""

    def installed(*names: str, **changes: Any) -> Release:
        values: dict[str, Any] = {}
        for name in names:
            values = merged(values, example(name))
        return Release.of(helm.install(CHART, merged(values, changes)))

    return installed


@pytest.fixture(scope="session")
def installed_anew(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Release]:
    """`installed_anew(values, "feel")`: a release in a cluster of its own, as often as a test likes."""

    def installed(values: Mapping[str, Any], name: str = RELEASE) -> Release:
        with _cluster() as api:
            helm = _helm(api, tmp_path_factory.mktemp("release"))
            return Release.of(helm.install(CHART, values, name))

    return installed


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Release]:
    """The examples, each installed once into a cluster of its own; for looking at, not for changing."""
    releases = {}
    for name in NAMES:
        with _cluster() as api:
            helm = _helm(api, tmp_path_factory.mktemp(name))
            releases[name] = Release.of(helm.install(CHART, example(name)))
    return releases


@contextmanager
def _cluster() -> Iterator[KubeApi]:
    with kube_api() as api:
        api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        yield api


def _helm(cluster: KubeApi, folder: Path) -> Helm:
    found = real_helm(cluster.kubeconfig(folder, NAMESPACE))
    if found is None:
        pytest.skip("no `helm` on PATH and no helm-sdkpy: `make test-helm` fetches it")
    return found
