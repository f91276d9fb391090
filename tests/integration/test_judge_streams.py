"""Pictures that come one after the other: what each is answered, and whose time is over or who leaves."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from emofeedback import AsyncClient
from emofeedback.domain.errors import Unavailable
from emofeedback.judge.calibration_store import CalibrationStore
from emofeedback.judge.keyed_stream import KeyedStream
from emofeedback.rpc.silence import silent
from emofeedback.v1 import judge_pb2 as pb
from support.fakes import JUDGE_MODEL, known_of
from support.judge_service import (
    GOOD_RATING,
    PICTURE,
    ScriptedEngine,
    assess,
    failure,
    keyed,
    served,
    still_serves,
)
from support.pictures import claims


async def test_a_garbage_reply_in_a_stream_costs_only_its_own_image() -> None:
    async with served(ScriptedEngine(["garbage", GOOD_RATING])) as stub:
        replies = [reply async for reply in stub.AssessStream(iter(keyed(PICTURE, PICTURE, PICTURE)))]
    outcomes = sorted(reply.outcome.WhichOneof("outcome") for reply in replies)
    assert outcomes == ["assessment", "assessment", "failure"]
    assert {reply.key for reply in replies} == {10, 11, 12}
    assert {reply.model.name for reply in replies} == {JUDGE_MODEL.name}


async def streamed(stub: Any, *messages: pb.AssessStreamRequest) -> list[pb.AssessStreamResponse]:
    return [response async for response in stub.AssessStream(iter(messages))]


async def test_a_bad_picture_in_a_stream_is_named_by_its_key() -> None:
    async with served() as stub:
        refusal = await failure(streamed(stub, *keyed(PICTURE, claims(10_000, 10_000))))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert list(refusal.violations) == ["images[11]"]
        assert list((await failure(streamed(stub, *keyed(b"")))).violations) == ["image"]
        assert await still_serves(stub)


async def test_a_stream_without_an_image_ends_without_an_answer() -> None:
    async with served() as stub:
        assert await streamed(stub) == []


async def test_a_stream_is_judged_for_the_person_that_its_messages_name(tmp_path: Path) -> None:
    CalibrationStore(str(tmp_path)).write(known_of("ada", JUDGE_MODEL))
    async with served(calibrations=tmp_path) as stub:
        replies = await streamed(stub, *keyed(PICTURE, PICTURE, user="ada"))
    assert [reply.outcome.assessment.valence for reply in replies] == [4.5, 4.5]
    assert [reply.outcome.assessment.arousal for reply in replies] == [3, 3]


@pytest.mark.parametrize(("first", "second"), [("ada", "bob"), ("ada", ""), ("", "ada")])
async def test_a_stream_for_two_people_is_refused(tmp_path: Path, first: str, second: str) -> None:
    for user in ("ada", "bob"):
        CalibrationStore(str(tmp_path)).write(known_of(user, JUDGE_MODEL))
    async with served(calibrations=tmp_path) as stub:
        refusal = await failure(streamed(stub, *keyed(PICTURE, user=first), *keyed(PICTURE, user=second)))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    problem = f"is {second!r}, the stream began with {first!r}: each stream is for one person"
    assert refusal.violations == {"user": problem}


@pytest.mark.parametrize("has_store", [True, False])
async def test_a_stream_for_a_person_that_nothing_is_known_of_is_refused_before_any_picture_is_judged(
    tmp_path: Path, has_store: bool
) -> None:
    engine = ScriptedEngine()
    async with served(engine, calibrations=tmp_path if has_store else None) as stub:
        # One picture: who writes into a stream that has just been refused hears of an error of gRPC's client instead.
        of_a_stream = await failure(streamed(stub, *keyed(PICTURE, user="nobody")))
        of_a_call = await failure(assess(stub, PICTURE, user="nobody"))
    assert of_a_stream == of_a_call
    assert of_a_call.code is (grpc.StatusCode.NOT_FOUND if has_store else grpc.StatusCode.FAILED_PRECONDITION)
    assert not engine.chats


async def test_the_sdk_opens_another_stream_where_the_service_has_ended_a_silent_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened, ended = [], []

    def impatient(messages: Any) -> KeyedStream[Any]:
        opened.append(messages)
        return KeyedStream(messages, idle_seconds=0.05)

    def told(seconds: float) -> Unavailable:
        ended.append(seconds)
        return silent(seconds)

    monkeypatch.setattr("emofeedback.judge.servicer.KeyedStream", impatient)
    monkeypatch.setattr("emofeedback.judge.keyed_stream.silent", told)

    async def painted_slowly() -> AsyncIterator[tuple[int, bytes]]:
        for key in range(3):
            while len(ended) < key:
                await asyncio.sleep(0.01)
            yield key, PICTURE

    async with served() as stub, AsyncClient(stub.address) as client:
        outcomes = [key async for key, _ in client.judge.assess_stream(painted_slowly())]
    assert outcomes == [0, 1, 2]
    assert len(opened) == 3


async def test_a_client_that_leaves_mid_stream_stops_the_work() -> None:
    engine = ScriptedEngine(delay=30)
    async with served(engine) as stub:
        call = stub.AssessStream()
        await call.write(keyed(PICTURE)[0])
        while not engine.chats:
            await asyncio.sleep(0.01)
        call.cancel()
        while not engine.cancelled:
            await asyncio.sleep(0.01)
        engine.delay = 0
        assert await still_serves(stub)


async def test_a_client_whose_time_is_over_stops_the_work() -> None:
    engine = ScriptedEngine(delay=30)
    async with served(engine) as stub:
        late = await failure(stub.AssessImages(pb.AssessImagesRequest(images=[PICTURE]), timeout=0.3))
        assert late.code is grpc.StatusCode.DEADLINE_EXCEEDED
        while engine.chats and not engine.cancelled:
            await asyncio.sleep(0.01)
        engine.delay = 0
        assert await still_serves(stub)
