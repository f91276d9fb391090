"""Prometheus, as far as a test needs it: pages of metrics, read."""

from __future__ import annotations

import contextlib
import time
import urllib.request
from collections.abc import Callable
from http.client import HTTPException

import psutil
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from support.running_services import Services


class Page:
    """One scrape."""

    def __init__(self, port: int) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
            families = list(text_string_to_metric_families(reply.read().decode()))
        self.samples: list[Sample] = [sample for family in families for sample in family.samples]

    @property
    def names(self) -> set[str]:
        """Of all its series."""
        return {sample.name for sample in self.samples}

    def value(self, name: str, **labels: str) -> float:
        """The sum of the series of a name with these labels; 0 where there are none."""
        return sum(
            sample.value for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items()
        )


def metrics_port(services: Services) -> int:
    """Where Ray's agent exports the metrics of running services: the one of its ports that answers to Prometheus."""
    for process in psutil.Process(services.process.pid).children(recursive=True):
        if "DashboardAgent" not in " ".join(process.cmdline()):
            continue
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                with contextlib.suppress(OSError, ValueError, HTTPException):  # it speaks gRPC on another
                    if Page(connection.laddr.port).names:
                        return int(connection.laddr.port)
    raise AssertionError("no agent of Ray exports metrics")


def wait_for(port: int, enough: Callable[[Page], bool], seconds: float = 30) -> Page:
    """The first page that is enough, or the last one when the time is over. Ray's agent is told every few seconds."""
    deadline = time.monotonic() + seconds
    while not enough(page := Page(port)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return page
