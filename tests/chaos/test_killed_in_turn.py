"""A thousand calls while what serves them is killed in turn: none is lost, none is wrong, nothing is told twice."""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import numpy as np
import pytest
from PIL import Image

from emofeedback import AffectPoint, AsyncClient, RetryPolicy
from emofeedback.domain.assessment import Assessment
from emofeedback.domain.generation import GeneratedImage, GenerationRequest
from emofeedback.domain.optimization import OptimizationFinished, OptimizationRequest, RoundFinished
from support.running_services import Cluster, Tally
from support.steady_load import PATIENCE

CALLS = 1000
EVERY = 20.0
"""Seconds between two kills."""
DIFFERENT = 5
"""Requests of a kind; after these the first comes again."""

Numbers = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Ask = Callable[[AsyncClient, int], Awaitable[Numbers]]


async def painted(client: AsyncClient, seed: int) -> Numbers:
    """The pixels of two pictures."""
    request = GenerationRequest(prompt="a dog in a meadow", seeds=(2 * seed, 2 * seed + 1), steps=6)
    images = [event async for event in client.generator.generate(request) if isinstance(event, GeneratedImage)]
    assert sorted(image.index for image in images) == [0, 1], "a picture is missing, or came twice"
    images.sort(key=lambda image: image.index)
    return np.stack([np.asarray(Image.open(io.BytesIO(image.data)), np.float64) for image in images])


def judged(scene: bytes) -> Ask:
    """What the judge says of the picture, turned by as many quarters."""

    async def judge(client: AsyncClient, quarters: int) -> Numbers:
        turned = io.BytesIO()
        Image.open(io.BytesIO(scene)).rotate(90 * quarters).save(turned, "PNG")
        (outcome,) = await client.judge.assess([turned.getvalue()])
        assert isinstance(outcome, Assessment)
        return np.array([outcome.valence, outcome.arousal])

    return judge


async def optimized(client: AsyncClient, seed: int) -> Numbers:
    """The loss of the answer after two rounds of two pictures."""
    request = OptimizationRequest(prompt="a house on a hill", target=AffectPoint(7, 3), rounds=2, images=2, seed=seed)
    events = [event async for event in client.optimize(request)]
    rounds = [event.round.index for event in events if isinstance(event, RoundFinished)]
    assert rounds == sorted(set(rounds)), "a round came twice"
    assert isinstance(events[-1], OptimizationFinished) and events[-1].answer is not None, "the loop has no answer"
    return np.array([events[-1].answer.loss])


@pytest.mark.chaos
async def test_a_thousand_calls_while_everything_is_killed_in_turn(cluster: Cluster, scene: bytes) -> None:
    kinds: dict[str, tuple[Ask, float, int]] = {  # how far from the undisturbed answer it may lie, and how many callers
        "paint": (painted, 1.0, 2),
        "judge": (judged(scene), 1e-2, 2),
        "optimize": (optimized, 1e-2, 1),
    }
    tally, killed = Tally(), Counter[str]()
    patient = AsyncClient(cluster.services.address, retry=RetryPolicy(patience=PATIENCE))
    async with patient as client, AsyncExitStack() as callers:
        right = {kind: [await ask(client, one) for one in range(DIFFERENT)] for kind, (ask, _, _) in kinds.items()}
        for kind, (ask, tolerance, number) in kinds.items():
            call = as_ever(client, ask, right[kind], tolerance)
            await callers.enter_async_context(tally.calling(kind, call, callers=number))
        victims = itertools.cycle(("generator", "judge", "optimizer", "proxy"))
        while tally.finished.total() + len(tally.failed) < CALLS:
            name = next(victims)
            for process in cluster.proxies() if name == "proxy" else cluster.replicas(name):
                os.kill(process, signal.SIGKILL)
                killed[name] += 1
            until = time.monotonic() + EVERY
            while time.monotonic() < until and tally.finished.total() < CALLS:
                await asyncio.sleep(0.5)
    print(f"killed: {dict(killed)}; finished: {dict(tally.finished)}, lost or wrong: {len(tally.failed)}")
    assert tally.failed == []


def as_ever(client: AsyncClient, ask: Ask, right: list[Numbers], tolerance: float) -> Callable[[int], Awaitable[None]]:
    """A call that fails unless it is answered as the same one was before."""

    async def call(number: int) -> None:
        came = await ask(client, number % DIFFERENT)
        expected = right[number % DIFFERENT]
        assert came.shape == expected.shape and abs(came - expected).max() <= tolerance, "another answer"

    return call
