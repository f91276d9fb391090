"""PromptOptimizerService over a bare gRPC server, with a scripted generator and judge behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from emofeedback.domain.affect import LEXICON, AffectPoint, Emotion
from emofeedback.domain.assessment import Assessment
from emofeedback.domain.errors import InvalidRequest, Unavailable
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.optimization import OptimizationRequest
from emofeedback.optimizer.loop import optimize
from emofeedback.optimizer.servicer import PromptOptimizerServicer
from emofeedback.profiles.profile import OptimizerSettings
from emofeedback.v1 import affect_pb2, judge_pb2, optimizer_pb2_grpc
from emofeedback.v1 import optimizer_pb2 as pb
from support.fakes import UNREADABLE, ScriptedGenerator, ScriptedJudge, assessment, paint
from support.scripted_loop import answer_of, compared
from support.scripted_services import until

SETTINGS = OptimizerSettings(text_floor=0.5, image_floor=0.2, rewrites=1)
POINT = affect_pb2.Target(point=affect_pb2.AffectPoint(valence=7, arousal=3))


@asynccontextmanager
async def served(
    generator: ScriptedGenerator | None = None, judge: ScriptedJudge | None = None, token: str | None = None
) -> AsyncIterator[optimizer_pb2_grpc.PromptOptimizerServiceAsyncStub]:
    """A stub of the service."""
    servicer = PromptOptimizerServicer(generator or ScriptedGenerator(), judge or ScriptedJudge(), SETTINGS, token)
    server = grpc.aio.server()
    # It has the methods of the generated class and does not inherit them.
    optimizer_pb2_grpc.add_PromptOptimizerServiceServicer_to_server(servicer, server)  # type: ignore[arg-type]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield optimizer_pb2_grpc.PromptOptimizerServiceStub(channel)
    finally:
        await server.stop(grace=None)


def optimize_request(**changes: Any) -> pb.OptimizeRequest:
    return pb.OptimizeRequest(**{"prompt": "a boat", "target": POINT, "rounds": 2, "images": 3, "seed": 10, **changes})


async def kinds_of(call: AsyncIterable[pb.OptimizeResponse]) -> list[str | None]:
    return [message.WhichOneof("event") async for message in call]


async def failure_of(
    call: AsyncIterable[pb.OptimizeResponse] | Awaitable[Message],
) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """The code of a failed call, its text, and the violations by field."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (kinds_of(call) if isinstance(call, AsyncIterable) else call)
    violations = {}
    # None where the client itself gave up. The stubs know only calls, not the errors that are read like them.
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    for detail in status.details if status else ():
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            violations = {violation.field: violation.description for violation in bad.field_violations}
    return caught.value.code(), caught.value.details() or "", violations


# --- Optimize ----------------------------------------------------------------------------------------------------


async def test_the_loop_streams_its_events() -> None:
    async with served() as stub:
        kinds = await kinds_of(stub.Optimize(optimize_request()))
    assert kinds[0] == "round_started" and kinds[-1] == "finished"
    assert kinds.count("image_painted") == kinds.count("image_judged") == 6
    assert kinds.count("loss_computed") == kinds.count("round_finished") == 2
    assert kinds.count("gradient_estimated") == kinds.count("prompt_updated") == 1


async def test_the_stream_says_what_the_loop_says_in_process() -> None:
    request = OptimizationRequest(prompt="a boat", target=AffectPoint(7, 3), rounds=2, images=3, seed=10)
    local = [
        event
        async for event in optimize(request, generator=ScriptedGenerator(), judge=ScriptedJudge(), settings=SETTINGS)
    ]
    async with served() as stub:
        finished = [m async for m in stub.Optimize(optimize_request())][-1].finished
    answer = answer_of(local)
    assert (finished.answer.round, finished.answer.index) == (answer.round, answer.index)
    assert finished.answer.loss == pytest.approx(answer.loss)


async def test_rounds_and_images_default_to_three_of_eight() -> None:
    generator = ScriptedGenerator()
    async with served(generator) as stub:
        await kinds_of(stub.Optimize(pb.OptimizeRequest(prompt="a boat", target=POINT)))
    assert [len(request.seeds) for request in generator.requests] == [8, 8, 8]


async def test_a_target_may_be_an_emotion() -> None:
    calm = LEXICON[Emotion.CONTENTMENT].point
    judge = ScriptedJudge(feeling=lambda picture: assessment(calm.valence, calm.arousal))
    async with served(judge=judge) as stub:
        target = affect_pb2.Target(emotion=affect_pb2.EMOTION_CONTENTMENT)
        messages = [m async for m in stub.Optimize(optimize_request(target=target, tolerance=0.0))]
    assert messages[-1].finished.stopped_because == pb.STOP_REASON_TOLERANCE


async def test_a_client_that_leaves_stops_the_painting_and_the_service_goes_on() -> None:
    generator, judge = ScriptedGenerator(delay=0.01), ScriptedJudge(delay=60)
    async with served(generator, judge) as stub:
        call = stub.Optimize(optimize_request(images=50))
        async for message in call:
            if message.WhichOneof("event") == "image_painted":
                break
        await until(lambda: bool(judge.calls))
        call.cancel()
        await until(lambda: generator.closed_early == 1 and judge.cancelled >= 1)
        steps = generator.steps_done
        await asyncio.sleep(0.1)
        assert generator.steps_done == steps
        loss = pb.ComputeLossRequest(target=POINT, assessments=[message_of(assessment(5, 5))])
        assert (await stub.ComputeLoss(loss)).losses == [4]


async def test_a_deadline_stops_the_painting_too() -> None:
    generator = ScriptedGenerator(delay=0.01)
    async with served(generator) as stub:
        code, _, _ = await failure_of(stub.Optimize(optimize_request(images=60), timeout=0.1))
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: generator.closed_early == len(generator.requests))
        steps = generator.steps_done
        await asyncio.sleep(0.1)
        assert generator.steps_done == steps


async def test_the_same_request_id_is_not_painted_twice() -> None:
    generator = ScriptedGenerator()
    async with served(generator) as stub:
        first = [m async for m in stub.Optimize(optimize_request(request_id="once"))]
        second = [m async for m in stub.Optimize(optimize_request(request_id="once"))]
    assert first == second
    assert len(generator.requests) == 2


async def test_a_failing_generator_shows_as_its_own_code_after_the_finished_round() -> None:
    generator = ScriptedGenerator(failures={(1, 1): Unavailable("the generator restarts", retry_after=2.0)})
    seen: list[str | None] = []
    async with served(generator) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for message in stub.Optimize(optimize_request()):
                seen.append(message.WhichOneof("event"))  # noqa: PERF401, a comprehension would keep nothing
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "the generator restarts" in (caught.value.details() or "")
    assert seen.count("round_finished") == 1 and seen.count("image_painted") == 4


async def test_an_unknown_policy_is_not_found() -> None:
    async with served() as stub:
        code, text, _ = await failure_of(stub.Optimize(optimize_request(policy="cubist")))
    assert code is grpc.StatusCode.NOT_FOUND and "cubist" in text


@pytest.mark.parametrize("rewrite", ["", "```\n```", "!!!", "a boat.\n\nOr a ship.", "<prompt></prompt>"])
async def test_a_judge_that_answers_garbage_costs_the_rewrite_and_not_the_run(rewrite: str) -> None:
    async with served(judge=ScriptedJudge(rewrites=[rewrite] * 9)) as stub:
        messages = [m async for m in stub.Optimize(optimize_request())]
    [update] = [m.prompt_updated for m in messages if m.HasField("prompt_updated")]
    assert update.fell_back and update.prompt == "a boat"
    assert [rejection.prompt for rejection in update.rejected] == [rewrite] * 3
    assert messages[-1].finished.HasField("answer")


async def test_a_judge_that_reads_no_image_leaves_the_images_and_no_answer() -> None:
    async with served(judge=ScriptedJudge(feeling=lambda picture: UNREADABLE)) as stub:
        messages = [m async for m in stub.Optimize(optimize_request())]
    assert not messages[-1].finished.HasField("answer")
    assert sum(m.HasField("image_painted") for m in messages) == 6
    [first, _] = [m.loss_computed for m in messages if m.HasField("loss_computed")]
    assert not first.HasField("best") and not any(item.HasField("loss") for item in first.losses)


def target_at(valence: float, arousal: float) -> affect_pb2.Target:
    return affect_pb2.Target(point=affect_pb2.AffectPoint(valence=valence, arousal=arousal))


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"prompt": ""}, "prompt", "empty"),
        ({"prompt": " \n "}, "prompt", "white space"),
        ({"prompt": "x" * 2001}, "prompt", "2000"),
        ({"target": target_at(0.9, 3)}, "target.valence", "[1, 9]"),
        ({"target": target_at(7, 9.5)}, "target.arousal", "[1, 9]"),
        ({"target": target_at(float("nan"), 3)}, "target.valence", "nan"),
        ({"target": target_at(float("inf"), 3)}, "target.valence", "inf"),
        ({"target": affect_pb2.Target()}, "target", "missing"),
        ({"target": affect_pb2.Target(emotion=77)}, "target.emotion", "77"),  # type: ignore[arg-type]  # no emotion
        ({"rounds": 0}, "rounds", "[1, 20]"),
        ({"rounds": -1}, "rounds", "[1, 20]"),
        ({"rounds": 21}, "rounds", "[1, 20]"),
        ({"images": 0}, "images", "[1, 64]"),
        ({"images": 65}, "images", "[1, 64]"),
        ({"seed": -1}, "seed", str(LIMITS.seed)),
        ({"tolerance": -0.1}, "tolerance", "[0, 16]"),
        ({"time_budget_seconds": float("nan")}, "time_budget_seconds", "86400"),
        ({"resume": pb.Resume(best_image=b"x")}, "resume.rounds", "1 to 2"),
    ],
)
async def test_bad_requests_are_refused_by_the_name_of_the_field_before_anything_is_painted(
    changes: dict[str, object], field: str, says: str
) -> None:
    generator = ScriptedGenerator()
    async with served(generator) as stub:
        code, _, violations = await failure_of(stub.Optimize(optimize_request(**changes)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert says in violations[field]
    assert not generator.requests


# --- the three steps ---------------------------------------------------------------------------------------------


def message_of(feeling: Assessment) -> judge_pb2.Assessment:
    return judge_pb2.Assessment(
        valence=feeling.valence,
        arousal=feeling.arousal,
        emotion=affect_pb2.Emotion.Value(f"EMOTION_{feeling.emotion.name}"),
        confidence=feeling.confidence,
    )


def gradient_request(**changes: Any) -> pb.EstimateGradientRequest:
    fields = {
        "prompt": "a boat",
        "target": POINT,
        "best_image": paint("a boat", 1),
        "best": message_of(assessment(6, 3)),
        "worst_image": paint("a boat", 2),
        "worst": message_of(assessment(2, 8)),
    }
    return pb.EstimateGradientRequest(**{**fields, **changes})


def update_request(**changes: Any) -> pb.UpdatePromptRequest:
    fields = {"original_prompt": "a boat", "prompt": "a boat, fog", "analysis": "Add sun.", "target": POINT}
    return pb.UpdatePromptRequest(**{**fields, **changes})


async def test_step_one_gives_distances_and_the_nearest_and_the_farthest() -> None:
    assessments = [message_of(assessment(*point)) for point in ((5, 5), (7, 4), (1, 9))]
    async with served() as stub:
        reply = await stub.ComputeLoss(pb.ComputeLossRequest(target=POINT, assessments=assessments))
    assert (list(reply.losses), reply.best, reply.worst) == ([4, 1, 12], 1, 2)


async def test_step_two_shows_the_judge_the_best_and_the_worst_in_this_order() -> None:
    judge = ScriptedJudge(analyses=["<think>hm</think> Add sunlight,\ntake out the fog."])
    async with served(judge=judge) as stub:
        reply = await stub.EstimateGradient(gradient_request())
    assert "Add sunlight, take out the fog." in reply.analysis
    assert reply.model.name == "scripted-judge"
    best, worst = compared(judge.conversations[0])
    assert (best.seed, worst.seed) == (1, 2)


async def test_step_two_with_a_judge_that_says_nothing_fails_and_says_so() -> None:
    async with served(judge=ScriptedJudge(analyses=["", ""])) as stub:
        code, text, _ = await failure_of(stub.EstimateGradient(gradient_request()))
    assert code is grpc.StatusCode.INTERNAL and "holds no analysis" in text


async def test_step_two_names_a_bad_image_as_the_caller_knows_it() -> None:
    refusal = InvalidRequest.of("conversations[0].messages[0].parts[1].image", "is animated")
    async with served(judge=ScriptedJudge(failures={"converse": refusal})) as stub:
        code, _, violations = await failure_of(stub.EstimateGradient(gradient_request()))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert violations == {"worst_image": "is animated"}


async def test_step_three_rewrites_the_prompt_and_lists_what_it_did_not_use() -> None:
    judge = ScriptedJudge(
        rewrites=["<prompt>a cake</prompt>", "<prompt>a boat, sun</prompt>"],
        similarity=lambda text, candidate: 0.9 if "boat" in candidate else 0.1,
    )
    async with served(judge=judge) as stub:
        reply = await stub.UpdatePrompt(update_request())
    assert (reply.prompt, reply.fell_back) == ("a boat, sun", False)
    assert [rejection.prompt for rejection in reply.rejected] == ["a cake"]


async def test_step_three_falls_back_on_the_prompt_it_was_given() -> None:
    async with served(judge=ScriptedJudge(rewrites=["<prompt>a boat, fog</prompt>"] * 3)) as stub:
        reply = await stub.UpdatePrompt(update_request())
    assert (reply.prompt, reply.fell_back, len(reply.rejected)) == ("a boat, fog", True, 3)


@pytest.mark.parametrize(
    ("step", "request_of", "changes", "field"),
    [
        ("ComputeLoss", pb.ComputeLossRequest, {"target": POINT}, "assessments"),
        ("ComputeLoss", pb.ComputeLossRequest, {"assessments": [message_of(assessment(5, 5))]}, "target"),
        ("EstimateGradient", gradient_request, {"best_image": b""}, "best_image"),
        ("EstimateGradient", gradient_request, {"worst": judge_pb2.Assessment(valence=5, arousal=5)}, "worst.emotion"),
        ("UpdatePrompt", update_request, {"analysis": ""}, "analysis"),
        ("UpdatePrompt", update_request, {"original_prompt": "  "}, "original_prompt"),
    ],
)
async def test_the_steps_refuse_bad_requests_by_the_name_of_the_field(
    step: str, request_of: Callable[..., Message], changes: dict[str, object], field: str
) -> None:
    async with served() as stub:
        code, _, violations = await failure_of(getattr(stub, step)(request_of(**changes)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert field in violations


# --- the token ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metadata", [(), (("authorization", "Bearer wrong"),)])
@pytest.mark.parametrize(
    ("method", "request_of"),
    [
        ("Optimize", optimize_request),
        ("ComputeLoss", pb.ComputeLossRequest),
        ("EstimateGradient", gradient_request),
        ("UpdatePrompt", update_request),
    ],
)
async def test_without_the_right_token_every_call_is_unauthenticated(
    method: str, request_of: Callable[..., Message], metadata: tuple[tuple[str, str], ...]
) -> None:
    async with served(token="right") as stub:
        code, _, _ = await failure_of(getattr(stub, method)(request_of(), metadata=metadata))
    assert code is grpc.StatusCode.UNAUTHENTICATED


async def test_with_the_right_token_calls_are_served() -> None:
    async with served(token="right") as stub:
        reply = await stub.UpdatePrompt(update_request(), metadata=(("authorization", "Bearer right"),))
    assert reply.prompt
