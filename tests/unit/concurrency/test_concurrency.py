"""What runs side by side ends together."""

import asyncio

import pytest

from emofeedback.concurrency import Channel, both, merge


async def ticking(name, count, log, delay=0.001):
    try:
        for tick in range(count):
            await asyncio.sleep(delay)
            yield f"{name}{tick}"
    finally:
        log.append(name)


async def failing_after(*items):
    for item in items:
        yield item
    raise LookupError("gone")


async def test_a_merged_stream_has_every_item_and_keeps_each_sources_order():
    items = [item async for item in merge(ticking("a", 3, []), ticking("b", 3, []))]
    assert [item for item in items if item[0] == "a"] == ["a0", "a1", "a2"]
    assert [item for item in items if item[0] == "b"] == ["b0", "b1", "b2"]


async def test_closing_a_merged_stream_closes_its_sources_before_it_returns():
    log = []
    merged = merge(ticking("a", 100, log), ticking("b", 100, log, delay=60))
    assert await anext(merged) == "a0"
    await merged.aclose()
    assert sorted(log) == ["a", "b"]


async def test_a_failure_is_raised_as_it_is_after_the_items_before_it_and_ends_the_rest():
    log, seen = [], []
    with pytest.raises(LookupError, match="gone"):
        async for item in merge(failing_after("x", "y"), ticking("a", 100, log, delay=60)):
            seen.append(item)  # noqa: PERF401, a comprehension would keep nothing
    assert seen == ["x", "y"]
    assert log == ["a"]


async def test_a_channel_hands_over_what_came_together_and_ends_when_closed():
    channel = Channel()

    async def send():
        for together in ((1, 2), (3,), (4, 5)):
            for item in together:
                channel.send(item)
            await asyncio.sleep(0.002)
        channel.close()

    sending = asyncio.create_task(send())
    assert [together async for together in channel] == [[1, 2], [3], [4, 5]]
    await sending


async def test_a_channel_that_is_closed_with_its_last_item_still_delivers_it():
    channel = Channel()
    channel.send(1)
    channel.close()
    assert [together async for together in channel] == [[1]]


async def test_the_failure_of_one_of_both_calls_cancels_the_other():
    log = []

    async def slow():
        try:
            await asyncio.sleep(60)
        finally:
            log.append("cancelled")

    async def fails():
        await asyncio.sleep(0)
        raise LookupError("gone")

    with pytest.raises(LookupError):
        await both(slow(), fails())
    assert log == ["cancelled"]
