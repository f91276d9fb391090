"""The pretended Kubernetes API behaves to the real Python client as a real one does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config, watch

from support.kubernetes.api import kube_api
from support.kubernetes.store import KubeApi

JOBS = {"group": "ray.io", "version": "v1", "namespace": "default", "plural": "rayjobs"}


def job(name: str, **meta: Any) -> dict[str, Any]:
    return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": name, **meta}, "spec": {"suspend": False}}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[KubeApi, client.ApiClient]]:
    with kube_api() as api, config.new_client_from_config(str(api.kubeconfig(tmp_path))) as connection:
        yield api, connection


def test_objects_are_created_found_changed_and_deleted(cluster: tuple[KubeApi, client.ApiClient]) -> None:
    api, jobs = cluster[0], client.CustomObjectsApi(cluster[1])
    created = jobs.create_namespaced_custom_object(**JOBS, body=job("a", labels={"run": "calm"}))
    assert created["metadata"]["uid"] and created["metadata"]["generation"] == 1
    with pytest.raises(client.ApiException, match="already exists"):
        jobs.create_namespaced_custom_object(**JOBS, body=job("a"))
    api.set_status("RayJob", "a", {"jobStatus": "RUNNING"})
    changed = jobs.patch_namespaced_custom_object(**JOBS, name="a", body={"spec": {"suspend": True}})
    assert changed["spec"] == {"suspend": True} and changed["status"] == {"jobStatus": "RUNNING"}
    assert changed["metadata"]["generation"] == 2
    api.put(job("b", labels={"run": "tense"}))
    found = jobs.list_namespaced_custom_object(**JOBS, label_selector="run=tense")["items"]
    assert [item["metadata"]["name"] for item in found] == ["b"]
    jobs.delete_namespaced_custom_object(**JOBS, name="a")
    with pytest.raises(client.ApiException, match="not found"):
        jobs.get_namespaced_custom_object(**JOBS, name="a")
    assert [request.method for request in api.requests] == ["POST", "POST", "PATCH", "GET", "DELETE", "GET"]


def test_an_object_with_a_finalizer_waits_for_its_controller(cluster: tuple[KubeApi, client.ApiClient]) -> None:
    api, jobs = cluster[0], client.CustomObjectsApi(cluster[1])
    api.put(job("a", finalizers=["ray.io/rayjob-finalizer"]))
    jobs.delete_namespaced_custom_object(**JOBS, name="a")
    assert jobs.get_namespaced_custom_object(**JOBS, name="a")["metadata"]["deletionTimestamp"]
    api.put(job("a"))
    assert api.objects("RayJob") == []


def test_a_watch_tells_what_is_and_then_what_happens(cluster: tuple[KubeApi, client.ApiClient]) -> None:
    api, core = cluster[0], client.CoreV1Api(cluster[1])
    api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "one"}})
    later = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "two"}}
    told: list[tuple[str, str]] = []
    for event in watch.Watch().stream(core.list_node, timeout_seconds=60):
        told.append((event["type"], event["object"].metadata.name))
        if len(told) == 1:
            api.put(later)
            api.remove("Node", "one")
        elif len(told) == 3:
            break
    assert told == [("ADDED", "one"), ("ADDED", "two"), ("DELETED", "one")]


def test_what_is_unknown_forbidden_or_down_is_said(cluster: tuple[KubeApi, client.ApiClient]) -> None:
    api, custom = cluster[0], client.CustomObjectsApi(cluster[1])
    with pytest.raises(client.ApiException, match="could not find the requested resource"):
        custom.list_cluster_custom_object("ray.io", "v2", "rayjobs")
    api.forbidden.add(("list", "rayjobs"))
    with pytest.raises(client.ApiException, match="cannot list resource 'rayjobs'"):
        custom.list_cluster_custom_object("ray.io", "v1", "rayjobs")
    api.down = "etcd is away"
    with pytest.raises(client.ApiException, match="etcd is away"):
        client.VersionApi(cluster[1]).get_code()
