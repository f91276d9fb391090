"""Running things side by side without leaving any behind: what the loop needs of asyncio, and nothing else.

Whatever is started here ends here: on success, on the first failure, and when the caller closes or cancels.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any, Generic, TypeVar

A = TypeVar("A")


B = TypeVar("B")


T = TypeVar("T")


class _End:
    """Marks the end of a source or of a channel, with the exception that ended it."""

    def __init__(self, failure: BaseException | None = None) -> None:
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

    def close(self) -> None:
        self._items.put_nowait(_End())

    async def __aiter__(self) -> AsyncIterator[list[T]]:
        items: list[T] = []
        while not isinstance(item := await self._items.get(), _End):
            items.append(item)
            if self._items.empty():
                yield items
                items = []
        if items:
            yield items


@asynccontextmanager
async def closing(iterator: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Closes the iterator at the end where it can be closed, as generators can: `aclosing` for an interface."""
    try:
        yield iterator
    finally:
        if isinstance(iterator, AsyncGenerator):
            await iterator.aclose()


async def merge(*sources: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Items of all sources in the order in which they come, until every source is over.

    Sources run ahead of the reader. The first failure is raised after the items that came before it; then,
    and when the merged stream is closed, every source is cancelled and closed before this returns.
    """
    items: asyncio.Queue[T | _End] = asyncio.Queue()

    async def drain(source: AsyncGenerator[T, None]) -> None:
        failure: Exception | None = None
        try:
            async with aclosing(source):
                async for item in source:
                    items.put_nowait(item)
        except Exception as error:
            failure = error
        items.put_nowait(_End(failure))

    tasks = [asyncio.create_task(drain(source)) for source in sources]
    try:
        running = len(tasks)
        while running:
            item = await items.get()
            if not isinstance(item, _End):
                yield item
            elif item.failure is not None:
                raise item.failure
            else:
                running -= 1
    finally:
        await cancel(*tasks)


async def both(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """The results of two calls made at once; the failure of one cancels the other."""
    tasks = asyncio.ensure_future(first), asyncio.ensure_future(second)
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancel(*tasks)


async def cancel(*tasks: asyncio.Future[Any]) -> None:
    """Cancels what still runs and waits until it has come to its end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


Item = TypeVar("Item")


Result = TypeVar("Result")


async def as_completed(
    items: AsyncIterator[Item], work: Callable[[Item], Awaitable[Result]], *, limit: int
) -> AsyncGenerator[Result, None]:
    """The result of `work` on each item, in the order in which they are ready.

    At most `limit` items are worked on at once; further ones stay unread. The first error, of the work or of
    the items, ends the whole; so does closing the iterator, and nothing runs on after it.
    """
    arrival: asyncio.Task[Item] | None = asyncio.create_task(_next(items))
    working: set[asyncio.Task[Result]] = set()
    try:
        while arrival or working:
            listening: set[asyncio.Task[Item]] = {arrival} if arrival and len(working) < limit else set()
            await asyncio.wait({*listening, *working}, return_when=asyncio.FIRST_COMPLETED)
            if arrival and arrival in listening and arrival.done():
                try:
                    working.add(asyncio.create_task(_run(work, arrival.result())))
                    arrival = asyncio.create_task(_next(items))
                except StopAsyncIteration:
                    arrival = None
            for done in [task for task in working if task.done()]:
                working.discard(done)
                yield done.result()
    finally:
        tasks = [*working, *([arrival] if arrival else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _next(items: AsyncIterator[Item]) -> Item:
    return await anext(items)


async def _run(work: Callable[[Item], Awaitable[Result]], item: Item) -> Result:
    return await work(item)
