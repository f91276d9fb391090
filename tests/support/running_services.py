"""The real services and the real command, in processes of their own, as a user starts them."""

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

import psutil

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
        [sys.executable, "-m", "emofeedback", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **environment},
    )


@contextlib.contextmanager
def serving(*options: str, token: str = "", **environment: str) -> Iterator[Services]:
    """`emofeedback serve OPTIONS` on free ports until the context ends, then Ctrl-C."""
    port, http_port = free_port(), free_port()
    ports = ("--port", str(port), "--http-port", str(http_port))
    process = command("serve", *ports, *options, EMOFEEDBACK_TOKEN=token, **environment)
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
