"""Metrics are recorded nowhere until a process exports them, and everywhere under the same names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.generation import GenerationRequest
from emofeedback.domain.optimization import OptimizationRequest
from emofeedback.domain.questions import Question
from emofeedback.domain.reasoning import Imagination
from emofeedback.domain.training import RunState, TrainingRun
from emofeedback.generator.local import LocalGenerator
from emofeedback.judge.engines.base import Chat, OwnTokens
from emofeedback.judge.engines.completion import Completion, TokenChoice
from emofeedback.judge.local import LocalJudge
from emofeedback.observability import metrics
from emofeedback.observability.metrics import (
    ANSWER_ERROR,
    CALL_SECONDS,
    IMAGE_STEPS,
    IMAGES,
    JUDGE_TOKENS,
    METRICS,
    OPTIMIZATIONS,
    PARSE_FAILURES,
    POLICY_IN_USE,
    QUEUE_LENGTH,
    REPLIES,
    ROUNDS_TO_TOLERANCE,
    STEP_SECONDS,
    TRAINING_FIGURE,
    TRAINING_ITERATION,
    TRAINING_RUNS,
    Metric,
    export_over_http,
)
from emofeedback.optimizer.loop import optimize
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.profiles.profile import OptimizerSettings
from emofeedback.rpc import stream_rpc, unary_rpc
from emofeedback_trainer.service.metrics import record_runs
from support.fakes import JUDGE_MODEL, ScriptedGenerator, ScriptedJudge, assessment, paint
from support.running_services import free_port
from support.telemetry import Page
from support.tiny_checkpoints import save_tiny_policy, save_tiny_sd3

TARGET = AffectPoint(7.0, 3.0)
SETTINGS = OptimizerSettings(text_floor=0.5, image_floor=0.2, rewrites=1)


class Recorded:
    """What a process has recorded."""

    def __init__(self) -> None:
        self.entries: list[tuple[Metric, float, dict[str, str]]] = []

    def of(self, metric: Metric) -> list[tuple[float, dict[str, str]]]:
        """Values and labels of one metric, in order."""
        return [(value, labels) for recorded, value, labels in self.entries if recorded is metric]


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    log = Recorded()
    metrics.export(lambda metric, value, labels: log.entries.append((metric, value, dict(labels))))
    yield log
    metrics.export(None)


class Context:
    def peer(self) -> str:
        return "ipv4:10.1.2.3:4567"

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return []

    def set_code(self, code: grpc.StatusCode) -> None: ...
    def set_details(self, details: str) -> None: ...
    def set_trailing_metadata(self, trailing_metadata: Any) -> None: ...


class PlainServicer:
    token = None

    @unary_rpc
    async def Unary(self, request: BaseException | None, context: Any) -> str:
        if request is not None:
            raise request
        return "done"

    @stream_rpc
    async def Stream(self, request: Any, context: Any) -> AsyncIterator[str]:
        yield "one"
        yield "two"


def test_names_are_prometheus_and_belong_to_one_metric_only() -> None:
    series = [name for metric in METRICS for name in metric.series(ray=False)]
    assert len(set(series)) == len(series)
    assert all(name.startswith("emofeedback_") for name in series)
    assert IMAGES.series(ray=True) == ("ray_emofeedback_images_total",)


def test_what_is_recorded_before_anything_is_exported_costs_nothing_and_is_gone() -> None:
    IMAGES.record(3, kind="picture")
    with export_over_http("127.0.0.1", 0) as port:
        assert Page(port).value("emofeedback_images_total") == 0


def test_a_page_counts_sets_and_observes() -> None:
    with export_over_http("127.0.0.1", 0) as port:
        IMAGES.record(2, kind="picture")
        IMAGES.record(1, kind="picture")
        QUEUE_LENGTH.record(7, kind="rating")
        QUEUE_LENGTH.record(5, kind="rating")
        ANSWER_ERROR.record(0.6)
        ANSWER_ERROR.record(3.5)
        page = Page(port)
    assert page.value("emofeedback_images_total", kind="picture") == 3
    assert page.value("emofeedback_queue_length", kind="rating") == 5
    assert page.value("emofeedback_answer_error_count") == 2
    assert page.value("emofeedback_answer_error_bucket", le="0.75") == 1
    assert page.value("emofeedback_answer_error_bucket", le="4.0") == 2


def test_a_page_ends_with_its_context_and_its_port_is_free_again() -> None:
    port = free_port()
    for _ in range(2):
        with export_over_http("127.0.0.1", port):
            TRAINING_FIGURE.record(0.4, run="calm", source="rollout", figure="reward")
            assert Page(port).value("emofeedback_training_figure", run="calm") == 0.4


def test_a_port_that_is_taken_is_named() -> None:
    with (
        export_over_http("127.0.0.1", 0) as port,
        pytest.raises(FailedPrecondition, match=str(port)),
        export_over_http("127.0.0.1", port),
    ):
        pass


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, "OK"), (InvalidRequest.of("prompt", "is empty"), "INVALID_ARGUMENT"), (ValueError("a defect"), "INTERNAL")],
)
async def test_every_call_is_timed_under_its_rpc_and_its_code(
    recorded: Recorded, error: Exception | None, code: str
) -> None:
    await PlainServicer().Unary(error, Context())
    [(seconds, labels)] = recorded.of(CALL_SECONDS)
    assert labels == {"method": "PlainService/Unary", "code": code}
    assert 0 <= seconds < 5


async def test_a_stream_is_timed_to_its_end_and_one_that_is_left_was_cancelled(recorded: Recorded) -> None:
    assert [event async for event in PlainServicer().Stream(None, Context())] == ["one", "two"]
    left = PlainServicer().Stream(None, Context())
    await anext(left)
    await left.aclose()  # type: ignore[attr-defined]
    assert [labels["code"] for _, labels in recorded.of(CALL_SECONDS)] == ["OK", "CANCELLED"]


async def test_a_run_says_why_it_stopped_how_many_rounds_it_took_and_how_near_it_came(recorded: Recorded) -> None:
    request = OptimizationRequest(prompt="a boat", target=TARGET, rounds=3, images=2)
    near = ScriptedJudge(feeling=lambda picture: assessment(6.5, 3.5))
    for tolerance in (None, 1.5):
        tolerant = replace(request, tolerance=tolerance)
        _ = [e async for e in optimize(tolerant, generator=ScriptedGenerator(), judge=near, settings=SETTINGS)]
    stops = [labels["stopped_because"] for _, labels in recorded.of(OPTIMIZATIONS)]
    assert stops == ["rounds", "tolerance"]
    assert recorded.of(ROUNDS_TO_TOLERANCE) == [(1, {})]
    assert recorded.of(ANSWER_ERROR) == [(1.0, {}), (1.0, {})]


async def test_replies_of_the_agent_that_cant_be_read_are_counted_beside_all_of_them(recorded: Recorded) -> None:
    judge = ScriptedJudge(analyses=["..."], rewrites=["", "<prompt>a calm boat</prompt>"])
    request = OptimizationRequest(prompt="a boat", target=TARGET, rounds=2, images=2)
    _ = [e async for e in optimize(request, generator=ScriptedGenerator(), judge=judge, settings=SETTINGS)]
    assert recorded.of(REPLIES) == [(1, {"kind": kind}) for kind in ("analysis", "analysis", "rewrite", "rewrite")]
    assert recorded.of(PARSE_FAILURES) == [(1, {"kind": "analysis"}), (1, {"kind": "rewrite"})]


async def test_the_judge_counts_what_waits_what_it_reads_and_writes_and_what_is_no_rating(recorded: Recorded) -> None:
    class Engine:
        own = OwnTokens(reasons=(1,), variations=(2, 3))

        async def states(self, chats: Sequence[Chat]) -> list[NDArray[np.float32]]:
            return [np.ones((1, 4), np.float32)] * len(chats)

        async def complete(self, chats: Sequence[Chat], *_: Any, **__: Any) -> list[Completion]:
            tokens = tuple(TokenChoice(text, {text: 0.0}) for text in ("7", " ", "3", " ", "awe"))
            return [
                Completion("no idea", (), True, 40, 2),
                *[Completion("7 3 awe", tokens, True, 40, 5)] * (len(chats) - 1),
            ]

        def close(self) -> None: ...

    judge = LocalJudge(Engine(), None, info=JUDGE_MODEL, settings=NANO_PROFILE.judge)  # type: ignore[arg-type]
    await judge.assess([paint("a boat", seed) for seed in range(3)])
    assert recorded.of(QUEUE_LENGTH) == [(3, {"kind": "rating"}), (0, {"kind": "rating"})]
    assert recorded.of(JUDGE_TOKENS) == [(120, {"direction": "read"}), (12, {"direction": "written"})]
    assert recorded.of(REPLIES) == [(3, {"kind": "rating"})]
    assert recorded.of(PARSE_FAILURES) == [(1, {"kind": "rating"})]
    await judge.assess([paint("a boat", seed) for seed in range(2)], reasoning="latent")
    await judge.reason(Imagination(prompt="a boat", target=AffectPoint(7, 3)))
    assert recorded.of(REPLIES)[1:] == [(2, {"kind": "latent"}), (2, {"kind": "reason"})]
    assert recorded.of(PARSE_FAILURES)[1:] == [(1, {"kind": "latent"})]
    assert recorded.of(QUEUE_LENGTH)[-2:] == [(2, {"kind": "reason"}), (0, {"kind": "reason"})]
    assert judge.pending_tokens == 0


async def test_questions_and_descriptions_are_counted_by_what_they_ask_for(recorded: Recorded) -> None:
    class Engine:
        own = OwnTokens()

        async def complete(self, chats: Sequence[Chat], *_: Any, **__: Any) -> list[Completion]:
            return [Completion("a boat", (), True, 40, 2), Completion("", (), True, 40, 0)][: len(chats)]

    judge = LocalJudge(Engine(), None, info=JUDGE_MODEL, settings=NANO_PROFILE.judge)  # type: ignore[arg-type]
    images = (paint("a boat", 1),)
    choice = Question(images=images, text="What is it?", options=("a boat", "a fox"))
    await judge.ask([choice, Question(images=images, text="What is it?"), choice])
    await judge.describe([images, images])
    failures = {labels["kind"]: value for value, labels in recorded.of(PARSE_FAILURES)}
    assert {labels["kind"]: value for value, labels in recorded.of(REPLIES)} == {
        "choice": 2,
        "answer": 1,
        "description": 2,
    }
    assert failures == {"choice": 1, "answer": 0, "description": 1}
    assert (2, {"kind": "choice"}) in recorded.of(QUEUE_LENGTH) and judge.pending_tokens == 0


async def test_the_generator_counts_what_waits_and_paints_and_which_policy_is_in_use(
    recorded: Recorded, tmp_path: Path
) -> None:
    checkpoint = save_tiny_sd3(tmp_path / "tiny", with_t5=False)
    save_tiny_policy(tmp_path / "policies" / "warm", checkpoint, seed=1)
    settings = replace(
        NANO_PROFILE.generator,
        checkpoint=str(checkpoint),
        policies=str(tmp_path / "policies"),
        policy="",
        vocabulary="",
        width=32,
        height=32,
        steps=2,
    )
    engine = LocalGenerator.load(settings)
    try:
        for policy in ("", "warm"):
            request = GenerationRequest(prompt="a boat", seeds=(1, 2, 3), policy=policy)
            _ = [event async for event in engine.generate(request)]
    finally:
        engine.close()
    assert recorded.of(IMAGES) == [(1, {"kind": "picture"})] * 6
    assert sum(value for value, _ in recorded.of(IMAGE_STEPS)) == 6 * 2
    assert len(recorded.of(STEP_SECONDS)) == 2 * 2
    waiting = [value for value, labels in recorded.of(QUEUE_LENGTH) if labels["kind"] == "picture"]
    assert waiting[0] == 3 and waiting[-1] == 0
    in_use = {labels["policy"]: value for value, labels in recorded.of(POLICY_IN_USE)}
    assert in_use == {"base": 0, "warm": 1}
    [digest] = [labels["digest"] for _, labels in recorded.of(POLICY_IN_USE) if labels["policy"] == "warm"]
    assert digest.startswith("sha256:")


def test_the_trainer_says_how_many_runs_are_in_each_state_and_what_each_wrote_last(recorded: Recorded) -> None:
    now = datetime.now(UTC)
    run = TrainingRun(
        name="calm",
        config="",
        state=RunState.RUNNING,
        iteration=12,
        metrics={"reward": 0.4},
        panel={"error": 2.1},
        created=now,
        updated=now,
        folder="runs/calm",
        policies="runs/calm/policies",
    )
    record_runs([run, replace(run, name="wild")])
    assert {labels["state"]: value for value, labels in recorded.of(TRAINING_RUNS)}["running"] == 2
    assert (12, {"run": "wild"}) in recorded.of(TRAINING_ITERATION)
    assert (0.4, {"run": "calm", "source": "rollout", "figure": "reward"}) in recorded.of(TRAINING_FIGURE)
    assert (2.1, {"run": "calm", "source": "panel", "figure": "error"}) in recorded.of(TRAINING_FIGURE)
