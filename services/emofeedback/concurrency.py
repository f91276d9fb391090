"""Running things side by side without leaving any behind: what the loop needs of asyncio, and nothing else.

Whatever is started here ends here: on success, on the first failure, and when the caller closes or cancels. Failures
are raised as they are, never in an `ExceptionGroup`. No `asyncio.TaskGroup` stands in the generators: it would cancel
whoever reads them, in the middle of other work (PEP 789).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import aclosing
from typing import Any, Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")
Item = TypeVar("Item")
Result = TypeVar("Result")


class _End:
    """Marks the end of a channel, with the exception that ended it."""

    def __init__(self, failure: Exception | None) -> None:
        self.failure = failure


class Channel(Generic[T]):
    """Hands items from one task to another.

    Iterating waits for an item and gives all that are there by then, so what came together can be worked on
    together; it ends after `close`.
    """

    def __init__(self) -> None:
        self._items: asyncio.Queue[T | _End] = asyncio.Queue()

    def send(self, item: T) -> None:
        self._items.put_nowait(item)

    def close(self, failure: Exception | None = None) -> None:
        """No more items; the reader gets the failure after those that were sent before it."""
        self._items.put_nowait(_End(failure))

    async def __aiter__(self) -> AsyncIterator[list[T]]:
        items: list[T] = []
        while not isinstance(item := await self._items.get(), _End):
            items.append(item)
            if self._items.empty():
                yield items
                items = []
        if items:
            yield items
        if item.failure is not None:
            raise item.failure


async def merge(*sources: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Items of all sources in the order in which they come, until every source is over.

    Sources run ahead of the reader. The first failure is raised after the items that came before it; then,
    and when the merged stream is closed, every source is cancelled and closed before this returns.
    """
    channel: Channel[T] = Channel()
    running = len(sources)

    async def drain(source: AsyncGenerator[T, None]) -> None:
        nonlocal running
        try:
            async with aclosing(source):
                async for item in source:
                    channel.send(item)
        except Exception as error:
            channel.close(error)
        running -= 1
        if not running:
            channel.close()

    tasks = [asyncio.create_task(drain(source)) for source in sources]
    try:
        async for together in channel:
            for item in together:
                yield item
    finally:
        await cancel(*tasks)


async def both(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """The results of two calls made at once; the failure of one cancels the other."""
    tasks = asyncio.ensure_future(first), asyncio.ensure_future(second)
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancel(*tasks)


async def together(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of calls made at once; the failure of one cancels the others."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancel(*tasks)


async def cancel(*tasks: asyncio.Future[Any]) -> None:
    """Cancels what still runs and waits until it has come to its end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def as_completed(
    items: AsyncIterator[Item], work: Callable[[Item], Awaitable[Result]], *, limit: int
) -> AsyncGenerator[Result, None]:
    """The result of `work` on each item, in the order in which they are ready.

    At most `limit` items are worked on at once; further ones stay unread. The first error, of the work or of
    the items, ends the whole; so does closing the iterator, and nothing runs on after it.
    """
    arrival: asyncio.Future[Item] | None = asyncio.ensure_future(anext(items))
    working: set[asyncio.Future[Result]] = set()
    try:
        while arrival or working:
            listening: set[asyncio.Future[Any]] = {arrival} if arrival and len(working) < limit else set()
            await asyncio.wait(listening | working, return_when=asyncio.FIRST_COMPLETED)
            if arrival and arrival in listening and arrival.done():
                try:
                    working.add(asyncio.ensure_future(work(arrival.result())))
                    arrival = asyncio.ensure_future(anext(items))
                except StopAsyncIteration:
                    arrival = None
            for done in [future for future in working if future.done()]:
                working.discard(done)
                yield done.result()
    finally:
        await cancel(*working, *([arrival] if arrival else []))
