"""W3C trace context through all services, by OpenTelemetry: one trace from the caller's span to the last model call.

Every client call carries the current span's `traceparent` (and `tracestate`, `baggage`) as metadata, every service
takes it up, so a call that a service makes in turn belongs to the same trace. That holds where nobody records spans,
too: what comes in goes on. Recording begins with `export_traces`, where the environment names a collector; it reads
OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES, ...).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.context import Context, attach
from opentelemetry.trace import Link, Span, SpanKind, StatusCode

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

_tracer = trace.get_tracer("emofeedback")


def export_traces(service: str) -> None:
    """Sends this process's spans to the collector that the environment names, by OTLP over HTTP; else does nothing.

    Args:
        service: generator, judge, optimizer, trainer or run (of training); spans say `emofeedback-generator`.
    """
    if not any(os.environ.get(variable) for variable in _ENDPOINTS):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": f"emofeedback-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


@contextmanager
def incoming(method: str, metadata: Iterable[tuple[str, str | bytes]]) -> Iterator[Span]:
    """The span of a call that is being answered, current for as long as the context lasts."""
    carrier = {key: value for key, value in metadata if isinstance(value, str)}
    with _tracer.start_as_current_span(
        method,
        context=propagate.extract(carrier),
        kind=SpanKind.SERVER,
        attributes=_attributes(method),
    ) as span:
        yield span


@contextmanager
def outgoing(method: str) -> Iterator[list[tuple[str, str]]]:
    """The span of one try of a call to a service; yields the metadata that carries it.

    It does not become the current one: between two events of a stream the caller's own code runs.
    """
    span = _tracer.start_span(method, kind=SpanKind.CLIENT, attributes=_attributes(method))
    carrier: dict[str, str] = {}
    propagate.inject(carrier, trace.set_span_in_context(span))
    try:
        yield list(carrier.items())
    except Exception as error:
        span.set_status(StatusCode.ERROR, str(error))
        raise
    finally:
        span.end()


def traceparent() -> str:
    """The current span's context in one line, for work that no metadata reaches; empty: there is none."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent", "")


def attach_parent(traceparent: str) -> None:
    """Makes a span of another process the current one of this process, for good."""
    attach(propagate.extract({"traceparent": traceparent}))


@contextmanager
def detached_span(name: str, **attributes: str | int) -> Iterator[None]:
    """A span at the head of a trace of its own, with a link to the current one: for a part of work so long that nobody
    could look at it as one trace. What is called within belongs to it."""
    cause = trace.get_current_span().get_span_context()
    links = [Link(cause)] if cause.is_valid else []
    with _tracer.start_as_current_span(name, context=Context(), links=links, attributes=attributes):
        yield


def mark_failed(span: Span, code: str, problem: str) -> None:
    """For the span of a call that ends with a gRPC status code other than OK."""
    span.set_attribute("rpc.response.status_code", code)
    span.set_status(StatusCode.ERROR, problem)


def _attributes(method: str) -> dict[str, str]:
    """By OpenTelemetry's conventions for remote calls; `method` is `GeneratorService/Generate`."""
    return {"rpc.system.name": "grpc", "rpc.method": f"emofeedback.v1.{method}"}
