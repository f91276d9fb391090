"""Work is not done twice: requests that come again with the same `request_id` share one piece of work.

The window remembers replies for a while and within a number of bytes. A repeated unary call gets the same reply; a
repeated streaming call gets the events from the first one on, then the live rest. Failures are not remembered. Work
stops when the last call that waits for it is gone.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from emofeedback.domain.errors import Cancelled, InvalidRequest

Reply = TypeVar("Reply", bound=Message)


class Identified(Protocol):
    """A request message with an id."""

    request_id: str

    def SerializeToString(self, *, deterministic: bool = ...) -> bytes: ...


class RequestWindow:
    """The recent requests of one servicer."""

    def __init__(self, *, seconds: float = 300.0, max_bytes: int = 256 * 1024 * 1024) -> None:
        """Remembers finished work for `seconds`, and at most `max_bytes` of replies: the oldest go first, running
        work goes last (its calls go on, it just can't be repeated)."""
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0

    async def unary(self, request: Identified, work: Callable[[], Awaitable[Reply]]) -> Reply:
        """The reply of `work`, or of the work that the same request has started before.

        Raises:
            InvalidRequest: the id belongs to another request.
        """

        async def events() -> AsyncGenerator[Reply, None]:
            yield await work()

        [reply] = [reply async for reply in self.stream(request, events)]
        return reply

    async def stream(
        self, request: Identified, work: Callable[[], AsyncGenerator[Reply, None]]
    ) -> AsyncGenerator[Reply, None]:
        """The events of `work`, from the first one on, whoever started it.

        Raises:
            InvalidRequest: the id belongs to another request.
        """
        if not request.request_id:
            async with aclosing(work()) as events:
                async for event in events:
                    yield event
            return
        entry = self._entry(request, work)
        async with entry.followed():
            position = 0
            while await entry.has(position):
                yield entry.take(position)
                position += 1
        if entry.error is not None:
            raise entry.error

    def _entry(self, request: Identified, work: Callable[[], AsyncGenerator[Any, None]]) -> _Entry:
        """The entry of the request's id, made and started where there is none."""
        self._forget()
        fingerprint = _fingerprint(request)
        entry = self._entries.get(request.request_id)
        if entry is None:
            entry = self._entries[request.request_id] = _Entry(fingerprint, self._grown)
            entry.start(work)
        elif entry.fingerprint != fingerprint:
            raise InvalidRequest.of(
                "request_id", f"was used for another request within the last {self._seconds:g} seconds"
            )
        return entry

    def _grown(self, entry: _Entry, size: int) -> None:
        if entry.remembered:
            self._bytes += size
        if self._bytes > self._max_bytes:
            self._forget()

    def _forget(self) -> None:
        """Drops what failed and what is too old, then the oldest of what is too much."""
        now = time.monotonic()
        for request_id, entry in list(self._entries.items()):
            too_old = entry.finished_at is not None and now - entry.finished_at > self._seconds
            if too_old or entry.error is not None:
                self._drop(request_id)
        by_need = sorted(self._entries.items(), key=lambda item: item[1].finished_at is None)
        for request_id, _ in by_need:
            if self._bytes <= self._max_bytes:
                return
            self._drop(request_id)

    def _drop(self, request_id: str) -> None:
        entry = self._entries.pop(request_id)
        entry.remembered = False
        self._bytes -= entry.bytes


class _Entry:
    """One piece of work: a task that fills `events`, and the calls that follow it."""

    def __init__(self, fingerprint: bytes, on_growth: Callable[[_Entry, int], None]) -> None:
        self.fingerprint = fingerprint
        self.bytes = 0
        self.remembered = True
        """False once the window has dropped it."""
        self.error: Exception | None = None
        self.finished_at: float | None = None
        self._on_growth = on_growth
        self._events: list[Any] = []
        self._followers = 0
        self._furthest = 0
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    def start(self, work: Callable[[], AsyncGenerator[Any, None]]) -> None:
        """Begins the work, in a task of its own: it outlives the call that started it while others follow."""
        self._task = asyncio.create_task(self._run(work))

    async def _run(self, work: Callable[[], AsyncGenerator[Any, None]]) -> None:
        try:
            async with aclosing(work()) as events:
                async for event in events:
                    self._events.append(event)
                    size = event.ByteSize()
                    self.bytes += size
                    self._on_growth(self, size)
                    await self._notify()
                    await self._until_taken()
            self.finished_at = time.monotonic()
        except Exception as error:
            self.error = error
        except asyncio.CancelledError:
            self.error = self.error or Cancelled("the work was cancelled")
            raise
        finally:
            await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _until_taken(self) -> None:
        """Waits until the fastest follower has taken every event: work runs no faster than it is read."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._furthest >= len(self._events))

    async def has(self, position: int) -> bool:
        """Waits for the event at a position; False where the work has ended before it."""
        async with self._changed:
            if position > self._furthest or position == len(self._events):
                self._furthest = max(self._furthest, position)
                self._changed.notify_all()
            await self._changed.wait_for(
                lambda: position < len(self._events) or self.finished_at is not None or self.error is not None
            )
        return position < len(self._events)

    def take(self, position: int) -> Any:
        """The event at a position, which is kept only where somebody may still want it."""
        event = self._events[position]
        if not self.remembered and self._followers == 1:
            self._events[position] = None
        return event

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Counts a follower; the work stops with the last one, and has stopped when this returns."""
        self._followers += 1
        try:
            yield
        finally:
            self._followers -= 1
            if not self._followers and self._task is not None and not self._task.done():
                if self.finished_at is None and self.error is None:
                    self.error = Cancelled("every caller is gone")
                    self._task.cancel()
                await asyncio.wait([self._task])


def _fingerprint(request: Identified) -> bytes:
    name = type(request).__qualname__
    return hashlib.sha256(name.encode() + request.SerializeToString(deterministic=True)).digest()
