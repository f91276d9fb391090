"""Nodes of a Ray cluster, each as if it were a pod of its own, and a Redis that remembers the cluster's state."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from support.running_services import free_port, is_open

REDIS = os.environ.get("REDIS_SERVER") or shutil.which("redis-server") or ""
"""Path of a `redis-server`; empty: there is none."""


@contextlib.contextmanager
def ray_of_our_own() -> Iterator[None]:
    """For as long as the context lasts, Ray keeps its files in a folder of this test's, and other nodes may join.

    `ray start` leaves a note of its address among them, for the next Ray that is asked to join one.
    """
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)  # sockets' paths must be short
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")  # else on loopback, where no node can join
        yield


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[str]:
    """An empty Redis for as long as the context lasts; yields HOST:PORT."""
    port = free_port()
    command = [REDIS, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
    with _running(command, os.environ) as process:
        _wait_for(port, process)
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def head_node(port: int, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A head as the chart's: it has the cluster's state, at the port, and takes no replica. Others may join it now."""
    # What no test asks for isn't started: where Ray's agents take more than fifteen seconds to come up, as beside much
    # else on a busy machine, the node gives up.
    lean = ["--include-dashboard=false", "--no-monitor"]
    with _node(["--head", f"--port={port}", "--num-cpus=0", *lean], environment) as process:
        _wait_for(port, process)
        yield process


@contextlib.contextmanager
def pool_node(address: str, environment: Mapping[str, str], *, cpus: int = 1) -> Iterator[subprocess.Popen[str]]:
    """A node with the resource `pool`, of the cluster whose head is at the address.

    Its proxy listens on ports of its own, unless the environment names them: those of the head, which all nodes of one
    machine would share, may lead to another node.
    """
    ports = {f"RAY_SERVE_WORKER_PROXY_{protocol}_PORT": str(free_port()) for protocol in ("HTTP", "GRPC")}
    resources = [f"--num-cpus={cpus}", f"--resources={json.dumps({'pool': 1})}"]
    with _node([f"--address={address}", *resources], {**ports, **environment}) as process:
        yield process


@contextlib.contextmanager
def _node(options: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--node-ip-address=127.0.0.1"]
    start += ["--include-log-monitor=false", "--object-store-memory=100000000"]
    # Started again where it fails, as a pod is, which would have nothing of the last one's: by the note of its address
    # and by the other nodes' processes a head would take it to be running still.
    again = ["sh", "-c", 'until rm -f "$RAY_TMPDIR/ray/ray_current_cluster"; "$@"; do sleep 1; done', "node"]
    with _running([*again, *start, *options], environment) as process:
        yield process


def _wait_for(port: int, process: subprocess.Popen[str]) -> None:
    while not is_open(port):
        assert process.poll() is None, f"{process.args!r} has ended"
        time.sleep(0.05)


@contextlib.contextmanager
def _running(command: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            started = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            for one in started:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
        process.wait()
