"""`emofeedback deploy status`: the RayServices of a namespace, as the Kubernetes API knows them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.observability.consoles import Consoles
from emofeedback.serving.kubernetes import CALL_SECONDS, Cluster, explained

Manifest = Mapping[str, Any]


def status(cluster: Cluster, as_json: bool, consoles: Consoles) -> bool:
    """Says how the services are; True where all are ready.

    Raises:
        FailedPrecondition: there are none in the namespace, or it may not be looked at.
        NotFound: the cluster knows no RayServices.
        Unavailable: the cluster can't be reached.
    """
    services, pods = _look(cluster)
    if not services:
        raise FailedPrecondition(
            f"there is no RayService in namespace {cluster.namespace}: install the chart, or name another --namespace"
        )
    states = [service_state(service, pods) for service in services]
    if as_json:
        consoles.say(json.dumps({"namespace": cluster.namespace, "services": states}, indent=2))
    else:
        for state in states:
            for line in told(state):
                consoles.say(line)
    return all(state["ready"] for state in states)


def service_state(service: Manifest, pods: Sequence[Manifest]) -> dict[str, Any]:
    """What matters of a RayService: conditions, and for its clusters the applications, pods and GPUs.

    Args:
        pods: of the namespace, all of Ray's.
    """
    said = service.get("status") or {}
    conditions = [
        {key: condition.get(key, "") for key in ("type", "status", "reason", "message")}
        for condition in said.get("conditions", ())
    ]
    clusters = [
        _cluster_state(role, said[key], pods)
        for role, key in (("active", "activeServiceStatus"), ("pending", "pendingServiceStatus"))
        if said.get(key, {}).get("rayClusterName")
    ]
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return {"name": service["metadata"]["name"], "ready": ready, "conditions": conditions, "clusters": clusters}


def told(state: Manifest) -> Iterator[str]:
    """The state of a RayService in lines."""
    yield f"{state['name']}: {'ready' if state['ready'] else 'NOT READY'}"
    for condition in state["conditions"]:
        why = ", ".join(filter(None, (condition["reason"], condition["message"])))
        yield f"  {condition['type']} {condition['status']}" + (f": {why}" if why else "")
    if not state["conditions"]:
        yield "  KubeRay has said nothing yet: does its operator run? (`emofeedback deploy doctor`)"
    for cluster in state["clusters"]:
        ready, wanted = cluster["workers"]["ready"], cluster["workers"]["wanted"]
        yield f"  {cluster['role']} cluster {cluster['name']}: {ready} of {wanted} workers ready"
        for group in cluster["groups"]:
            gpus = f", {group['gpus']} GPUs" if group["gpus"] else ""
            waits = "".join(f"; {why}" for why in group["waits"])
            yield f"    {group['name']}: {group['ready']} of {group['pods']} pods ready{gpus}{waits}"
        for application in cluster["applications"]:
            yield f"    application {application['name']}: {application['status']}{_why(application)}"
            for deployment in application["deployments"]:
                yield f"      {deployment['name']}: {deployment['status']}{_why(deployment)}"


def _look(cluster: Cluster) -> tuple[list[Manifest], list[Manifest]]:
    from kubernetes import client

    with explained("look at the RayServices (is KubeRay installed? `emofeedback deploy doctor` says)"):
        services = client.CustomObjectsApi(cluster.api).list_namespaced_custom_object(
            "ray.io", "v1", cluster.namespace, "rayservices", _request_timeout=CALL_SECONDS
        )["items"]
    with explained("look at the pods"):
        found = client.CoreV1Api(cluster.api).list_namespaced_pod(
            cluster.namespace, label_selector="ray.io/cluster", _request_timeout=CALL_SECONDS
        )
    return services, cluster.api.sanitize_for_serialization(found)["items"]


def _cluster_state(role: str, said: Manifest, pods: Sequence[Manifest]) -> dict[str, Any]:
    name, counts = said["rayClusterName"], said.get("rayClusterStatus") or {}
    groups: dict[str, list[Manifest]] = defaultdict(list)
    for pod in pods:
        labels = pod["metadata"]["labels"]
        if labels["ray.io/cluster"] == name:
            groups[labels.get("ray.io/group", "")].append(pod)
    return {
        "role": role,
        "name": name,
        "workers": {
            "ready": counts.get("readyWorkerReplicas", 0),
            "wanted": counts.get("desiredWorkerReplicas", 0),
        },
        "groups": [_group_state(group, members) for group, members in sorted(groups.items())],
        "applications": [
            {
                **_state(application, of),
                "deployments": [_state(*item) for item in _sorted(of, "serveDeploymentStatuses")],
            }
            for application, of in _sorted(said, "applicationStatuses")
        ],
    }


def _group_state(name: str, pods: Sequence[Manifest]) -> dict[str, Any]:
    return {
        "name": name,
        "pods": len(pods),
        "ready": sum(_condition(pod, "Ready") == "True" for pod in pods),
        "gpus": sum(map(_gpus, pods)),
        "waits": sorted({why for pod in pods if (why := _hindrance(pod))}),
    }


def _gpus(pod: Manifest) -> int:
    limits = [container.get("resources", {}).get("limits", {}) for container in pod["spec"]["containers"]]
    return sum(int(count) for limit in limits for name, count in limit.items() if name.endswith("/gpu"))


def _hindrance(pod: Manifest) -> str:
    """Why a pod does not run: the scheduler's words, or the reason for which a container waits."""
    for condition in pod.get("status", {}).get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message", "it has no node"))
    for container in pod.get("status", {}).get("containerStatuses", ()):
        if waiting := container.get("state", {}).get("waiting"):
            return f"{container['name']} waits: {waiting['reason']}"
    return ""


def _condition(pod: Manifest, kind: str) -> str:
    found = (c["status"] for c in pod.get("status", {}).get("conditions", ()) if c["type"] == kind)
    return str(next(found, "Unknown"))


def _sorted(said: Manifest, key: str) -> list[tuple[str, Manifest]]:
    return sorted((said.get(key) or {}).items())


def _state(name: str, said: Manifest) -> dict[str, str]:
    return {"name": name, "status": said.get("status", ""), "message": said.get("message", "")}


def _why(state: Manifest) -> str:
    return f", {' '.join(state['message'].split())}" if state["message"] else ""
