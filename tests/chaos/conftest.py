"""Services whose Ray a test may talk to, for one after another of the things that happen to them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.running_services import Cluster, serving


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """The nano services."""
    token = secrets.token_hex(32)
    with serving(RAY_AUTH_TOKEN=token) as running:
        yield Cluster(running, token)


@pytest.fixture
def changed_profile(tmp_path: Path) -> Path:
    """A profile that differs from nano in how many images a step paints."""
    path = tmp_path / "changed.toml"
    path.write_text('extends = "nano"\n[generator]\nmax_batch = 3\n')
    return path
