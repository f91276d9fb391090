"""Work on things while further ones arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeVar

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
