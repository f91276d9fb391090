"""The objects of a pretended Kubernetes cluster, and what happens to them; `api` serves them over HTTP."""

from __future__ import annotations

import copy
import re
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of object that the server stores."""

    api_version: str
    name: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]


def _kinds(api_version: str, *names: str, namespaced: bool = True) -> tuple[Kind, ...]:
    return tuple(Kind(api_version, name, _plural(name), namespaced) for name in names)


def _plural(name: str) -> str:
    word = name.lower()
    if name == "Endpoints":
        return word
    if word.endswith("y") and word != "gateway":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "ss")) else "s")


KINDS = (
    *_kinds("v1", "ConfigMap", "Endpoints", "Event", "LimitRange", "PersistentVolumeClaim", "Pod"),
    *_kinds("v1", "ResourceQuota", "Secret", "Service", "ServiceAccount"),
    *_kinds("v1", "Namespace", "Node", "PersistentVolume", namespaced=False),
    *_kinds("apps/v1", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"),
    *_kinds("autoscaling/v2", "HorizontalPodAutoscaler"),
    *_kinds("batch/v1", "CronJob", "Job"),
    *_kinds("coordination.k8s.io/v1", "Lease"),
    *_kinds("networking.k8s.io/v1", "Ingress", "NetworkPolicy"),
    *_kinds("networking.k8s.io/v1", "IngressClass", namespaced=False),
    *_kinds("node.k8s.io/v1", "RuntimeClass", namespaced=False),
    *_kinds("scheduling.k8s.io/v1", "PriorityClass", namespaced=False),
    *_kinds("policy/v1", "PodDisruptionBudget"),
    *_kinds("rbac.authorization.k8s.io/v1", "Role", "RoleBinding"),
    *_kinds("rbac.authorization.k8s.io/v1", "ClusterRole", "ClusterRoleBinding", namespaced=False),
    *_kinds("resource.k8s.io/v1", "ResourceClaim", "ResourceClaimTemplate"),
    *_kinds("resource.k8s.io/v1", "DeviceClass", namespaced=False),
    *_kinds("storage.k8s.io/v1", "StorageClass", namespaced=False),
    *_kinds("apiextensions.k8s.io/v1", "CustomResourceDefinition", namespaced=False),
    *_kinds("ray.io/v1", "RayCluster", "RayJob", "RayService"),
    *_kinds("gateway.networking.k8s.io/v1", "GRPCRoute", "Gateway", "HTTPRoute"),
    *_kinds("monitoring.coreos.com/v1", "PodMonitor", "ServiceMonitor"),
    *_kinds("authorization.k8s.io/v1", "SelfSubjectAccessReview", namespaced=False),
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client has sent."""

    method: str
    path: str
    query: Mapping[str, str]
    content_type: str
    body: Any
    """The parsed JSON or YAML; None without one."""


class Refused(Exception):
    """What a client is told instead of an answer."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


class KubeApi:
    """The server's state, and the cluster's side of it for a test."""

    def __init__(self, kinds: tuple[Kind, ...] = KINDS) -> None:
        self.kinds = {kind.name: kind for kind in kinds}
        self.url = ""
        self.requests: list[Request] = []
        self.logs: dict[str, str] = {}
        """By pod: what `kubectl logs` shows."""
        self.forbidden: set[tuple[str, str]] = set()
        """Verb and plural of what the client may not do: ("create", "rayjobs")."""
        self.down = ""
        """Where set, the server answers everything with 503 and this text."""
        self.closed = False
        self.changed = threading.Condition()
        self._objects: dict[tuple[str, str, str], Manifest] = {}
        self._events: list[tuple[int, str, Manifest]] = []
        self._revision = 1
        for name in ("default", "kube-system"):
            self.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def kubeconfig(self, folder: Path, namespace: str = "default") -> Path:
        """A file for `KUBECONFIG` that leads here."""
        path = folder / "kubeconfig.yaml"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": self.url}}],
            "users": [{"name": "test", "user": {"token": "test"}}],
            "contexts": [
                {"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}},
            ],
            "current-context": "test",
        }
        path.write_text(yaml.safe_dump(content))
        return path

    def sent(self, method: str, plural: str) -> list[Any]:
        """The bodies that clients have sent with a method to a kind's objects, in order."""
        return [r.body for r in self.requests if r.method == method and f"/{plural}" in r.path]

    def objects(self, kind: str, namespace: str = "", labels: str = "") -> list[Manifest]:
        """Copies of the objects of a kind by name; empty namespace: of all."""
        with self.changed:
            return [
                copy.deepcopy(item)
                for (of, place, _), item in sorted(self._objects.items())
                if of == kind and namespace in ("", place) and is_labelled(item, labels)
            ]

    def find(self, kind: str, name: str, namespace: str = "default") -> Manifest:
        """A copy of an object; raises `Refused` (404) where there is none."""
        key = self._key(kind, name, namespace)
        with self.changed:
            if key not in self._objects:
                raise Refused(404, "NotFound", f'{self.kinds[kind].plural} "{name}" not found')
            return copy.deepcopy(self._objects[key])

    def put(self, manifest: Mapping[str, Any]) -> Manifest:
        """Creates or replaces an object, as somebody else in the cluster would."""
        item: Manifest = copy.deepcopy(dict(manifest))
        kind, meta = self.kinds[item["kind"]], item.setdefault("metadata", {})
        if "name" not in meta:
            meta["name"] = meta["generateName"] + uuid.uuid4().hex[:5]
        if kind.namespaced:
            meta.setdefault("namespace", "default")
        key = self._key(kind.name, meta["name"], meta.get("namespace", "default"))
        with self.changed:
            old = self._objects.get(key)
            if old is not None and _content(old) == _content(item):
                return copy.deepcopy(old)
            before = (old or {}).get("metadata", {})
            meta["uid"] = before.get("uid", str(uuid.uuid4()))
            meta["creationTimestamp"] = before.get("creationTimestamp", _now())
            meta["generation"] = before.get("generation", 0) + (old is None or old.get("spec") != item.get("spec"))
            if before.get("deletionTimestamp"):
                meta["deletionTimestamp"] = before["deletionTimestamp"]
            self._tell("ADDED" if old is None else "MODIFIED", item)
            self._objects[key] = item
            if meta.get("deletionTimestamp") and not meta.get("finalizers"):
                self._drop(key)
            return copy.deepcopy(item)

    def set_status(self, kind: str, name: str, status: Mapping[str, Any], namespace: str = "default") -> None:
        """Replaces the status of an object, as its controller would."""
        self.put({**self.find(kind, name, namespace), "status": dict(status)})

    def remove(self, kind: str, name: str, namespace: str = "default") -> Manifest:
        """Deletes an object; one with finalizers only once somebody has put it without them."""
        found = self.find(kind, name, namespace)
        key = self._key(kind, name, namespace)
        with self.changed:
            if found["metadata"].get("finalizers"):
                item = self._objects[key]
                item["metadata"].setdefault("deletionTimestamp", _now())
                self._tell("MODIFIED", item)
            else:
                self._drop(key)
        return found

    def wait_since(self, revision: int, seconds: float) -> list[tuple[int, str, Manifest]]:
        """What has changed after a revision, waited for: its number, what happened, the object then."""
        with self.changed:
            self.changed.wait_for(lambda: self._revision > revision, timeout=seconds)
            return [event for event in self._events if event[0] > revision]

    @property
    def revision(self) -> int:
        return self._revision

    def _key(self, kind: str, name: str, namespace: str) -> tuple[str, str, str]:
        return kind, namespace if self.kinds[kind].namespaced else "", name

    def _drop(self, key: tuple[str, str, str]) -> None:
        self._tell("DELETED", self._objects.pop(key))

    def _tell(self, what: str, item: Manifest) -> None:
        self._revision += 1
        item["metadata"]["resourceVersion"] = str(self._revision)
        self._events.append((self._revision, what, copy.deepcopy(item)))
        self.changed.notify_all()


def parted(found: Manifest, sent: Manifest, part: str | None) -> Manifest:
    """A write to `/status` changes that alone, any other everything else."""
    if part == "status":
        return {**found, "status": sent.get("status", {})}
    kept = {"status": found["status"]} if "status" in found else {}
    return {**sent, "metadata": {**sent["metadata"]}, **kept}


def merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def json_patched(item: Manifest, operations: list[Manifest]) -> Manifest:
    """RFC 6902: add, replace and remove."""
    result = copy.deepcopy(item)
    for operation in operations:
        *way, last = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]]
        place: Any = result
        for step in way:
            place = place[int(step) if isinstance(place, list) else step]
        if operation["op"] == "remove":
            del place[int(last) if isinstance(place, list) else last]
        elif isinstance(place, list):
            place.insert(len(place) if last == "-" else int(last), operation["value"])
        else:
            place[last] = operation["value"]
    return result


def is_labelled(item: Manifest, selector: str) -> bool:
    """Whether the labels fit a selector of `key=value`, `key!=value`, `key`, `!key` and `key in (a,b)`."""
    labels = item["metadata"].get("labels") or {}
    for term in filter(None, re.split(r",(?![^(]*\))", selector)):
        if found := re.fullmatch(r"(\S+) (in|notin) \((.*)\)", term.strip()):
            fits = (labels.get(found[1]) in re.split(r",\s*", found[3])) == (found[2] == "in")
        elif "!=" in term:
            fits = labels.get(term.partition("!=")[0]) != term.partition("!=")[2]
        elif "=" in term:
            key, _, value = term.replace("==", "=").partition("=")
            fits = labels.get(key) == value
        else:
            fits = (term.lstrip("!") in labels) != term.startswith("!")
        if not fits:
            return False
    return True


def is_named(item: Manifest, selector: str) -> bool:
    """Whether an object is the one of a field selector: `metadata.name=x`; others are not looked at."""
    terms = dict(term.replace("==", "=").partition("=")[::2] for term in filter(None, selector.split(",")))
    name: str = item["metadata"]["name"]
    return terms.get("metadata.name", name) == name


def _content(item: Manifest) -> Manifest:
    """What a client decides of an object."""
    server = ("resourceVersion", "uid", "creationTimestamp", "generation", "managedFields", "deletionTimestamp")
    return {**item, "metadata": {key: value for key, value in item["metadata"].items() if key not in server}}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
