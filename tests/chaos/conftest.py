"""Services whose Ray a test may talk to, for one after another of the things that happen to them."""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from emofeedback_trainer.nano.rendering import render
from emofeedback_trainer.nano.scenes import sample_scene
from running_cluster import Cluster
from running_services import serving


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """The nano services."""
    token = secrets.token_hex(32)
    with serving(RAY_AUTH_TOKEN=token) as running:
        yield Cluster(running, token)


@pytest.fixture(scope="session")
def scene() -> bytes:
    """A PNG of the embedded world."""
    buffer = io.BytesIO()
    render(sample_scene(np.random.default_rng(5)), 128).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def changed_profile(tmp_path: Path) -> Path:
    """A profile that differs from nano in how many images a step paints."""
    path = tmp_path / "changed.toml"
    path.write_text('extends = "nano"\n[generator]\nmax_batch = 3\n')
    return path
