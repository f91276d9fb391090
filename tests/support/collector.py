"""Both ends of a trace: a caller with a span of its own, and a collector of spans, as Jaeger or Tempo would be."""

from __future__ import annotations

import contextlib
import gzip
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry import context, trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

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

    def wait(self, enough: Callable[[list[ReceivedSpan]], bool], seconds: float = 20) -> list[ReceivedSpan]:
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
