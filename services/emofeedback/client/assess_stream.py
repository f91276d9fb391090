"""Assessing images as they come, over breaks: what was sent and not answered is sent again.

No call is open while there is nothing to send: a service ends those that are silent.
"""

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
        while unanswered or await _take(source, unanswered) is not None:
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
                source.release()
                source.raise_failure()
                if unanswered or not error.retryable:
                    await effort.pause_after(error)
        source.raise_failure()


async def _requests(unanswered: dict[int, bytes], source: _Source, user: str) -> AsyncIterator[pb.AssessStreamRequest]:
    """What one try sends: first again what is unanswered, then what comes."""
    for key, image in list(unanswered.items()):
        yield pb.AssessStreamRequest(key=key, image=image, user=user)
    while (taken := await _take(source, unanswered)) is not None:
        yield pb.AssessStreamRequest(key=taken, image=unanswered[taken], user=user)


async def _take(source: _Source, unanswered: dict[int, bytes]) -> int | None:
    """Waits for the next image, which is unanswered from then on; returns its key, None at the end."""
    keyed = await source.next()
    if keyed is None:
        return None
    key, unanswered[key] = keyed
    return key


class _Source:
    """The caller's iterator, read in a task of its own: gRPC cancels what it reads from when a call breaks."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(_SENT_AHEAD)
        self._failure: Exception | None = None
        self._ended = False
        self._waiting: asyncio.Future[tuple[int, bytes] | None] | None = None

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
            self._waiting = asyncio.ensure_future(self._queue.get())
            try:
                keyed = await self._waiting
            finally:
                self._waiting = None
            if keyed is not None:
                return keyed
            self._ended = True
        return None

    def release(self) -> None:
        """Ends the wait of a call that is over: gRPC goes on reading for one that the server ended, and would take
        the next image for nobody."""
        if self._waiting is not None:
            self._waiting.cancel()

    def raise_failure(self) -> None:
        """Raises what the caller's iterator raised."""
        if self._failure is not None:
            raise self._failure
