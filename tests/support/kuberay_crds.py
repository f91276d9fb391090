"""Checks KubeRay's objects against its own CustomResourceDefinitions, more strictly than a cluster does.

The definitions are not ours to keep: `KUBERAY_CRDS` names a folder of them, such as
`helm-chart/kuberay-operator/crds` of the KubeRay version in use. CEL rules are not evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

KUBERAY_VARIABLE = "KUBERAY_CRDS"


def kuberay_schemas(folder: Path) -> dict[str, dict[str, Any]]:
    """By kind, the schema of version v1 that refuses every key it does not know."""
    schemas = {}
    for path in sorted(folder.glob("ray.io_*.yaml")):
        definition = yaml.load(path.read_bytes(), yaml.CSafeLoader)["spec"]  # a megabyte each
        (version,) = (v for v in definition["versions"] if v["name"] == "v1")
        schema = _strict(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}  # every object's own, which the definition leaves open
        schemas[definition["names"]["kind"]] = schema
    return schemas


def problems(item: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """What a cluster would refuse, or silently drop, with the place of each."""
    found = jsonschema.Draft7Validator(schema).iter_errors(item)
    return [f"{error.json_path}: {error.message}" for error in found]


def _strict(schema: Any) -> Any:
    """A cluster drops unknown keys without a word; here each is an error."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(value) for key, value in schema.items()}
    is_open = strict.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in strict
    if strict.get("type") == "object" and not is_open:
        strict["additionalProperties"] = False
    return strict
