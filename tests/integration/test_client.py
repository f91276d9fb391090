"""The SDK against services that fail on order: both clients behave alike."""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import grpc
import pytest

import fakes
from emofeedback import AffectPoint, AsyncClient, Client, Deadlines, RetryPolicy
from emofeedback.errors import (
    DeadlineExceeded,
    EmoFeedbackError,
    FailedPrecondition,
    InternalError,
    InvalidRequest,
    MessageTooLarge,
    NotFound,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from emofeedback.interfaces import (
    Decoding,
    GeneratedImage,
    GenerationQueued,
    GenerationRequest,
    GroupStarted,
    Message,
    NoiseWindow,
    Trajectory,
    TrajectoryRequest,
)
from emofeedback.rounds import (
    OptimizationFinished,
    OptimizationRequest,
    RoundFinished,
    RoundStarted,
)
from emofeedback.settings import LIMITS
from emofeedback.steps import GradientRequest, LossRequest, UpdateRequest
from emofeedback.training import IterationDone, Run, RunState, RunStateChanged
from fakes import GENERATOR_MODEL, JUDGE_MODEL, ScriptedGenerator, ScriptedJudge, arbitrary_feeling, look, paint
from scripted_services import Fault, Services, serving

QUICK = RetryPolicy(initial_backoff=0.01)
OK, UNAVAILABLE, INTERNAL = grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL
PAINTING = GenerationRequest(prompt="a quiet harbor", seeds=(1, 2, 3))
GROUP = TrajectoryRequest(prompt="a quiet harbor", seeds=(1, 2, 3), window=NoiseWindow(), steps=4)
RUN = OptimizationRequest(prompt="a quiet harbor", target=AffectPoint(7, 3), rounds=2, images=2)


class Threaded:
    """The synchronous client with the asynchronous one's manners, so that one test serves both."""

    def __init__(self, client: object) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if not callable(attribute):
            return Threaded(attribute)
        if "Iterator" in str(inspect.signature(attribute).return_annotation):
            return lambda given, **named: self._stream(partial(attribute, **named), given)
        return lambda *given, **named: asyncio.to_thread(attribute, *given, **named)

    async def _stream(self, method: Callable[..., Iterator[Any]], given: Any) -> AsyncIterator[Any]:
        end = object()
        if hasattr(given, "__aiter__"):
            given = [item async for item in given]
        events = await asyncio.to_thread(method, given)
        try:
            while (event := await asyncio.to_thread(next, events, end)) is not end:
                yield event
        finally:
            await asyncio.to_thread(events.close)


@pytest.fixture(params=[AsyncClient, Client])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes clients of either kind for an address; both are closed at the end."""
    clients: list[Client] = []

    def make(address: str, **options: Any) -> Any:
        client = request.param(address, **{"retry": QUICK, **options})
        if isinstance(client, AsyncClient):
            return client
        clients.append(client)
        return Threaded(client)

    yield make
    for client in clients:
        client.close()


@pytest.fixture
async def services() -> AsyncIterator[Services]:
    async with serving(Services()) as running:
        yield running


async def collect(events: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in events]


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass within 5 s"
        await asyncio.sleep(0.01)


# --- what it can do ----------------------------------------------------------------------------------------------


async def test_every_image_arrives_with_its_bytes_and_model(services: Services, connect: Any) -> None:
    events = await collect(connect(services.address).generator.generate(PAINTING))
    assert events[0] == GenerationQueued(images_ahead=0)
    images = [event for event in events if isinstance(event, GeneratedImage)]
    assert [(image.index, image.seed, look(image.data).seed) for image in images] == [(0, 1, 1), (1, 2, 2), (2, 3, 3)]
    assert {image.model for image in images} == {GENERATOR_MODEL}


async def test_trajectories_arrive_as_they_were_sampled(services: Services, connect: Any) -> None:
    request = replace(GROUP, guidance=2.0)
    events = await collect(connect(services.address).generator.sample_trajectories(request))
    assert events == await collect(ScriptedGenerator().sample_trajectories(request))
    assert [type(event) for event in events] == [GenerationQueued, GroupStarted] + [Trajectory] * 3


async def test_the_generator_names_its_model_and_its_policies(connect: Any) -> None:
    scripted = Services(generator=ScriptedGenerator(known_policies=("warm", "cold")))
    async with serving(scripted):
        client = connect(scripted.address)
        assert await client.generator.model() == GENERATOR_MODEL
        assert tuple(await client.generator.policies()) == ("warm", "cold")


async def test_the_judge_answers_as_it_does_in_process(services: Services, connect: Any) -> None:
    judge = connect(services.address).judge
    pictures = [paint("a harbor", seed) for seed in range(3)]
    conversation = (Message(role="user", parts=(pictures[0], "why?")),)
    local = ScriptedJudge()
    assert await judge.assess(pictures, reasoning=True) == await local.assess(pictures, reasoning=True)
    assert await judge.score(pictures, "a harbor") == await local.score(pictures, "a harbor")
    assert await judge.compare_texts("a", ["b", "c"]) == await local.compare_texts("a", ["b", "c"])
    assert await judge.converse([conversation], Decoding()) == await local.converse([conversation], Decoding())
    assert await judge.model() == JUDGE_MODEL


async def arriving(pictures: list[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    for key, picture in enumerate(pictures):
        yield key, picture


async def test_streamed_images_are_answered_under_their_keys(services: Services, connect: Any) -> None:
    pictures = [paint("a harbor", seed) for seed in range(12)]
    answers = dict(await collect(connect(services.address).judge.assess_stream(arriving(pictures))))
    assert answers == {key: arbitrary_feeling(look(picture)) for key, picture in enumerate(pictures)}


async def test_a_streamed_image_is_answered_before_the_next_is_there(services: Services) -> None:
    answered = asyncio.Event()

    async def one_by_one() -> AsyncIterator[tuple[int, bytes]]:
        yield 1, paint("a harbor", 1)
        await asyncio.wait_for(answered.wait(), 5)
        yield 2, paint("a harbor", 2)

    async with AsyncClient(services.address) as client:
        keys = []
        async for key, _ in client.judge.assess_stream(one_by_one()):
            keys.append(key)
            answered.set()
    assert keys == [1, 2]


async def test_a_run_tells_its_events_and_ends_with_the_answer(services: Services, connect: Any) -> None:
    events = await collect(connect(services.address).optimize(RUN))
    assert isinstance(events[0], RoundStarted)
    assert [event.round.index for event in events if isinstance(event, RoundFinished)] == [0, 1]
    assert isinstance(events[-1], OptimizationFinished)


async def test_create_returns_the_best_picture_over_all_rounds(services: Services, connect: Any) -> None:
    creation = await connect(services.address).create("a quiet harbor", target=AffectPoint(7, 3), rounds=2, images=3)
    losses = [candidate.loss for done in creation.rounds for candidate in done.candidates]
    assert creation.loss == min(losses)
    assert look(creation.image).seed == creation.seed
    assert look(creation.image).prompt == creation.prompt
    assert creation.assessment == arbitrary_feeling(look(creation.image))
    assert (creation.generator, creation.judge) == (GENERATOR_MODEL, JUDGE_MODEL)


async def test_create_takes_an_emotion_by_name(services: Services, connect: Any) -> None:
    await connect(services.address).create("a quiet harbor", emotion="awe", rounds=1, images=1)
    [call] = services.asked("Optimize")
    assert (call.request.target.point.valence, call.request.target.point.arousal) == (6.85, 3.83)


async def test_create_wants_a_target_or_an_emotion(services: Services, connect: Any) -> None:
    client = connect(services.address)
    for given in ({}, {"target": AffectPoint(7, 3), "emotion": "awe"}, {"emotion": "boredom"}):
        with pytest.raises(InvalidRequest, match="target"):
            await client.create("a quiet harbor", **given)
    assert not services.calls


async def test_the_three_steps_stand_on_their_own(services: Services, connect: Any) -> None:
    client = connect(services.address)
    pictures = [paint("a harbor", seed) for seed in range(2)]
    near, far = [arbitrary_feeling(look(picture)) for picture in pictures]
    target = near.point
    losses = await client.compute_loss(LossRequest(target=target, assessments=(near, far)))
    assert (losses.losses[0], losses.best, losses.worst) == (0, 0, 1)
    gradient = await client.estimate_gradient(
        GradientRequest(
            prompt="a harbor",
            target=target,
            best_image=pictures[0],
            best=near,
            worst_image=pictures[1],
            worst=far,
        )
    )
    assert gradient.analysis
    assert gradient.model == JUDGE_MODEL
    rewrite = await client.update_prompt(
        UpdateRequest(original_prompt="a harbor", prompt="a harbor", analysis=gradient.analysis, target=target)
    )
    assert "harbor" in rewrite.prompt
    assert not rewrite.fell_back


async def test_every_call_names_its_application_for_ray_serve(services: Services, connect: Any) -> None:
    client = connect(services.address)
    await client.generator.model()
    await client.judge.model()
    await collect(client.optimize(RUN))
    assert [call.metadata["application"] for call in services.calls] == ["generator", "judge", "optimizer"]


# --- errors ------------------------------------------------------------------------------------------------------


async def test_errors_of_a_service_come_back_as_they_were_raised(services: Services, connect: Any) -> None:
    client = connect(services.address)
    with pytest.raises(InvalidRequest) as invalid:
        await collect(client.generator.generate(GenerationRequest(prompt=" ", seeds=())))
    assert [violation.field for violation in invalid.value.violations] == ["prompt", "seeds"]
    with pytest.raises(NotFound, match="no policy 'dada'"):
        await collect(client.generator.generate(GenerationRequest(prompt="a", seeds=(1,), policy="dada")))
    assert len(services.calls) == 2, "neither error makes sense to retry"


@pytest.mark.parametrize("given", [{"seeds": (2**70,)}, {"seeds": (1,), "steps": 2**40}])
async def test_numbers_that_no_message_can_hold_are_named_too(
    services: Services, connect: Any, given: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest, match="must lie in"):
        await collect(connect(services.address).generator.generate(GenerationRequest(prompt="a", **given)))


async def test_a_defect_shows_a_reference_and_nothing_else(connect: Any) -> None:
    scripted = Services(judge=ScriptedJudge(failures={"assess": RuntimeError("/secret/path")}))
    async with serving(scripted):
        with pytest.raises(InternalError, match=r"reference [0-9a-f]{8}") as error:
            await connect(scripted.address).judge.assess([b"x"])
        assert "secret" not in str(error.value)
        assert len(scripted.calls) == 1, "a defect is not worth a retry"


@pytest.mark.parametrize("token", ["", "wrong", "let-me-in ", "Let-me-in"])
async def test_without_the_right_token_no_service_answers(connect: Any, token: str) -> None:
    async with serving(Services(token="let-me-in")) as scripted:
        client = connect(scripted.address, token=token)
        for call in (
            client.generator.model,
            client.judge.model,
            lambda: collect(client.generator.generate(PAINTING)),
            lambda: client.create("a harbor", emotion="awe"),
        ):
            with pytest.raises(Unauthenticated, match="token"):
                await call()
        assert await connect(scripted.address, token="let-me-in").judge.model() == JUDGE_MODEL


@pytest.mark.parametrize("kind", [AsyncClient, Client])
def test_a_token_that_no_metadata_can_carry_is_refused_at_once(kind: type) -> None:
    with pytest.raises(InvalidRequest, match=r"token: .* printable ASCII"):
        kind("127.0.0.1:9000", token="lët-me-ïn")


async def test_where_nothing_answers_the_error_says_how_to_start_it(connect: Any, unused_tcp_port: int) -> None:
    with pytest.raises(Unavailable, match=f"nothing answers at 127.0.0.1:{unused_tcp_port}.*emofeedback serve"):
        await connect(f"127.0.0.1:{unused_tcp_port}", retry=RetryPolicy(attempts=1)).judge.model()


async def test_a_request_over_the_limit_is_not_sent(services: Services, connect: Any) -> None:
    with pytest.raises(MessageTooLarge, match=f"at most {LIMITS.message_bytes}"):
        await connect(services.address).judge.assess([bytes(LIMITS.message_bytes)])
    assert not services.calls


@pytest.mark.parametrize(
    ("code", "details", "kind", "words"),
    [
        (grpc.StatusCode.UNIMPLEMENTED, "", FailedPrecondition, "does not offer GetModel"),
        (grpc.StatusCode.NOT_FOUND, "Application 'judge' not found.", NotFound, "Application 'judge' not found"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "queue full", ResourceExhausted, "no room"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 4)", MessageTooLarge, "9 vs. 4"),
        (grpc.StatusCode.UNAVAILABLE, "errors resolving nowhere:9000", Unavailable, "nothing answers"),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", Unavailable, "connection to .* broke"),
        (grpc.StatusCode.INTERNAL, "The actor died", InternalError, "broke off"),
    ],
)
async def test_bare_statuses_become_typed_errors(
    services: Services, connect: Any, code: grpc.StatusCode, details: str, kind: type[EmoFeedbackError], words: str
) -> None:
    services.faults["GetModel"] = [Fault(code, details)] * 10
    with pytest.raises(kind, match=words) as error:
        await connect(services.address).judge.model()
    assert type(error.value) is kind


# --- retries and deadlines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [UNAVAILABLE, INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED])
async def test_a_call_that_fails_twice_succeeds_the_third_time(
    services: Services, connect: Any, code: grpc.StatusCode
) -> None:
    services.faults["AssessImages"] = [Fault(code)] * 2
    assert len(await connect(services.address).judge.assess([paint("a", 1)])) == 1
    ids = {call.request.request_id for call in services.asked("AssessImages")}
    assert len(services.asked("AssessImages")) == 3
    assert len(ids) == 1 and ids != {""}, "all tries bear one id"


async def test_a_policy_of_one_attempt_never_retries(services: Services, connect: Any) -> None:
    services.faults["GetModel"] = [Fault(UNAVAILABLE)]
    with pytest.raises(Unavailable):
        await connect(services.address, retry=RetryPolicy(attempts=1)).judge.model()


async def test_the_server_says_when_to_come_back(connect: Any) -> None:
    full = ResourceExhausted("the queue is full", retry_after=0.4)
    scripted = Services(generator=ScriptedGenerator(failures={(0, 0): full}))
    async with serving(scripted):
        began = time.monotonic()
        await collect(connect(scripted.address).generator.generate(PAINTING))
        assert time.monotonic() - began >= 0.4
        assert len(scripted.calls) == 2


@pytest.mark.parametrize("after", range(1, 11))
async def test_a_broken_painting_goes_on_and_tells_each_event_once(
    services: Services, connect: Any, after: int
) -> None:
    services.faults["Generate"] = [Fault(UNAVAILABLE, after=after)]
    events = await collect(connect(services.address).generator.generate(PAINTING))
    assert len(services.calls) == 2
    assert services.calls[0].request == services.calls[1].request
    assert events == await collect(ScriptedGenerator().generate(PAINTING))


@pytest.mark.parametrize("after", [0, 1, 2, 3, 5])
async def test_a_broken_group_goes_on_and_tells_each_trajectory_once(
    services: Services, connect: Any, after: int
) -> None:
    services.faults["SampleTrajectories"] = [Fault(UNAVAILABLE, after=after)]
    events = await collect(connect(services.address).generator.sample_trajectories(GROUP))
    assert events == await collect(ScriptedGenerator().sample_trajectories(GROUP))
    assert len({call.request.request_id for call in services.asked("SampleTrajectories")}) == 1


async def test_a_group_that_would_go_on_with_another_model_is_given_up(
    services: Services, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a retry reaches a replica that was rolled out anew in between."""
    services.faults["SampleTrajectories"] = [Fault(UNAVAILABLE, after=3)]
    told = []
    with pytest.raises(FailedPrecondition, match=r"began with base weights of scripted-generator .* go on with"):
        async for event in connect(services.address).generator.sample_trajectories(GROUP):
            told.append(event)
            if isinstance(event, Trajectory):
                monkeypatch.setattr(fakes, "GENERATOR_MODEL", replace(GENERATOR_MODEL, digest="sha256:" + "9" * 64))
    assert [type(event) for event in told] == [GenerationQueued, GroupStarted, Trajectory]


async def test_a_stream_that_makes_progress_may_break_more_often_than_attempts(
    services: Services, connect: Any
) -> None:
    services.faults["Generate"] = [Fault(INTERNAL, after=after) for after in range(1, 8)]
    events = await collect(connect(services.address, retry=QUICK).generator.generate(PAINTING))
    assert len(events) == 10


@pytest.mark.parametrize("after", [1, 9, 10, 15, 19, 20])
async def test_a_broken_run_goes_on_after_its_last_finished_round(services: Services, connect: Any, after: int) -> None:
    services.faults["Optimize"] = [Fault(INTERNAL, "The actor died", after=after)]
    events = await collect(connect(services.address).optimize(RUN))
    kinds = [type(event) for event in events if isinstance(event, RoundStarted | RoundFinished | OptimizationFinished)]
    assert kinds == [RoundStarted, RoundFinished, RoundStarted, RoundFinished, OptimizationFinished]
    first, second = (call.request for call in services.asked("Optimize"))
    finished_before = sum(isinstance(event, RoundFinished) for event in events[:after])
    assert len(second.resume.rounds) == finished_before
    assert (first.request_id == second.request_id) == (finished_before == 0)


async def test_a_broken_run_still_creates_its_picture(services: Services, connect: Any) -> None:
    services.faults["Optimize"] = [Fault(UNAVAILABLE, after=after) for after in (14, 3)]
    creation = await connect(services.address).create("a quiet harbor", target=AffectPoint(7, 3), rounds=3, images=2)
    assert len(creation.rounds) == 3
    assert look(creation.image).seed == creation.seed


async def test_images_without_an_answer_go_again_after_a_break(services: Services, connect: Any) -> None:
    services.faults["AssessStream"] = [Fault(INTERNAL), Fault(INTERNAL, after=3), Fault(UNAVAILABLE, after=2)]
    pictures = [paint("a harbor", seed) for seed in range(12)]
    answers = await collect(connect(services.address).judge.assess_stream(arriving(pictures)))
    assert sorted(key for key, _ in answers) == list(range(12))


async def test_images_that_go_again_name_their_person_again(services: Services, connect: Any) -> None:
    services.faults["AssessStream"] = [Fault(INTERNAL), Fault(INTERNAL, after=2)]
    pictures = [paint("a harbor", seed) for seed in range(6)]
    answers = await collect(connect(services.address).judge.assess_stream(arriving(pictures), user="ada"))
    assert sorted(key for key, _ in answers) == list(range(6))
    assert set(services.judge.users) == {"ada"}


async def test_a_run_for_a_person_stays_theirs_over_a_break(services: Services, connect: Any) -> None:
    services.faults["Optimize"] = [Fault(UNAVAILABLE, after=14)]
    creation = await connect(services.address).create("a quiet harbor", emotion="awe", rounds=2, images=2, user="ada")
    assert len(creation.rounds) == 2
    assert [call.request.user for call in services.asked("Optimize")] == ["ada", "ada"]
    assert set(services.judge.users) == {"ada"}


# A stream that ends well and too early: what Serve's proxy makes of some replicas' deaths.


@pytest.mark.parametrize("after", [0, 2])
async def test_assessments_that_end_too_early_are_asked_for_again(services: Services, connect: Any, after: int) -> None:
    pictures = [paint("a boat", seed) for seed in range(4)]
    services.faults["AssessStream"] = [Fault(OK, after=after)]
    answers = await collect(connect(services.address).judge.assess_stream(arriving(pictures)))
    assert sorted(key for key, _ in answers) == [0, 1, 2, 3]
    assert len(services.asked("AssessStream")) == 2


@pytest.mark.parametrize("after", [0, 1, 4, 9])
async def test_a_painting_that_ends_too_early_goes_on(services: Services, connect: Any, after: int) -> None:
    services.faults["Generate"] = [Fault(OK, after=after)]
    events = await collect(connect(services.address).generator.generate(PAINTING))
    assert events == await collect(ScriptedGenerator().generate(PAINTING))
    assert len({call.request.request_id for call in services.asked("Generate")}) == 1
    assert len(services.calls) == 2


@pytest.mark.parametrize("after", [0, 2, 4])
async def test_a_group_that_ends_too_early_goes_on(services: Services, connect: Any, after: int) -> None:
    services.faults["SampleTrajectories"] = [Fault(OK, after=after)]
    events = await collect(connect(services.address).generator.sample_trajectories(GROUP))
    assert events == await collect(ScriptedGenerator().sample_trajectories(GROUP))
    assert len(services.calls) == 2


@pytest.mark.parametrize("after", [0, 1, 12, 19])
async def test_a_run_that_ends_too_early_goes_on(services: Services, connect: Any, after: int) -> None:
    services.faults["Optimize"] = [Fault(OK, after=after)]
    creation = await connect(services.address).create("a quiet harbor", target=AffectPoint(7, 3), rounds=2, images=2)
    assert len(creation.rounds) == 2
    assert len(services.asked("Optimize")) == 2


@pytest.mark.parametrize("after", [0, 1, 3, 5])
async def test_a_watch_that_ends_before_its_run_is_over_goes_on(connect: Any, after: int) -> None:
    def changed(state: RunState) -> RunStateChanged:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        run = Run(name="calm", config="", state=state, created=now, updated=now, folder="runs/calm", policies="")
        return RunStateChanged(run=run)

    done = [IterationDone(iteration=iteration, figures={}) for iteration in (1, 2, 3, 4)]
    told = [changed(RunState.RUNNING), *done, changed(RunState.FINISHED)]
    async with serving(Services(runs=told)) as scripted:
        scripted.faults["WatchRun"] = [Fault(OK, after=after)]
        assert await collect(connect(scripted.address).trainer.watch("calm")) == told
        assert [call.request.from_iteration for call in scripted.asked("WatchRun")] == [0, max(after - 1, 0)]


async def test_a_stream_that_ends_too_early_again_and_again_is_unavailable(services: Services, connect: Any) -> None:
    services.faults["Generate"] = [Fault(OK, after=3)] * 10
    with pytest.raises(Unavailable, match=r"Generate: .* ended the stream before everything was told"):
        await collect(connect(services.address).generator.generate(PAINTING))
    assert len(services.calls) == QUICK.attempts


async def test_an_error_of_the_callers_own_images_is_raised_as_it_is(services: Services) -> None:
    async def broken() -> AsyncIterator[tuple[int, bytes]]:
        yield 1, paint("a harbor", 1)
        raise LookupError("no more pictures")

    async with AsyncClient(services.address) as client:
        with pytest.raises(LookupError, match="no more pictures"):
            await collect(client.judge.assess_stream(broken()))


async def test_a_slow_reply_is_cut_off_at_the_deadline(connect: Any) -> None:
    scripted = Services(judge=ScriptedJudge(delay=30), generator=ScriptedGenerator(delay=30))
    async with serving(scripted):
        client = connect(scripted.address, deadlines=Deadlines(total=0.3))
        began = time.monotonic()
        for call in (
            lambda: client.judge.assess([paint("a", 1)]),
            lambda: collect(client.generator.generate(PAINTING)),
        ):
            with pytest.raises(DeadlineExceeded):
                await call()
        assert time.monotonic() - began < 3
        await until(lambda: scripted.judge.cancelled == 1 and scripted.generator.closed_early == 1)


async def test_a_hanging_try_is_given_up_and_repeated(services: Services, connect: Any) -> None:
    services.judge.delay = 30
    client = connect(services.address, deadlines=Deadlines(attempt=0.2, total=10))

    async def recover() -> None:
        await until(lambda: len(services.calls) == 2)
        services.judge.delay = 0

    answers, _ = await asyncio.gather(client.judge.assess([paint("a", 1)]), recover())
    assert len(answers) == 1
    assert len(services.calls) == 3


# --- leaving -----------------------------------------------------------------------------------------------------


async def test_leaving_a_stream_stops_the_work(connect: Any) -> None:
    scripted = Services(generator=ScriptedGenerator(steps=1000, delay=0.01))
    async with serving(scripted):
        events = connect(scripted.address).generator.generate(PAINTING)
        async for _ in events:
            break
        await events.aclose()
        await until(lambda: scripted.generator.closed_early == 1)
        assert scripted.generator.steps_done < 100


async def test_cancelling_a_call_stops_the_work() -> None:
    scripted = Services(judge=ScriptedJudge(delay=30))
    async with serving(scripted), AsyncClient(scripted.address) as client:
        call = asyncio.create_task(client.judge.assess([paint("a", 1)]))
        await until(lambda: bool(scripted.judge.calls))
        call.cancel()
        await until(lambda: scripted.judge.cancelled == 1)


async def test_a_client_can_be_made_before_any_event_loop_runs() -> None:
    async with serving(Services()) as scripted:
        client = await asyncio.to_thread(AsyncClient, scripted.address)
        assert await client.judge.model() == JUDGE_MODEL
        await client.close()


def test_ctrl_c_while_waiting_for_a_stream_stops_the_work() -> None:
    scripted = Services(generator=ScriptedGenerator(delay=30))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with serving_in_a_thread(scripted), Client(scripted.address) as client:
        previous = signal.signal(signal.SIGALRM, interrupt)
        try:
            events = client.generator.generate(PAINTING)
            next(events)
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt):
                next(events)
        finally:
            signal.signal(signal.SIGALRM, previous)
        asyncio.run(until(lambda: scripted.generator.closed_early == 1))
        assert client.generator.model() == GENERATOR_MODEL, "the client itself is still good"


@contextmanager
def serving_in_a_thread(services: Services) -> Iterator[None]:
    """For tests whose own thread must be free to be interrupted."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    context = serving(services)
    asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


# --- one surface -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asynchronous", "part"), [(AsyncClient, ""), (AsyncClient, "generator"), (AsyncClient, "judge")]
)
def test_both_clients_have_the_same_methods_and_parameters(asynchronous: type, part: str) -> None:
    def surface(kind: Any) -> dict[str, list[tuple[str, Any, Any]]]:
        client = kind("127.0.0.1:1")
        owner = getattr(client, part) if part else client
        return {
            name: [(p.name, p.kind, p.default) for p in inspect.signature(method).parameters.values()]
            for name, method in inspect.getmembers(owner, callable)
            if not name.startswith("_")
        }

    assert surface(AsyncClient) == surface(Client)
    assert surface(Client)
