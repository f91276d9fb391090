"""Callers who never stop: steady load on running services, and a tally of what became of every call."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from emofeedback import AffectPoint, AsyncClient
from emofeedback.domain.errors import EmoFeedbackError
from emofeedback.domain.generation import GeneratedImage, GenerationRequest
from emofeedback.domain.optimization import OptimizationFinished, OptimizationRequest

Call = Callable[[int], Awaitable[None]]
"""One call, told apart by a number; raises where it fails."""


@dataclass
class Tally:
    """What became of the calls."""

    finished: Counter[str] = field(default_factory=Counter)
    """By kind."""
    failed: list[str] = field(default_factory=list)
    """Kind and error of each."""

    @asynccontextmanager
    async def calling(self, kind: str, call: Call, *, callers: int) -> AsyncIterator[None]:
        """So many callers, each with one call at a time, until the context ends; then each finishes its last one."""
        numbers = itertools.count()
        over = asyncio.Event()

        async def keep_calling() -> None:
            while not over.is_set():
                try:
                    await call(next(numbers))
                    self.finished[kind] += 1
                except (EmoFeedbackError, AssertionError) as error:
                    self.failed.append(f"{kind}: {type(error).__name__}: {error}")

        tasks = [asyncio.create_task(keep_calling()) for _ in range(callers)]
        try:
            yield
        finally:
            over.set()
            await asyncio.gather(*tasks)


def painting(client: AsyncClient, *, images: int, steps: int, work: Callable[[int], None] = lambda steps: None) -> Call:
    """Calls that must bring all of their images; `work` hears of image-steps asked for (+) and done (-)."""

    async def paint(number: int) -> None:
        seeds = tuple(range(number * images, (number + 1) * images))
        missing = set(range(images))
        work(images * steps)
        try:
            request = GenerationRequest(prompt="a dog in a meadow", seeds=seeds, steps=steps)
            async for event in client.generator.generate(request):
                if isinstance(event, GeneratedImage):
                    missing.remove(event.index)
                    work(-steps)
        finally:
            work(-len(missing) * steps)
        assert not missing, f"{len(missing)} of {images} images are missing"

    return paint


def judging(client: AsyncClient, image: bytes) -> Call:
    """Calls that must bring a rating."""

    async def judge(number: int) -> None:
        (outcome,) = await client.judge.assess([image])
        assert outcome is not None

    return judge


def optimizing(client: AsyncClient) -> Call:
    """Loops of two rounds of two images, which must end with an answer."""

    async def optimize(number: int) -> None:
        request = OptimizationRequest(
            prompt="a house on a hill", target=AffectPoint(7, 3), rounds=2, images=2, seed=number
        )
        events = [event async for event in client.optimize(request)]
        assert isinstance(events[-1], OptimizationFinished), "the loop has no end"
        assert events[-1].answer is not None, "the loop has no answer"

    return optimize
