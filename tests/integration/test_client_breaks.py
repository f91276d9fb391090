"""The SDK when calls break, end too early, take too long, or are left: both clients behave alike."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from emofeedback import AffectPoint, AsyncClient, Client, Deadlines, RetryPolicy
from emofeedback.domain.errors import DeadlineExceeded, FailedPrecondition, ResourceExhausted, Unavailable
from emofeedback.domain.generation import GenerationQueued, GroupStarted, Trajectory
from emofeedback.domain.optimization import OptimizationFinished, RoundFinished, RoundStarted
from emofeedback.domain.questions import Question
from emofeedback.domain.training import IterationDone, RunEvent, RunState, RunStateChanged, TrainingRun
from support import fakes
from support.fakes import GENERATOR_MODEL, JUDGE_MODEL, ScriptedGenerator, ScriptedJudge, look, paint
from support.scripted_services import GROUP, PAINTING, QUICK, RUN, Fault, Services, arriving, collect, serving, until

OK, UNAVAILABLE, INTERNAL = grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL


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


async def test_questions_without_an_answer_go_again_after_a_break(services: Services, connect: Any) -> None:
    services.faults["AskStream"] = [Fault(INTERNAL), Fault(INTERNAL, after=2), Fault(OK, after=1)]
    asked = [Question(images=(paint("a harbor", seed),), text=f"{seed}?") for seed in range(6)]
    answers = await collect(connect(services.address).judge.ask_stream(arriving(asked)))
    assert sorted(key for key, _ in answers) == list(range(6))
    services.faults["Ask"] = [Fault(UNAVAILABLE), Fault(INTERNAL)]
    assert len(await connect(services.address).judge.ask(asked)) == 6
    assert len({call.request.request_id for call in services.asked("Ask")}) == 1


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
        run = TrainingRun(
            name="calm", config="", state=state, created=now, updated=now, folder="runs/calm", policies=""
        )
        return RunStateChanged(run=run)

    done = [IterationDone(iteration=iteration, metrics={}) for iteration in (1, 2, 3, 4)]
    told: list[RunEvent] = [changed(RunState.RUNNING), *done, changed(RunState.FINISHED)]
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
        assert time.monotonic() - began < 30
        judge, generator = scripted.judge, scripted.generator
        await until(lambda: judge.cancelled == len(judge.calls) and generator.closed_early == len(generator.requests))


async def test_a_hanging_try_is_given_up_and_repeated(services: Services, connect: Any) -> None:
    services.judge.delay = 30
    retry, deadlines = replace(QUICK, attempts=100), Deadlines(attempt=0.5, total=60)
    client = connect(services.address, retry=retry, deadlines=deadlines)

    async def recover() -> None:
        await until(lambda: len(services.calls) >= 2)
        services.judge.delay = 0

    answers, _ = await asyncio.gather(client.judge.assess([paint("a", 1)]), recover())
    assert len(answers) == 1
    assert len(services.calls) >= 3


# --- leaving -----------------------------------------------------------------------------------------------------


async def test_leaving_a_stream_stops_the_work(connect: Any) -> None:
    scripted = Services(generator=ScriptedGenerator(steps=1000, delay=0.1))
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
            with pytest.raises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 0.2)
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
