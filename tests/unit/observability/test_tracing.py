"""A trace context goes through the SDK and the services, whether or not anybody records spans.

That the real services send theirs to a collector is in `end_to_end/test_telemetry.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from opentelemetry import trace

from emofeedback import AffectPoint, AsyncClient
from emofeedback.domain.generation import GenerationRequest
from emofeedback.domain.optimization import OptimizationRequest
from emofeedback.observability.tracing import export_traces, incoming, outgoing, traceparent
from support.scripted_services import Services, serving
from support.telemetry import SPAN, TRACE, callers_span, collecting

TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
METHOD = "GeneratorService/Generate"


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


def test_a_context_as_a_line_is_what_a_call_would_carry() -> None:
    assert traceparent() == ""
    with callers_span():
        assert traceparent() == TRACEPARENT


RUN = """
import sys
from emofeedback.observability.tracing import attach_parent, detached_span, export_traces, outgoing, traceparent
export_traces("run")
attach_parent(sys.argv[1])
for iteration in (1, 2):
    with detached_span("iteration", iteration=iteration), outgoing("GeneratorService/SampleTrajectories") as metadata:
        print(dict(metadata)["traceparent"])
"""


def test_chapters_of_long_work_are_traces_that_link_to_whoever_asked() -> None:
    with collecting() as collector:
        run = subprocess.run(
            [sys.executable, "-c", RUN, TRACEPARENT],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, **collector.environment()},
        )
        chapters = collector.wait(lambda spans: len(spans) == 2)
    assert run.returncode == 0, run.stderr
    assert [(span.service, span.name, span.links) for span in chapters] == [
        ("emofeedback-run", "iteration", (TRACE,))
    ] * 2
    carried = [line.split("-")[1] for line in run.stdout.split()]
    assert carried == [span.trace for span in chapters]
    assert len({*carried, TRACE}) == 3


async def test_a_stream_leaves_the_callers_span_current_between_its_events() -> None:
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
