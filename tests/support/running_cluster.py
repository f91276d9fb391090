"""Running services, seen from below: their replicas' processes and their Ray."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import psutil

from support.running_services import Services


@dataclass(frozen=True)
class Cluster:
    """Services and what runs them."""

    services: Services
    token: str
    """Of their Ray."""

    @property
    def address(self) -> str:
        """HOST:PORT of their Ray."""
        gcs = next(process for process in self._processes() if process.name() == "gcs_server")
        port = next(c.laddr.port for c in gcs.net_connections("tcp") if c.status == psutil.CONN_LISTEN)
        return f"127.0.0.1:{port}"

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that may speak to their Ray."""
        return {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}

    def replicas(self, application: str) -> set[int]:
        """Process ids of an application's replicas on the first node."""
        return {process.pid for process in self._processes() if f"ServeReplica:{application}:" in _title(process)}

    def run(self, program: str, *arguments: str) -> None:
        """Runs a Python program that is connected to their Ray before its first line."""
        connect = f"import ray\nray.init(address={self.address!r}, log_to_driver=False)\n"
        done = subprocess.run(
            [sys.executable, "-c", connect + program, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

    def _processes(self) -> list[psutil.Process]:
        return psutil.Process(self.services.process.pid).children(recursive=True)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
