"""A release of the chart, as Helm hands it to a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from emofeedback.profiles.overrides import load_profile
from emofeedback.serving.options import deployment_options

Manifest = dict[str, Any]
ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "emofeedback"
EXAMPLES = ROOT / "helm" / "examples"
NAMES = ("cpu", "single-gpu", "gpu-pools", "production")
"""The example values."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """What a release consists of."""

    objects: tuple[Manifest, ...]
    """What was applied, in Helm's order."""
    hooks: tuple[Manifest, ...]
    """What `helm test` creates."""
    notes: str

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Release:
        """From Helm's own description of a release."""
        return cls(
            objects=tuple(item for item in yaml.safe_load_all(described["manifest"]) if item),
            hooks=tuple(yaml.safe_load(hook["manifest"]) for hook in described.get("hooks", ())),
            notes=described["info"].get("notes", ""),
        )

    def all(self, kind: str) -> list[Manifest]:
        """The objects of one kind."""
        return [item for item in self.objects if item["kind"] == kind]

    def one(self, kind: str) -> Manifest:
        """The only object of a kind."""
        (item,) = self.all(kind)
        return item

    @property
    def serve_config(self) -> Manifest:
        """The Serve configuration inside the RayService."""
        config: Manifest = yaml.safe_load(self.one("RayService")["spec"]["serveConfigV2"])
        return config

    def options(self, folder: Path) -> dict[str, Manifest]:
        """What Serve is told of each application's replicas, as its builder makes it of the arguments.

        Args:
            folder: an empty one, where an inline profile is laid.
        """
        inline = [item["data"]["profile.toml"] for item in self.all("ConfigMap") if "profile.toml" in item["data"]]
        if inline:
            (folder / "profile.toml").write_text(inline[0])
        found = {}
        for app in self.serve_config["applications"]:
            args = app["args"]
            profile = load_profile(str(folder / "profile.toml") if inline else args["profile"])
            pool, changes = args.get("pool", ""), args.get("scaling")
            found[app["name"]] = deployment_options(profile, app["name"], changes=changes, pool=pool)
        return found

    def pods(self) -> Iterator[tuple[str, Manifest]]:
        """Every pod specification that the release brings about, wherever it lies, with where."""
        for item in (*self.objects, *self.hooks, *self.manifests_in_configs()):
            name = f"{item['kind']}/{item['metadata'].get('name', 'template')}"
            if item["kind"] == "Pod":
                yield name, item["spec"]
            yield from _templates(name, item.get("spec", {}))

    def manifests_in_configs(self) -> Iterator[Manifest]:
        """What lies in ConfigMaps to be made into objects later: the trainer's jobs."""
        for config in self.all("ConfigMap"):
            for name, text in config.get("data", {}).items():
                content = yaml.safe_load(text) if name.endswith(".yaml") else None
                if isinstance(content, dict) and {"apiVersion", "kind"} <= content.keys():
                    yield content


def example(name: str) -> Manifest:
    """The values of an example."""
    values: Manifest = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    return values


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> Manifest:
    """As Helm merges a second values file into the first."""
    both = dict(values)
    for key, value in changes.items():
        present = both.get(key)
        is_table = isinstance(present, Mapping) and isinstance(value, Mapping)
        both[key] = merged(present, value) if is_table and present is not None else value
    return both


def _templates(where: str, spec: Any) -> Iterator[tuple[str, Manifest]]:
    if isinstance(spec, dict):
        for key, value in spec.items():
            if key in ("template", "submitterPodTemplate") and isinstance(value, dict) and "spec" in value:
                yield f"{where}.{key}", value["spec"]
            else:
                yield from _templates(f"{where}.{key}", value)
    elif isinstance(spec, list):
        for index, value in enumerate(spec):
            yield from _templates(f"{where}[{index}]", value)
