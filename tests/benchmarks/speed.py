"""Speed and size of the nano stack, each figure beside a peer measured in the same run: `make bench`.

Every comparison alternates its two sides (A B A B ...) and prints the median of each and their ratio, because the
machine's own speed drifts more than the differences that matter.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from emofeedback import AffectPoint, AsyncClient
from emofeedback.domain.assessment import Assessment
from emofeedback.domain.generation import GeneratedImage, GenerationEvent, GenerationRequest, Generator, ModelInfo
from emofeedback.domain.optimization import OptimizationRequest
from emofeedback.generator.local import LocalGenerator
from emofeedback.judge.local import LocalJudge
from emofeedback.optimizer.loop import optimize
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback_trainer.nano.world.rendering import render
from emofeedback_trainer.nano.world.scenes import affect, sample_scene
from support.running_services import Services, serving

IMAGES = 8


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    what: str
    ours: str
    peer: str
    ratio: str


async def alternate(
    ours: Callable[[], Awaitable[object]], peer: Callable[[], Awaitable[object]], runs: int
) -> tuple[float, float]:
    """Median seconds of each side over `runs` turns, after one turn of each that does not count."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(runs + 1):
        for side, work in enumerate((ours, peer)):
            started = time.perf_counter()
            await work()
            if turn:
                seconds[side].append(time.perf_counter() - started)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


async def paint(generator: Generator, seed: int = 0) -> None:
    """One call of eight images."""
    request = GenerationRequest(prompt="a cat in a forest at night", seeds=tuple(range(seed, seed + IMAGES)))
    async for _ in generator.generate(request):
        pass


def images_a_second(what: str, ours: float, peer: float) -> Row:
    """The row of two sides that needed so many seconds for a call of `IMAGES`."""
    return Row(what=what, ours=f"{IMAGES / ours:.2f}", peer=f"{IMAGES / peer:.2f}", ratio=f"{peer / ours:.2f}")


async def painting_through_services(client: AsyncClient, runs: int) -> Row:
    engine = LocalGenerator.load(NANO_PROFILE.generator)
    try:
        served, local = await alternate(lambda: paint(client.generator), lambda: paint(engine), runs)
    finally:
        engine.close()
    return images_a_second("images/s, 8 a call: through the services / same engine in process", served, local)


async def decoding(runs: int) -> Row:
    """What bfloat16 gains where latents become pictures; only a CPU with instructions for it gains at all."""
    engines = [
        LocalGenerator.load(replace(NANO_PROFILE.generator, decoder_dtype=dtype)) for dtype in ("bfloat16", "float32")
    ]
    try:
        half, full = await alternate(lambda: paint(engines[0]), lambda: paint(engines[1]), runs)
    finally:
        for engine in engines:
            engine.close()
    return images_a_second("images/s in process, 8 a call: latents decoded in bfloat16 / in float32", half, full)


async def concurrent_creates(client: AsyncClient, calls: int) -> Row:
    async def create(number: int) -> None:
        request = OptimizationRequest(
            prompt="a dog in a meadow", target=AffectPoint(3, 6), rounds=2, images=2, seed=number
        )
        async for _ in client.optimize(request):
            pass

    started = time.perf_counter()
    await asyncio.gather(*(create(number) for number in range(calls)))
    together = time.perf_counter() - started
    started = time.perf_counter()
    for number in range(calls):
        await create(number)
    alone = time.perf_counter() - started
    return Row(
        what=f"{calls} `create` calls (2 rounds of 2): at once / one after another, seconds",
        ours=f"{together:.1f}",
        peer=f"{alone:.1f}",
        ratio=f"{together / alone:.2f}",
    )


class PaintAllFirst:
    """A generator that holds its pictures back until the last one is painted: judging can't overlap."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        held: list[GeneratedImage] = []
        async for event in self._generator.generate(request):
            if isinstance(event, GeneratedImage):
                held.append(event)
            else:
                yield event
        for image in held:
            yield image

    async def model(self) -> ModelInfo:
        return await self._generator.model()

    async def policies(self) -> Sequence[str]:
        return await self._generator.policies()


async def overlapped_judging(client: AsyncClient, runs: int) -> Row:
    request = OptimizationRequest(prompt="a boat on a lake", target=AffectPoint(7, 3), rounds=3, images=IMAGES)

    async def loop(generator: Generator) -> None:
        async for _ in optimize(request, generator=generator, judge=client.judge, settings=NANO_PROFILE.optimizer):
            pass

    overlapped, apart = await alternate(
        lambda: loop(client.generator), lambda: loop(cast(Generator, PaintAllFirst(client.generator))), runs
    )
    return Row(
        what="the loop, 3 rounds of 8: judged while painting / paint all, then judge all, seconds",
        ours=f"{overlapped:.1f}",
        peer=f"{apart:.1f}",
        ratio=f"{overlapped / apart:.2f}",
    )


async def short_scoring(runs: int, scenes: int) -> list[Row]:
    rng = np.random.default_rng(20_261_122)
    truth = [sample_scene(rng) for _ in range(scenes)]
    pictures = []
    for scene in truth:
        buffer = io.BytesIO()
        render(scene, 128).save(buffer, "PNG")
        pictures.append(buffer.getvalue())
    judge = LocalJudge.load(NANO_PROFILE.judge)

    async def mean_error(*, reasoning: bool) -> float:
        calls = [pictures[start : start + IMAGES] for start in range(0, scenes, IMAGES)]
        outcomes = [outcome for call in calls for outcome in await judge.assess(call, reasoning=reasoning)]
        errors = [
            abs(outcome.valence - affect(scene).valence) + abs(outcome.arousal - affect(scene).arousal)
            for outcome, scene in zip(outcomes, truth, strict=True)
            if isinstance(outcome, Assessment)
        ]
        return statistics.mean(errors)

    try:
        short_error, aloud_error = await mean_error(reasoning=False), await mean_error(reasoning=True)
        eight = pictures[:IMAGES]
        short, aloud = await alternate(lambda: judge.assess(eight), lambda: judge.assess(eight, reasoning=True), runs)
    finally:
        judge.close()
    return [
        Row(
            what="judging 8 images: expected rating / reasoning aloud for each, seconds",
            ours=f"{short:.2f}",
            peer=f"{aloud:.2f}",
            ratio=f"{short / aloud:.2f}",
        ),
        Row(
            what=f"its error in valence plus that in arousal, on {scenes} scenes with known feeling",
            ours=f"{short_error:.2f}",
            peer=f"{aloud_error:.2f}",
            ratio=f"{short_error / aloud_error:.2f}",
        ),
    ]


def resident_memory(services: Services) -> float:
    """GiB of all processes of the stack, shared pages counted once (proportional set size)."""
    serve = psutil.Process(services.process.pid)
    family = [serve, *serve.children(recursive=True)]
    return sum(process.memory_full_info().pss for process in family) / 2**30


async def measure(runs: int, calls: int, scenes: int) -> list[Row]:
    started = time.perf_counter()
    with serving() as services:
        up = time.perf_counter() - started
        async with AsyncClient(services.address) as client:
            rows = [await painting_through_services(client, runs)]
            rows.append(await overlapped_judging(client, runs))
            rows.append(await concurrent_creates(client, calls))
        memory = resident_memory(services)
    rows.append(await decoding(runs))
    rows += await short_scoring(runs, scenes)
    rows.append(Row(what="start-up: command to services that answer, seconds", ours=f"{up:.0f}", peer="", ratio=""))
    rows.append(Row(what="memory of the whole stack after that load, GiB", ours=f"{memory:.1f}", peer="", ratio=""))
    return rows


def main() -> None:
    """Measure and print a Markdown table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="counted turns of each comparison (default %(default)s)")
    parser.add_argument("--calls", type=int, default=16, help="concurrent create calls (default %(default)s)")
    parser.add_argument("--scenes", type=int, default=128, help="scenes of the error figure (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    show(asyncio.run(measure(options.runs, options.calls, options.scenes)), as_json=options.json)


def show(rows: Sequence[Row], *, as_json: bool) -> None:
    """Print the rows as a Markdown table, or as JSON."""
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    print("| what | ours | peer | ratio |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row.what} | {row.ours} | {row.peer} | {row.ratio} |")


if __name__ == "__main__":
    main()
