"""The SDK while services are started anew: calls outlast it, say so, and keep to their deadlines."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from emofeedback import Deadlines, NothingAnswers, RetryPolicy, Waiting
from support.fakes import JUDGE_MODEL, ScriptedGenerator, ScriptedJudge, paint
from support.scripted_services import PAINTING, RUN, Services, arriving, collect, serving, until

PATIENT = RetryPolicy(initial_backoff=0.05, maximum_backoff=0.2)
"""As by default, but that it looks more often, so that a test may be short."""


async def while_starting(port: int, call: Callable[[], Any], starting: Awaitable[None]) -> Any:
    """What a call comes to that begins before the services answer at the port, as they do after `starting`."""
    calling = asyncio.ensure_future(call())
    await starting
    async with serving(Services(), port):
        return await asyncio.wait_for(calling, 60)


@pytest.mark.parametrize("kind", ["unary", "stream", "run", "both ways"])
async def test_a_call_that_begins_while_nothing_answers_is_answered_once_something_does(
    connect: Any, unused_tcp_port: int, kind: str
) -> None:
    client = connect(f"127.0.0.1:{unused_tcp_port}", retry=PATIENT)
    pictures = [paint("a harbor", seed) for seed in range(3)]
    calls: dict[str, Callable[[], Any]] = {
        "unary": client.judge.model,
        "stream": lambda: collect(client.generator.generate(PAINTING)),
        "run": lambda: collect(client.optimize(RUN)),
        "both ways": lambda: collect(client.judge.assess_stream(arriving(pictures))),
    }
    answer = await while_starting(unused_tcp_port, calls[kind], asyncio.sleep(2.5))
    expected: dict[str, Callable[[], bool]] = {
        "unary": lambda: answer == JUDGE_MODEL,
        "stream": lambda: len(answer) == len([e for e in answer if e]) > len(PAINTING.seeds),
        "run": lambda: type(answer[-1]).__name__ == "OptimizationFinished",
        "both ways": lambda: sorted(key for key, _ in answer) == [0, 1, 2],
    }
    assert expected[kind]()


async def test_a_painting_outlasts_its_server_being_killed_and_started_anew(connect: Any, unused_tcp_port: int) -> None:
    before, after = Services(generator=ScriptedGenerator(delay=0.2)), Services()
    client = connect(f"127.0.0.1:{unused_tcp_port}", retry=PATIENT)
    calling = asyncio.ensure_future(collect(client.generator.generate(PAINTING)))
    async with serving(before, unused_tcp_port):
        while not before.calls:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        assert before.server is not None
        await before.server.stop(None)
    await asyncio.sleep(2.5)
    async with serving(after, unused_tcp_port):
        events = await asyncio.wait_for(calling, 60)
    assert len(events) == len(await collect(ScriptedGenerator().generate(PAINTING)))
    assert before.calls[0].request.request_id == after.calls[-1].request.request_id != ""


async def test_it_is_said_that_a_call_waits_why_and_for_how_long(connect: Any, unused_tcp_port: int) -> None:
    told: list[Waiting] = []
    client = connect(f"127.0.0.1:{unused_tcp_port}", retry=replace(PATIENT, on_wait=told.append))
    starting = until(lambda: len(told) >= 3 and told[-1].waited > 0.5)
    await while_starting(unused_tcp_port, client.judge.model, starting)
    assert all(isinstance(waiting.error, NothingAnswers) and 0 <= waiting.seconds <= 0.2 for waiting in told)
    assert told[0].waited == 0


async def test_without_a_listener_the_log_says_it(
    connect: Any, unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(f"127.0.0.1:{unused_tcp_port}", retry=replace(PATIENT, patience=0.3))
    with pytest.raises(NothingAnswers):
        await client.judge.model()
    [record] = caplog.records
    assert (record.name, record.levelno) == ("emofeedback.client", logging.WARNING)
    assert f"nothing answers at 127.0.0.1:{unused_tcp_port}" in record.getMessage()
    assert "next try in" in record.getMessage()


async def test_patience_ends_and_so_does_a_deadline_before_it(connect: Any, unused_tcp_port: int) -> None:
    slow = RetryPolicy(initial_backoff=10.0)
    for options in ({"retry": replace(PATIENT, patience=0.5)}, {"retry": slow, "deadlines": Deadlines(total=5.0)}):
        began = time.monotonic()
        with pytest.raises(NothingAnswers, match="emofeedback serve"):
            await connect(f"127.0.0.1:{unused_tcp_port}", **options).judge.model()
        assert time.monotonic() - began < 60, "by itself it would wait for two minutes"


async def test_many_calls_of_one_client_come_back_a_few_at_a_time(connect: Any) -> None:
    """All fail at once; their second tries are spread by the bucket that they share, and none is lost."""
    failing = [NothingAnswers("the application judge is being started")] * 30
    async with serving(Services(judge=ScriptedJudge())) as scripted:
        at: list[float] = []
        original = scripted.judge.assess

        async def assess(*given: Any, **named: Any) -> Any:
            at.append(time.monotonic())
            if failing:
                raise failing.pop()
            return await original(*given, **named)

        scripted.judge.assess = assess  # type: ignore[method-assign]
        retry = RetryPolicy(initial_backoff=0.01, retries_per_second=10.0)
        client = connect(scripted.address, retry=retry)
        answers = await asyncio.gather(*(client.judge.assess([paint("a", seed)]) for seed in range(30)))
    assert len(answers) == 30 and len(at) == 60
    assert at[-1] - at[0] > 1.5, "thirty second tries, ten of them at once, take two seconds at ten a second"
