"""`emofeedback deploy doctor`: what a cluster lacks, in general or for one installation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, ParamSpec

from emofeedback.cli.deploy.needs import Needs, needs_of
from emofeedback.domain.errors import FailedPrecondition, NotFound
from emofeedback.observability.consoles import Consoles
from emofeedback.serving.kubernetes import CALL_SECONDS, Cluster, explained

P = ParamSpec("P")

_RAY_KINDS = {("ray.io/v1", kind) for kind in ("RayCluster", "RayJob", "RayService")}
_OPERATOR = "app.kubernetes.io/name=kuberay-operator"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_INSTALLERS = {
    "ray.io": "install KubeRay, with its CRDs: helm install kuberay-operator kuberay/kuberay-operator",
    "gateway.networking.k8s.io": "install the Gateway API and a gateway, or set route.type to ingress or none",
    "monitoring.coreos.com": "install the Prometheus operator, or set metrics.podMonitor.enabled to false",
}
_MARKS = {"there": "ok     ", "missing": "MISSING", "unseen": "unseen "}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked for."""

    state: Literal["there", "missing", "unseen"]
    """`unseen`: it may not be looked at."""
    what: str
    advice: str = ""
    """What to do where it is missing."""


def doctor(cluster: Cluster, manifests: str, consoles: Consoles) -> bool:
    """Says what is there and what is missing; True where nothing is.

    Args:
        manifests: what is to be installed, as `helm template` prints it; empty: only what any installation needs.

    Raises:
        InvalidRequest: the manifests can't be read.
        FailedPrecondition: the cluster does not let anybody in.
        Unavailable: it can't be reached.
    """
    needs = needs_of(manifests) if manifests else Needs(kinds=set(_RAY_KINDS), storage_classes={""})
    found = list(examine(cluster, needs))
    for finding in found:
        consoles.say(f"{_MARKS[finding.state]}  {finding.what}")
        if finding.state == "missing" and finding.advice:
            consoles.say(f"         {finding.advice}")
    missing = sum(finding.state == "missing" for finding in found)
    consoles.say(f"{missing} missing" if missing else f"nothing is missing in namespace {cluster.namespace}")
    return not missing


def examine(cluster: Cluster, needs: Needs) -> Iterator[Finding]:
    """Looks for everything; what may not be looked at is `unseen`."""
    from kubernetes import client

    core, custom = client.CoreV1Api(cluster.api), client.CustomObjectsApi(cluster.api)
    with explained("ask the cluster for its version"):
        version = client.VersionApi(cluster.api).get_code(_request_timeout=CALL_SECONDS).git_version
    yield Finding(state="there", what=f"Kubernetes {version} at {cluster.api.configuration.host}")
    yield from _kinds(custom, needs.kinds)
    yield from _look("KubeRay's operator", _operator, client.AppsV1Api(cluster.api))
    yield from _look("what you may do", _right, client.AuthorizationV1Api(cluster.api), cluster.namespace)
    if needs.devices:
        yield from _look("the nodes' devices", _devices, core, needs.devices)
    if needs.storage_classes:
        yield from _look("storage classes", _storage, client.StorageV1Api(cluster.api), needs.storage_classes)
    for name in sorted({name for name, _ in needs.secrets}):
        keys = {key for of, key in needs.secrets if of == name and key}
        yield from _look(f"secret {name}", _secret, core, cluster.namespace, name, keys)
    claim = partial(core.read_namespaced_persistent_volume_claim, namespace=cluster.namespace)
    devices = ("resource.k8s.io", "v1", cluster.namespace, "resourceclaimtemplates")
    for kind, names, read in (
        ("PersistentVolumeClaim", needs.claims, claim),
        ("ResourceClaimTemplate", needs.claim_templates, partial(custom.get_namespaced_custom_object, *devices)),
        ("RuntimeClass", needs.runtime_classes, client.NodeV1Api(cluster.api).read_runtime_class),
        ("PriorityClass", needs.priority_classes, client.SchedulingV1Api(cluster.api).read_priority_class),
    ):
        for name in sorted(names):
            yield from _look(f"{kind} {name}", _named, read, kind, name)


def _look(what: str, look: Callable[P, Iterable[Finding]], *args: P.args, **kwargs: P.kwargs) -> Iterator[Finding]:
    """What a look finds; where the API refuses it, that."""
    try:
        with explained(f"look at {what}"):
            found = list(look(*args, **kwargs))
    except FailedPrecondition as error:
        found = [Finding(state="unseen", what=str(error))]
    yield from found


def _kinds(custom: Any, kinds: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    for api_version in sorted({api_version for api_version, _ in kinds}):
        group, _, version = api_version.partition("/")
        wanted = {kind for of, kind in kinds if of == api_version}
        try:
            with explained(f"ask for the kinds of {api_version}"):
                known = {each.kind for each in custom.get_api_resources(group, version).resources}
        except NotFound:
            known = set()
        if lacking := sorted(wanted - known):
            advice = _INSTALLERS.get(group, "")
            yield Finding(state="missing", what=f"kinds {', '.join(lacking)} of {api_version}", advice=advice)
        else:
            yield Finding(state="there", what=f"kinds {', '.join(sorted(wanted))} of {api_version}")


def _operator(apps: Any) -> Iterator[Finding]:
    found = apps.list_deployment_for_all_namespaces(label_selector=_OPERATOR, _request_timeout=CALL_SECONDS).items
    if any(deployment.status.ready_replicas for deployment in found):
        where = found[0].metadata.namespace
        yield Finding(state="there", what=f"KubeRay's operator in namespace {where}")
    else:
        how = "none of its pods is ready" if found else "no Deployment"
        advice = "look at its pods" if found else _INSTALLERS["ray.io"]
        yield Finding(state="missing", what=f"KubeRay's operator: {how} ({_OPERATOR})", advice=advice)


def _right(authorization: Any, namespace: str) -> Iterator[Finding]:
    resource = {"group": "ray.io", "resource": "rayservices", "verb": "create", "namespace": namespace}
    review = authorization.create_self_subject_access_review({"spec": {"resourceAttributes": resource}})
    what = f"the right to create RayServices in namespace {namespace}"
    state: Literal["there", "missing"] = "there" if review.status.allowed else "missing"
    yield Finding(state=state, what=what, advice="ask the cluster's administrator, or name another --namespace")


def _devices(core: Any, wanted: Mapping[str, int]) -> Iterator[Finding]:
    nodes = core.list_node(_request_timeout=CALL_SECONDS).items
    for device, count in sorted(wanted.items()):
        offered = sum(int((node.status.allocatable or {}).get(device, 0)) for node in nodes)
        if offered:
            yield Finding(state="there", what=f"{offered} {device} on the nodes, {count} are asked for at the least")
        else:
            advice = "install the device plugin or the vendor's operator, add such nodes, or let them scale from zero"
            yield Finding(state="missing", what=f"{device}: no node offers any, {count} are asked for", advice=advice)


def _storage(storage: Any, names: Iterable[str]) -> Iterator[Finding]:
    classes = {each.metadata.name: each for each in storage.list_storage_class(_request_timeout=CALL_SECONDS).items}
    default = [
        name for name, each in classes.items() if (each.metadata.annotations or {}).get(_DEFAULT_CLASS) == "true"
    ]
    for name in sorted(names):
        if name in classes or (not name and default):
            yield Finding(state="there", what=f"storage class {name or f'{default[0]}, the default'}")
        else:
            there = f"there are {', '.join(sorted(classes))}" if classes else "there is none"
            advice = f"{there}: name one by storageClassName, or an existingClaim"
            yield Finding(state="missing", what=f"storage class {name or '(a default one)'}", advice=advice)


def _secret(core: Any, namespace: str, name: str, keys: set[str]) -> Iterator[Finding]:
    try:
        with explained(f"look at secret {name}"):
            there = set(core.read_namespaced_secret(name, namespace, _request_timeout=CALL_SECONDS).data or {})
    except NotFound:
        literals = " ".join(f"--from-literal={key}=..." for key in sorted(keys))
        advice = f"kubectl --namespace {namespace} create secret generic {name} {literals}".rstrip()
        yield Finding(state="missing", what=f"secret {name}", advice=advice)
        return
    if lacking := sorted(keys - there):
        advice = f"it has {', '.join(sorted(there)) or 'none'}"
        yield Finding(state="missing", what=f"key {', '.join(lacking)} in secret {name}", advice=advice)
    else:
        yield Finding(state="there", what=f"secret {name}")


def _named(read: Callable[[str], Any], kind: str, name: str) -> Iterator[Finding]:
    try:
        with explained(f"look at {kind} {name}"):
            read(name)
    except NotFound:
        yield Finding(state="missing", what=f"{kind} {name}", advice="make it first, or name another in the values")
    else:
        yield Finding(state="there", what=f"{kind} {name}")
