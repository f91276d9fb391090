"""Many callers who never stop, each a client of its own."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from emofeedback import AsyncClient, Deadlines, RetryPolicy
from emofeedback.domain.errors import EmoFeedbackError, ResourceExhausted
from emofeedback.domain.generation import GenerationRequest

PATIENCE = 600.0
"""Seconds that a caller's last call may take, with all that stand before it."""
ONCE = RetryPolicy(attempts=1)
DEADLINES = Deadlines(total=PATIENCE, attempt=PATIENCE)

Call = Callable[[AsyncClient, int], Awaitable[None]]


@dataclass
class Crowd:
    """What became of the callers' tries."""

    finished: Counter[int] = field(default_factory=Counter)
    """Calls, by caller."""
    refusals: list[float] = field(default_factory=list)
    """Seconds until each was told."""
    untold: int = 0
    """Refusals that don't say when to come back."""
    lost: list[str] = field(default_factory=list)

    def add(self, other: Crowd) -> None:
        """Those of other callers."""
        self.finished += other.finished
        self.refusals += other.refusals
        self.untold += other.untold
        self.lost += other.lost

    async def keep_calling(self, caller: int, client: AsyncClient, call: Call, until: float) -> None:
        """One call after the other, each tried again when it was told to."""
        number = 0
        while time.monotonic() < until:
            began = time.monotonic()
            try:
                await call(client, caller * 1_000_000 + number)
            except ResourceExhausted as error:
                self.refusals.append(time.monotonic() - began)
                self.untold += error.retry_after is None
                await asyncio.sleep(error.retry_after or 1.0)
            except EmoFeedbackError as error:
                self.lost.append(f"{type(error).__name__}: {error}")
                number += 1
            else:
                self.finished[caller] += 1
                number += 1


async def paint(client: AsyncClient, number: int) -> None:
    """One small picture."""
    async for _ in client.generator.generate(GenerationRequest(prompt="a dog in a meadow", seeds=(number,), steps=2)):
        pass


def rating(picture: bytes) -> Call:
    """Rates the picture."""

    async def rate(client: AsyncClient, number: int) -> None:
        await client.judge.assess([picture])

    return rate


def crowd(address: str, callers: Sequence[int], until: float, picture: bytes) -> Crowd:
    """Callers who begin no call after a time of `time.monotonic`: even numbers paint, odd ones rate the picture."""

    async def call() -> Crowd:
        came, kinds = Crowd(), (paint, rating(picture))
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(AsyncClient(address, retry=ONCE, deadlines=DEADLINES)) for _ in callers
            ]
            calling = [
                came.keep_calling(number, client, kinds[number % 2], until)
                for number, client in zip(callers, clients, strict=True)
            ]
            await asyncio.gather(*calling)
        return came

    return asyncio.run(call())
