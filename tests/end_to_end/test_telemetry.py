"""What the real services tell of themselves: metrics through Ray's agent, spans to a collector."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emofeedback import AffectPoint, Client
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.domain.optimization import OptimizationFinished, OptimizationRequest
from emofeedback.observability.metrics import COMPILE_FAILURES, GPU_MEMORY, PARSE_FAILURES
from emofeedback.profiles.builtin import NANO_PROFILE
from support.running_services import TOKEN, Services
from support.telemetry import (
    DASHBOARDS,
    SPAN,
    Collector,
    Page,
    ReceivedSpan,
    callers_span,
    metrics_port,
    queried_names,
    wait_for,
)

SERVER, CLIENT = 2, 3
OPTIMIZE = ("emofeedback-optimizer", "PromptOptimizerService/Optimize")
STEPS = 4
"""Of the embedded generator."""


@pytest.fixture(scope="module")
def finished_run(services: Services) -> OptimizationFinished:
    """Under a span of the caller's own: two rounds of two images, one of one within the tolerance, a refused call."""
    request = OptimizationRequest(prompt="a dog in a meadow", target=AffectPoint(8, 6), rounds=2, images=2)
    with callers_span(), Client(services.address, token=TOKEN) as client:
        *_, finished = client.optimize(request)
        list(client.optimize(replace(request, images=1, tolerance=16)))
        with pytest.raises(InvalidRequest):
            list(client.optimize(replace(request, prompt="x" * 2001)))
    assert isinstance(finished, OptimizationFinished)
    return finished


@pytest.fixture(scope="module")
def page(services: Services, finished_run: OptimizationFinished) -> Page:
    """Ray's metrics once they tell of the run."""
    return wait_for(
        metrics_port(services),
        lambda page: (
            page.value("ray_emofeedback_rounds_to_tolerance_count") >= 1
            and page.value("ray_emofeedback_images_total") >= 5
            and page.value("ray_emofeedback_replies_total", kind="rating") >= 5
        ),
    )


def test_one_trace_goes_from_the_caller_through_the_optimizer_to_generator_and_judge(
    collector: Collector, finished_run: OptimizationFinished
) -> None:
    wanted = {
        OPTIMIZE,
        ("emofeedback-generator", "GeneratorService/Generate"),
        ("emofeedback-judge", "JudgeService/AssessStream"),
        ("emofeedback-judge", "JudgeService/ScoreImages"),
    }

    def whole(spans: list[ReceivedSpan]) -> bool:
        known = {span.id for span in spans} | {SPAN}
        served = {(span.service, span.name) for span in spans if span.kind == SERVER}
        return wanted <= served and all(span.parent in known for span in spans)

    spans = collector.wait(whole)
    served = {(span.service, span.name): span for span in spans if span.kind == SERVER}
    assert wanted <= served.keys()
    by_id = {span.id: span for span in spans}
    for service, name in wanted - {OPTIMIZE}:
        calling = by_id[served[service, name].parent]
        assert (calling.service, calling.name, calling.kind) == ("emofeedback-optimizer", name, CLIENT)
        optimizing = by_id[calling.parent]
        assert (optimizing.service, optimizing.name) == OPTIMIZE
        assert optimizing.parent == SPAN


def test_the_span_of_a_call_that_is_refused_has_failed(
    collector: Collector, finished_run: OptimizationFinished
) -> None:
    def refused(spans: list[ReceivedSpan]) -> list[ReceivedSpan]:
        return [s for s in spans if s.failed and s.kind == SERVER and s.name == "PromptOptimizerService/Optimize"]

    spans = collector.wait(lambda spans: bool(refused(spans)))
    assert len(refused(spans)) == 1


def test_painting_is_measured_in_images_and_steps(page: Page) -> None:
    assert page.value("ray_emofeedback_images_total", kind="picture", application="generator") >= 5
    assert page.value("ray_emofeedback_image_steps_total") >= 5 * STEPS
    assert page.value("ray_emofeedback_step_seconds_count") >= STEPS
    assert page.value("ray_emofeedback_step_seconds_bucket", le="10.0") == page.value(
        "ray_emofeedback_step_seconds_count"
    )
    assert page.value("ray_emofeedback_policy_in_use", policy=NANO_PROFILE.generator.policy or BASE_POLICY) == 1


def test_judging_is_measured_in_tokens_and_readable_replies(page: Page, finished_run: OptimizationFinished) -> None:
    ratings = page.value("ray_emofeedback_replies_total", kind="rating", application="judge")
    assert ratings >= 5
    assert page.value("ray_emofeedback_replies_total", kind="reasoning", application="judge") >= 2
    assert page.value("ray_emofeedback_replies_total", kind="analysis", application="optimizer") >= 1
    assert page.value("ray_emofeedback_replies_total", kind="rewrite", application="optimizer") >= 1
    read, written = (page.value("ray_emofeedback_judge_tokens_total", direction=d) for d in ("read", "written"))
    assert read > written > 3 * ratings  # a rating alone is two digits and a word


def test_runs_are_measured_in_rounds_and_points_of_the_scale(page: Page, finished_run: OptimizationFinished) -> None:
    assert finished_run.answer is not None
    assert page.value("ray_emofeedback_optimizations_total", stopped_because="tolerance") >= 1
    assert page.value("ray_emofeedback_optimizations_total", stopped_because=finished_run.stopped_because) >= 1
    assert page.value("ray_emofeedback_rounds_to_tolerance_bucket", le="1.0") >= 1
    assert page.value("ray_emofeedback_answer_error_count") >= 2


def test_nothing_waits_once_all_is_done_and_every_call_was_timed_under_its_code(services: Services, page: Page) -> None:
    idle = wait_for(metrics_port(services), lambda page: page.value("ray_emofeedback_queue_length") == 0)
    assert idle.value("ray_emofeedback_queue_length") == 0
    kinds = {sample.labels["kind"] for sample in idle.samples if sample.name == "ray_emofeedback_queue_length"}
    assert {"picture", "trajectory", "rating", "reasoning", "conversation"} <= kinds
    method = "PromptOptimizerService/Optimize"
    assert page.value("ray_emofeedback_call_seconds_count", method=method, code="OK") >= 2
    assert page.value("ray_emofeedback_call_seconds_count", method=method, code="INVALID_ARGUMENT") >= 1


def test_what_the_serving_dashboard_asks_for_is_there(page: Page) -> None:
    # No GPU here, and maybe no failure.
    elsewhere = {name for metric in (GPU_MEMORY, PARSE_FAILURES, COMPILE_FAILURES) for name in metric.series(ray=True)}
    assert queried_names(DASHBOARDS / "serving.json") - elsewhere <= page.names
