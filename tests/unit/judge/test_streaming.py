"""Work on what has come while more is coming."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from emofeedback.concurrency import as_completed


async def source(*items: float, ended: list[bool] | None = None) -> AsyncIterator[float]:
    try:
        for item in items:
            yield item
    finally:
        if ended is not None:
            ended.append(True)


async def sleep(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


async def test_what_is_ready_first_comes_first() -> None:
    assert [result async for result in as_completed(source(0.6, 0.01, 0.3), sleep, limit=9)] == [0.01, 0.3, 0.6]


async def test_work_begins_before_everything_has_arrived() -> None:
    first_done = asyncio.Event()

    async def slow() -> AsyncIterator[float]:
        yield 0.0
        await asyncio.wait_for(first_done.wait(), 60)
        yield 0.01

    results = as_completed(slow(), sleep, limit=9)
    assert await anext(results) == 0.0
    first_done.set()
    assert [result async for result in results] == [0.01]


async def test_no_more_is_taken_than_the_limit_allows() -> None:
    running = most = 0

    async def work(item: float) -> float:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return item

    results = [result async for result in as_completed(source(*range(20)), work, limit=3)]
    assert sorted(results) == list(range(20))
    assert most == 3


async def test_nothing_arrives_and_nothing_results() -> None:
    assert [result async for result in as_completed(source(), sleep, limit=1)] == []


async def test_an_error_in_the_work_ends_the_rest() -> None:
    cancelled = []

    async def work(item: float) -> float:
        if item:
            raise ValueError("bad")
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            cancelled.append(item)
            raise
        return item

    with pytest.raises(ValueError, match="bad"):
        async for _ in as_completed(source(0, 0, 1), work, limit=9):
            pass
    assert cancelled == [0, 0]


async def test_an_error_of_the_source_is_raised() -> None:
    async def broken() -> AsyncIterator[float]:
        yield 0.0
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        async for _ in as_completed(broken(), sleep, limit=9):
            pass


async def test_closing_it_stops_the_work_and_the_source() -> None:
    ended: list[bool] = []
    results = as_completed(source(0.0, 10, 10, ended=ended), sleep, limit=2)
    async for _ in results:
        break
    await results.aclose()
    assert len(asyncio.all_tasks()) == 1
