"""What an installation takes for granted, read off its manifests: kinds, secrets, claims, classes, devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from emofeedback.domain.errors import InvalidRequest

_BUILT_IN = ("v1", "apps/v1", "batch/v1", "networking.k8s.io/v1", "policy/v1", "rbac.authorization.k8s.io/v1")
"""API versions that every cluster has."""
_NAMED = {
    "claimName": "claims",
    "resourceClaimTemplateName": "claim_templates",
    "runtimeClassName": "runtime_classes",
    "priorityClassName": "priority_classes",
}
"""Keys of manifests that name something by a text, and which of the needs that is."""


@dataclass(kw_only=True)
class Needs:
    """What must be in the cluster before."""

    kinds: set[tuple[str, str]] = field(default_factory=set)
    """API version and kind of what is no built-in."""
    secrets: set[tuple[str, str]] = field(default_factory=set)
    """Name and key; an empty key: all of it."""
    claims: set[str] = field(default_factory=set)
    """PersistentVolumeClaims that the installation doesn't make."""
    claim_templates: set[str] = field(default_factory=set)
    """ResourceClaimTemplates, for devices."""
    storage_classes: set[str] = field(default_factory=set)
    """An empty name: the default one."""
    runtime_classes: set[str] = field(default_factory=set)
    priority_classes: set[str] = field(default_factory=set)
    devices: Counter[str] = field(default_factory=Counter)
    """Extended resources, such as `nvidia.com/gpu`: how many the fewest pods and one training run ask for."""


def needs_of(text: str) -> Needs:
    """The needs of manifests, as `helm template` prints them.

    Raises:
        InvalidRequest: the text is no YAML of manifests.
    """
    import yaml

    try:
        manifests = [manifest for manifest in yaml.safe_load_all(text) if manifest]
        configured = [
            each for manifest in manifests if manifest["kind"] == "ConfigMap" for each in _templates(manifest)
        ]
        kinds = {(manifest["apiVersion"], manifest["kind"]) for manifest in [*manifests, *configured]}
    except (yaml.YAMLError, LookupError, TypeError) as error:
        raise InvalidRequest.of("manifests", f"are not what `helm template` prints: {error!r}") from error
    needs = Needs(kinds={kind for kind in kinds if kind[0] not in _BUILT_IN})
    for manifest in [*manifests, *configured]:
        if manifest["kind"] == "PersistentVolumeClaim":
            needs.storage_classes.add(manifest["spec"].get("storageClassName", ""))
        for key, value, pods in _entries(manifest):
            _note(needs, key, value, pods)
    needs.claims -= {each["metadata"]["name"] for each in manifests if each["kind"] == "PersistentVolumeClaim"}
    return needs


def _templates(config_map: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Manifests that somebody will make of a ConfigMap's text."""
    import yaml

    for name, text in (config_map.get("data") or {}).items():
        if name.endswith(".yaml"):
            content = yaml.safe_load(text)
            if isinstance(content, dict) and {"apiVersion", "kind"} <= content.keys():
                yield content


def _entries(node: Any, pods: int = 1) -> Iterator[tuple[str, Any, int]]:
    """Every key of a manifest with its value, however deep, and how many pods it holds for."""
    if isinstance(node, list):
        for item in node:
            yield from _entries(item, pods)
    elif isinstance(node, dict):
        if "template" in node:
            pods *= node["minReplicas"] if "minReplicas" in node else node.get("replicas", 1)
        for key, value in node.items():
            yield key, value, pods
            yield from _entries(value, pods)


def _note(needs: Needs, key: str, value: Any, pods: int) -> None:
    if key in _NAMED and isinstance(value, str):
        found: set[str] = getattr(needs, _NAMED[key])
        found.add(value)
    elif key == "secretKeyRef" and not value.get("optional"):
        needs.secrets.add((value["name"], value["key"]))
    elif key == "secretRef" and not value.get("optional"):
        needs.secrets.add((value["name"], ""))
    elif key in ("imagePullSecrets", "certificateRefs"):
        needs.secrets |= {(each["name"], "") for each in value}
    elif key == "secretName" and isinstance(value, str):
        needs.secrets.add((value, ""))
    elif key == "limits" and isinstance(value, dict):
        needs.devices.update({name: int(count) * pods for name, count in value.items() if "/" in name})
