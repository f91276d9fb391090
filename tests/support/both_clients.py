"""The SDK's two clients under one manner of calling, and what the tests ask of them."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

from emofeedback import AffectPoint, RetryPolicy
from emofeedback.domain.generation import GenerationRequest, NoiseWindow, TrajectoryRequest
from emofeedback.domain.optimization import OptimizationRequest

QUICK = RetryPolicy(initial_backoff=0.01)
PAINTING = GenerationRequest(prompt="a quiet harbor", seeds=(1, 2, 3))
GROUP = TrajectoryRequest(prompt="a quiet harbor", seeds=(1, 2, 3), window=NoiseWindow(), steps=4)
RUN = OptimizationRequest(prompt="a quiet harbor", target=AffectPoint(7, 3), rounds=2, images=2)


class Threaded:
    """The synchronous client with the asynchronous one's manners, so that one test serves both."""

    def __init__(self, client: object) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if not callable(attribute):
            return Threaded(attribute)
        if "Iterator" in str(inspect.signature(attribute).return_annotation):
            return lambda given, **named: self._stream(partial(attribute, **named), given)
        return lambda *given, **named: asyncio.to_thread(attribute, *given, **named)

    async def _stream(self, method: Callable[..., Iterator[Any]], given: Any) -> AsyncIterator[Any]:
        end = object()
        if hasattr(given, "__aiter__"):
            given = [item async for item in given]
        events = await asyncio.to_thread(method, given)
        try:
            while (event := await asyncio.to_thread(next, events, end)) is not end:
                yield event
        finally:
            await asyncio.to_thread(events.close)


async def arriving(pictures: list[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    for key, picture in enumerate(pictures):
        yield key, picture


async def collect(events: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in events]


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass within 5 s"
        await asyncio.sleep(0.01)
