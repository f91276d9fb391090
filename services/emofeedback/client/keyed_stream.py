"""What is sent to the judge as it comes, over breaks: what was sent and not answered is sent again.

No call is open while there is nothing to send: a service ends those that are silent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, Protocol, TypeVar

from emofeedback.client.connection import Connection, Service, decoded
from emofeedback.client.failures import ended_early
from emofeedback.domain.errors import EmoFeedbackError
from emofeedback.v1.judge_pb2_grpc import JudgeServiceStub

Outcome = TypeVar("Outcome")

JUDGE = Service("judge", JudgeServiceStub)
_SENT_AHEAD = 8
"""Requests taken from the source before gRPC has room for them."""


class Keyed(Protocol):
    """A message of a stream."""

    key: int


async def keyed_stream(
    connection: Connection, method: str, requests: AsyncIterator[Keyed], read: Callable[[Any], Outcome]
) -> AsyncGenerator[tuple[int, Outcome], None]:
    """Outcomes under the keys of their requests, as `method` answers them; `read` makes one of its message.

    An error of `requests` itself is raised as it is.
    """
    effort = connection.effort()
    unanswered: dict[int, Keyed] = {}
    async with _Source.of(requests) as source:
        while unanswered or await _take(source, unanswered) is not None:
            sending = _sent(unanswered, source)
            try:
                async with aclosing(connection.events(JUDGE, method, sending, effort)) as responses:
                    async for response in responses:
                        if unanswered.pop(response.key, None) is not None:
                            effort.progress()
                            yield response.key, decoded(read, response.outcome)
                source.raise_failure()
                if unanswered:
                    raise ended_early(method, connection.address)
                return
            except EmoFeedbackError as error:
                source.release()
                source.raise_failure()
                if unanswered or not error.retryable:
                    await effort.pause_after(error)
        source.raise_failure()


async def _sent(unanswered: dict[int, Keyed], source: _Source) -> AsyncIterator[Any]:
    """What one try sends: first again what is unanswered, then what comes."""
    for request in list(unanswered.values()):
        yield request
    while (taken := await _take(source, unanswered)) is not None:
        yield taken


async def _take(source: _Source, unanswered: dict[int, Keyed]) -> Keyed | None:
    """Waits for the next request, which is unanswered from then on; None at the end."""
    request = await source.next()
    if request is not None:
        unanswered[request.key] = request
    return request


class _Source:
    """The caller's iterator, read in a task of its own: gRPC cancels what it reads from when a call breaks."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Keyed | None] = asyncio.Queue(_SENT_AHEAD)
        self._failure: Exception | None = None
        self._ended = False
        self._waiting: asyncio.Future[Keyed | None] | None = None

    @classmethod
    @asynccontextmanager
    async def of(cls, requests: AsyncIterator[Keyed]) -> AsyncIterator[_Source]:
        source = cls()
        reading = asyncio.create_task(source._read(requests))
        try:
            yield source
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    async def _read(self, requests: AsyncIterator[Keyed]) -> None:
        try:
            async for request in requests:
                await self._queue.put(request)
        except Exception as error:
            self._failure = error
        await self._queue.put(None)

    async def next(self) -> Keyed | None:
        """The next request; None at the end, every time it is asked."""
        if not self._ended:
            self._waiting = asyncio.ensure_future(self._queue.get())
            try:
                request = await self._waiting
            finally:
                self._waiting = None
            if request is not None:
                return request
            self._ended = True
        return None

    def release(self) -> None:
        """Ends the wait of a call that is over: gRPC goes on reading for one that the server ended, and would take
        the next request for nobody."""
        if self._waiting is not None:
            self._waiting.cancel()

    def raise_failure(self) -> None:
        """Raises what the caller's iterator raised."""
        if self._failure is not None:
            raise self._failure
