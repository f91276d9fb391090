"""What running services tell: a trace at both its ends, pages of metrics, and the dashboards that query them."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
from opentelemetry import context, trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from support.running_services import Services

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
"""Of the caller."""


@contextlib.contextmanager
def callers_span(*, state: str = "") -> Iterator[None]:
    """The caller's own span is the current one."""
    mine = SpanContext(
        int(TRACE, 16),
        int(SPAN, 16),
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=TraceState.from_header([state]) if state else None,
    )
    token = context.attach(trace.set_span_in_context(NonRecordingSpan(mine)))
    try:
        yield
    finally:
        context.detach(token)


@dataclass(frozen=True)
class ReceivedSpan:
    """What a service said of one call."""

    service: str
    name: str
    kind: int
    """2 is a server's, 3 a client's."""
    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    """Traces that it refers to."""
    failed: bool


@dataclass
class Collector:
    """Running, and what it has received so far."""

    endpoint: str = ""
    spans: list[ReceivedSpan] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        """What tells a process to send its spans here, soon."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}

    def wait(self, enough: Callable[[list[ReceivedSpan]], bool], seconds: float = 60) -> list[ReceivedSpan]:
        """The spans of the caller's trace, and those that refer to it, once they are enough; or what there is of them
        when the time is over."""
        deadline = time.monotonic() + seconds
        while not enough(found := [span for span in self.spans if TRACE in (span.trace, *span.links)]):
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        return found


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """A collector for as long as the context lasts."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.spans += _read(body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _read(body: bytes) -> Iterator[ReceivedSpan]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        attributes = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield ReceivedSpan(
                    service=attributes["service.name"],
                    name=span.name,
                    kind=span.kind,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    links=tuple(link.trace_id.hex() for link in span.links),
                    failed=span.status.code == 2,
                )


class Page:
    """One scrape."""

    def __init__(self, port: int) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as reply:
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


def wait_for(port: int, enough: Callable[[Page], bool], seconds: float = 60) -> Page:
    """The first page that is enough, or the last one when the time is over. Ray's agent is told every few seconds."""
    deadline = time.monotonic() + seconds
    while not enough(page := Page(port)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return page


DASHBOARDS = Path(__file__).parents[2] / "helm" / "emofeedback" / "dashboards"

_METRIC = re.compile(r"\b(?:ray_|emofeedback_)\w+")


def panels(dashboard: Path) -> list[dict[str, Any]]:
    """All panels but the rows' headings."""
    return [panel for panel in json.loads(dashboard.read_text())["panels"] if panel["type"] != "row"]


def queries(dashboard: Path) -> Iterator[str]:
    """The PromQL of its panels and of its variables."""
    for panel in panels(dashboard):
        yield from (target["expr"] for target in panel["targets"])
    for variable in json.loads(dashboard.read_text())["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def queried_names(dashboard: Path) -> set[str]:
    """The names of series in its queries."""
    return {name for query in queries(dashboard) for name in _METRIC.findall(query)}
