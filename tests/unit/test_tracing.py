"""A trace context goes through the SDK and the services, whether or not anybody records spans.

That the real services send theirs to a collector is in `end_to_end/test_telemetry.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from emofeedback import AffectPoint, AsyncClient
from emofeedback.interfaces import GenerationRequest
from emofeedback.rounds import OptimizationRequest
from emofeedback.tracing import export_traces, incoming, outgoing
from scripted_services import Services, serving

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
METHOD = "GeneratorService/Generate"


@contextmanager
def callers_span(*, state: str = "") -> Iterator[None]:
    """The caller's own span is current."""
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


def current_trace() -> str:
    return f"{trace.get_current_span().get_span_context().trace_id:032x}"


def test_a_call_carries_the_callers_context() -> None:
    with callers_span(state="vendor=opaque"), outgoing(METHOD) as metadata:
        assert dict(metadata) == {"traceparent": TRACEPARENT, "tracestate": "vendor=opaque"}


def test_without_a_context_a_call_carries_none() -> None:
    with outgoing(METHOD) as metadata:
        assert metadata == []


def test_a_service_takes_the_context_up_and_lays_it_down_again() -> None:
    with incoming(METHOD, [("authorization", "Bearer x"), ("traceparent", TRACEPARENT), ("raw-bin", b"\x00")]):
        assert current_trace() == TRACE
    assert current_trace() == "0" * 32


@pytest.mark.parametrize("nonsense", ["", "00-1-1-01", f"ff-{TRACE}-{SPAN}-01", "00-" + "0" * 32 + f"-{SPAN}-01"])
def test_a_context_that_is_none_is_left_out(nonsense: str) -> None:
    with incoming(METHOD, [("traceparent", nonsense)]), outgoing(METHOD) as metadata:
        assert metadata == []


def test_nothing_is_recorded_where_the_environment_names_no_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", raising=False)
    before = trace.get_tracer_provider()
    export_traces("generator")
    assert trace.get_tracer_provider() is before


async def test_a_stream_carries_the_context_and_leaves_the_callers_own_span_current_between_events() -> None:
    async with serving(Services()) as services, AsyncClient(services.address) as client:
        with callers_span():
            async for _ in client.generator.generate(GenerationRequest(prompt="a boat", seeds=(1, 2))):
                assert f"{trace.get_current_span().get_span_context().span_id:016x}" == SPAN
    [call] = services.asked("Generate")
    assert call.metadata["traceparent"] == TRACEPARENT


async def test_the_context_goes_through_the_optimizer_to_generator_and_judge() -> None:
    async with serving(Services()) as models, AsyncClient(models.address) as behind:
        optimizer = Services(generator=behind.generator, judge=behind.judge)  # type: ignore[arg-type]
        async with serving(optimizer) as services, AsyncClient(services.address) as client:
            with callers_span():
                request = OptimizationRequest(prompt="a boat", target=AffectPoint(7, 3), rounds=2, images=2)
                _ = [event async for event in client.optimize(request)]
    for method in ("Generate", "AssessStream", "ScoreImages", "AssessImages", "Converse", "CompareTexts"):
        calls = models.asked(method)
        assert calls, method
        assert all(call.metadata["traceparent"].split("-")[1] == TRACE for call in calls), method
