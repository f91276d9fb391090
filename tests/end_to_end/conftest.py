"""One set of the real services for all end-to-end tests of a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.running_services import TOKEN, Cluster, Services, head_of, interrupt, serving
from support.telemetry import Collector, collecting


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Where the services send their spans."""
    with collecting() as running:
        yield running


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the services look for personal calibrations."""
    return tmp_path_factory.mktemp("people")


@pytest.fixture(scope="session")
def services(collector: Collector, people: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """The nano services behind a bearer token, by gRPC and by HTTP; Ctrl-C ends them with all their processes."""
    profile = tmp_path_factory.mktemp("profile") / "nano-for-people.toml"
    profile.write_text(f'extends = "nano"\n[judge]\ncalibrations = "{people}"\n')
    with serving("--http", "--profile", str(profile), token=TOKEN, **collector.environment()) as running:
        yield running
        assert interrupt(running.process) == []


@pytest.fixture(scope="session")
def cluster(services: Services) -> Cluster:
    """The same services, with the token of their Ray, which they have made up themselves."""
    return Cluster(services, head_of(services).environ()["RAY_AUTH_TOKEN"])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run directory that does not exist yet."""
    return tmp_path / "run"
