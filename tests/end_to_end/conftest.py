"""One set of the real services, as a user starts them, for all end-to-end tests of a session."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

TOKEN = "let-me-in"
START_SECONDS = 180.0


@dataclass(frozen=True)
class Services:
    """Running services: where they answer and which process started them."""

    address: str
    port: int
    http_port: int
    process: subprocess.Popen[str]


def free_port() -> int:
    """A port of loopback that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """`emofeedback ARGUMENTS` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "emofeedback.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **environment},
    )


@contextlib.contextmanager
def serving(*, token: str = "") -> Iterator[Services]:
    """`emofeedback serve` on free ports until the context ends, then Ctrl-C."""
    port, http_port = free_port(), free_port()
    process = command("serve", "--port", str(port), "--http-port", str(http_port), EMOFEEDBACK_TOKEN=token)
    try:
        wait_until_listening(port, process)
        yield Services(f"127.0.0.1:{port}", port, http_port, process)
    finally:
        interrupt(process)


def wait_until_listening(port: int, process: subprocess.Popen[str]) -> None:
    """Read the command's output until it says where it answers."""
    assert process.stdout is not None
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        if f"127.0.0.1:{port}" in line:
            return
        if not line and process.poll() is not None:
            assert process.stderr is not None
            raise AssertionError(f"serve ended with {process.returncode}: {process.stderr.read()}")
    raise AssertionError("the services did not come up in time")


def interrupt(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Ctrl-C; returns the descendants that outlive it."""
    if process.poll() is not None:
        return []
    descendants = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    _, alive = psutil.wait_procs(descendants, timeout=30)
    return alive


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    """The nano services behind a bearer token."""
    with serving(token=TOKEN) as running:
        yield running


@pytest.fixture(scope="session")
def scene() -> bytes:
    """A PNG of the embedded world."""
    import io

    import numpy as np

    from emofeedback_trainer.nano.scenes import render, sample_scene

    buffer = io.BytesIO()
    render(sample_scene(np.random.default_rng(5)), 128).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run directory that does not exist yet."""
    return tmp_path / "run"
