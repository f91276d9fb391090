"""The items of a stream are waited for only so long."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from emofeedback.domain.errors import InvalidRequest, Unavailable
from emofeedback.judge.keyed_stream import KeyedStream
from emofeedback.v1 import judge_pb2 as pb
from emofeedback.wire import streamed_image_from_proto


class Caller:
    """Sends what it is told to, when it is told to."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[pb.AssessStreamRequest | None] = asyncio.Queue()

    def send(self, key: int, image: bytes = b"picture", user: str = "ada") -> None:
        self._messages.put_nowait(pb.AssessStreamRequest(key=key, image=image, user=user))

    def end(self) -> None:
        self._messages.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[pb.AssessStreamRequest]:
        while (message := await self._messages.get()) is not None:
            yield message


def read(message: pb.AssessStreamRequest) -> tuple[int, bytes]:
    return streamed_image_from_proto(message, "ada")


def stream(caller: Caller, *, first: float = 60.0, idle: float = 0.05) -> KeyedStream[pb.AssessStreamRequest]:
    return KeyedStream(aiter(caller), first_seconds=first, idle_seconds=idle)


async def test_a_stream_without_a_first_image_is_ended() -> None:
    with pytest.raises(Unavailable, match=r"^nothing was sent for 0\.05 s; open another stream when"):
        await stream(Caller(), first=0.05).first()


async def test_a_stream_whose_images_are_all_answered_is_ended_when_none_follows() -> None:
    caller = Caller()
    images = stream(caller)
    caller.send(1, user="ada")
    first = await images.first()
    assert first is not None and first.user == "ada"
    coming = images.items(read)
    assert await anext(coming) == (1, b"picture")
    images.answered()
    with pytest.raises(Unavailable, match="nothing was sent"):
        await anext(coming)


async def test_a_stream_is_not_silent_while_its_images_are_judged() -> None:
    caller = Caller()
    images = stream(caller)
    caller.send(1)
    await images.first()
    coming = images.items(read)
    await anext(coming)
    second = asyncio.ensure_future(anext(coming))
    await asyncio.wait([second], timeout=0.3)
    assert not second.done()
    caller.send(2)
    assert await second == (2, b"picture")


async def test_the_time_of_silence_begins_with_the_last_answer() -> None:
    caller = Caller()
    images = stream(caller, idle=0.4)
    caller.send(1)
    await images.first()
    coming = images.items(read)
    await anext(coming)
    second = asyncio.ensure_future(anext(coming))
    await asyncio.sleep(0.3)
    images.answered()
    answered = time.monotonic()
    with pytest.raises(Unavailable, match="nothing was sent"):
        await second
    assert time.monotonic() - answered >= 0.4


async def test_a_stream_that_ends_has_all_its_images() -> None:
    caller = Caller()
    for key in range(3):
        caller.send(key)
    caller.end()
    images = stream(caller)
    assert await images.first() is not None
    assert [key async for key, _ in images.items(read)] == [0, 1, 2]


async def test_an_image_for_somebody_else_is_refused() -> None:
    caller = Caller()
    caller.send(0, user="ada")
    caller.send(1, user="bob")
    images = stream(caller)
    await images.first()
    with pytest.raises(InvalidRequest, match="each stream is for one person"):
        [key async for key, _ in images.items(read)]
