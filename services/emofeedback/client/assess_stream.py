"""Assessing images as they come, over breaks: what was sent and not answered is sent again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from emofeedback.client.connection import Connection, Service, decoded
from emofeedback.client.failures import ended_early
from emofeedback.domain.assessment import AssessmentOutcome
from emofeedback.domain.errors import EmoFeedbackError
from emofeedback.v1 import judge_pb2 as pb
from emofeedback.v1.judge_pb2_grpc import JudgeServiceStub
from emofeedback.wire import outcome_from_proto

JUDGE = Service("judge", JudgeServiceStub)
_SENT_AHEAD = 8
"""Images taken from the source before gRPC has room for them."""


async def assess_stream(
    connection: Connection, images: AsyncIterator[tuple[int, bytes]], user: str
) -> AsyncGenerator[tuple[int, AssessmentOutcome], None]:
    """Outcomes under the keys of their images, by a person's calibration where `user` names one.

    An error of `images` itself is raised as it is.
    """
    effort = connection.effort()
    unanswered: dict[int, bytes] = {}
    async with _Source.of(images) as source:
        while True:
            sending = _requests(unanswered, source, user)
            try:
                async with aclosing(connection.events(JUDGE, "AssessStream", sending, effort)) as responses:
                    async for response in responses:
                        if unanswered.pop(response.key, None) is not None:
                            effort.progress()
                            yield response.key, decoded(outcome_from_proto, response.outcome)
                source.raise_failure()
                if unanswered:
                    raise ended_early("AssessStream", connection.address)
                return
            except EmoFeedbackError as error:
                source.raise_failure()
                await effort.pause_after(error)


async def _requests(unanswered: dict[int, bytes], source: _Source, user: str) -> AsyncIterator[pb.AssessStreamRequest]:
    """What one try sends: first again what is unanswered, then what comes."""
    for key, image in list(unanswered.items()):
        yield pb.AssessStreamRequest(key=key, image=image, user=user)
    while (keyed := await source.next()) is not None:
        key, image = keyed
        unanswered[key] = image
        yield pb.AssessStreamRequest(key=key, image=image, user=user)


class _Source:
    """The caller's iterator, read in a task of its own: gRPC cancels what it reads from when a call breaks."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(_SENT_AHEAD)
        self._failure: Exception | None = None
        self._ended = False

    @classmethod
    @asynccontextmanager
    async def of(cls, images: AsyncIterator[tuple[int, bytes]]) -> AsyncIterator[_Source]:
        source = cls()
        reading = asyncio.create_task(source._read(images))
        try:
            yield source
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    async def _read(self, images: AsyncIterator[tuple[int, bytes]]) -> None:
        try:
            async for keyed in images:
                await self._queue.put(keyed)
        except Exception as error:
            self._failure = error
        await self._queue.put(None)

    async def next(self) -> tuple[int, bytes] | None:
        """The next image; None at the end, every time it is asked."""
        if not self._ended:
            keyed = await self._queue.get()
            if keyed is not None:
                return keyed
            self._ended = True
        return None

    def raise_failure(self) -> None:
        """Raises what the caller's iterator raised."""
        if self._failure is not None:
            raise self._failure
