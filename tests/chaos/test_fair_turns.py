"""One picture beside a call for 64: what it waits for them."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator

import pytest

from emofeedback.domain.generation import GenerationRequest
from emofeedback.generator.local import LocalGenerator
from emofeedback.profiles.builtin import NANO_PROFILE

STEPS = 20


@pytest.fixture
def engine() -> Iterator[LocalGenerator]:
    engine = LocalGenerator.load(NANO_PROFILE.generator)
    yield engine
    engine.close()


async def painted(engine: LocalGenerator, first: int, pictures: int) -> float:
    """Seconds that a call takes."""
    began = time.monotonic()
    seeds = tuple(range(first, first + pictures))
    async for _ in engine.generate(GenerationRequest(prompt="a dog in a meadow", seeds=seeds, steps=STEPS)):
        pass
    return time.monotonic() - began


@pytest.mark.chaos
async def test_a_picture_beside_a_call_for_64_takes_half_as_long_again_as_alone(engine: LocalGenerator) -> None:
    for pictures in (1, 8):
        await painted(engine, 0, pictures)
    alone = statistics.median([await painted(engine, seed, 1) for seed in range(5)])
    many = asyncio.create_task(painted(engine, 0, 64))
    beside = []
    for seed in range(5):
        await asyncio.sleep(0.5)
        beside.append(await painted(engine, 100 + seed, 1))
        assert not many.done(), "it isn't beside it any more"
    seconds = statistics.median(beside)
    print(f"one picture alone: {alone:.2f} s; beside a call for 64: {seconds:.2f} s, {seconds / alone:.2f} times")
    many.cancel()
    assert seconds < 2 * alone
