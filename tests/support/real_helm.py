"""A real Helm: the one on PATH, or the library that `helm-sdkpy` carries, which `make test-helm` fetches.

Either installs the chart into the cluster of a kubeconfig and returns the release as Helm itself describes it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml

NAMESPACE = "emofeedback"
RELEASE = "feel"


class HelmRefused(Exception):
    """Helm ended with an error, whose text this is."""


class Helm(Protocol):
    """What the tests need of Helm."""

    def lint(self, chart: Path, values: Mapping[str, Any]) -> None:
        """Raises `HelmRefused` where the chart has an error with these values."""

    def install(self, chart: Path, values: Mapping[str, Any], release: str = RELEASE) -> dict[str, Any]:
        """The new release: `manifest`, `hooks`, `info` and more."""

    def upgrade(self, chart: Path, values: Mapping[str, Any]) -> dict[str, Any]:
        """The release's next revision."""

    def test(self) -> None:
        """Runs the release's tests; raises `HelmRefused` where one fails."""


class CommandHelm:
    """The `helm` command, version 3 or 4."""

    def __init__(self, command: str, kubeconfig: Path) -> None:
        self._command = command
        self._folder = kubeconfig.parent
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        self._environment.pop("HELM_DRIVER", None)  # each call is a process: the cluster must remember the release

    def lint(self, chart: Path, values: Mapping[str, Any]) -> None:
        self._run("lint", str(chart), "--values", self._written(values))

    def install(self, chart: Path, values: Mapping[str, Any], release: str = RELEASE) -> dict[str, Any]:
        return self._released("install", chart, values, release)

    def upgrade(self, chart: Path, values: Mapping[str, Any]) -> dict[str, Any]:
        return self._released("upgrade", chart, values, RELEASE)

    def test(self) -> None:
        self._run("test", RELEASE, "--namespace", NAMESPACE, "--timeout", "60s")

    def _released(self, action: str, chart: Path, values: Mapping[str, Any], name: str) -> dict[str, Any]:
        options = ("--namespace", NAMESPACE, "--values", self._written(values), "--output", "json")
        release: dict[str, Any] = json.loads(self._run(action, name, str(chart), *options))
        return release

    def _written(self, values: Mapping[str, Any]) -> str:
        path = self._folder / "values.yaml"
        path.write_text(yaml.safe_dump(dict(values)))
        return str(path)

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [self._command, *arguments], capture_output=True, text=True, env=self._environment, timeout=120
        )
        if done.returncode:
            raise HelmRefused(done.stderr + done.stdout)
        return done.stdout


class LibraryHelm:
    """Helm 4 as a library in this process, which remembers the release (`HELM_DRIVER=memory`)."""

    def __init__(self, kubeconfig: Path) -> None:
        import helm_sdkpy

        self._sdk = helm_sdkpy
        self._configuration = helm_sdkpy.Configuration(NAMESPACE, str(kubeconfig))

    def lint(self, chart: Path, values: Mapping[str, Any]) -> None:
        """The library lints with the chart's own values only."""
        self._run(self._sdk.Lint(self._configuration).run(str(chart)))

    def install(self, chart: Path, values: Mapping[str, Any], release: str = RELEASE) -> dict[str, Any]:
        action = self._sdk.Install(self._configuration)
        return self._run(action.run(release, str(chart), dict(values), wait=False))

    def upgrade(self, chart: Path, values: Mapping[str, Any]) -> dict[str, Any]:
        action = self._sdk.Upgrade(self._configuration)
        return self._run(action.run(RELEASE, str(chart), dict(values), wait=False))

    def test(self) -> None:
        self._run(self._sdk.ReleaseTest(self._configuration).run(RELEASE))

    def _run(self, call: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = asyncio.run(call)
        except self._sdk.HelmError as error:
            raise HelmRefused(str(error)) from error
        return answer


def real_helm(kubeconfig: Path) -> Helm | None:
    """The user's own Helm first; None where there is none at all."""
    if command := shutil.which("helm"):
        return CommandHelm(command, kubeconfig)
    try:
        return LibraryHelm(kubeconfig)
    except ImportError:
        return None
