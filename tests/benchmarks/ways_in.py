"""What a call and a command take before any work: `.venv/bin/python tests/benchmarks/ways_in.py`.

`GetModel` computes nothing, so what it takes is the way: Serve's proxy, its router and the replica, against the same
servicer and weights under a bare `grpc.aio` server in a process of its own. What a command takes to start stands beside
what Python alone takes. Sides take turns, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import grpc
import psutil
from speed import Row, show

from emofeedback.generator.local import LocalGenerator
from emofeedback.generator.servicer import GeneratorServicer
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.v1 import generator_pb2, generator_pb2_grpc
from support.running_services import free_port, is_open, serving

TO_THE_GENERATOR = (("application", "generator"),)
AT_ONCE = 16
WARM_UP = 50
TURNS = 5

Seconds = tuple[float, float]
"""By the clock, and of CPU."""


def serve_bare(port: int) -> None:
    """The generator's servicer and nothing around it, until the process is ended."""

    async def serve() -> None:
        server = grpc.aio.server()
        servicer = GeneratorServicer(LocalGenerator.load(NANO_PROFILE.generator), None)
        generator_pb2_grpc.add_GeneratorServiceServicer_to_server(servicer, server)  # type: ignore[arg-type]
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        await server.wait_for_termination()

    asyncio.run(serve())


@contextmanager
def bare() -> Iterator[str]:
    """Such a server; yields its address."""
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=serve_bare, args=(port,), daemon=True)
    process.start()
    try:
        while not is_open(port):
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.join()


class Caller:
    """Asks for the model by one connection."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = generator_pb2_grpc.GeneratorServiceStub(channel)

    async def ask(self) -> float:
        """Milliseconds of one call."""
        began = time.perf_counter()
        await self._stub.GetModel(generator_pb2.GeneratorServiceGetModelRequest(), metadata=TO_THE_GENERATOR)
        return (time.perf_counter() - began) * 1e3

    async def alone(self, calls: int) -> float:
        """Median milliseconds of a call, one after another."""
        return statistics.median([await self.ask() for _ in range(calls)])

    async def at_once(self, calls: int) -> float:
        """Calls a second, with so many callers at once."""

        async def keep_asking() -> None:
            for _ in range(calls // AT_ONCE):
                await self.ask()

        began = time.perf_counter()
        await asyncio.gather(*(keep_asking() for _ in range(AT_ONCE)))
        return calls // AT_ONCE * AT_ONCE / (time.perf_counter() - began)


async def calls(ours: str, peer: str, number: int) -> list[Row]:
    """What a call takes at both addresses, which take turns."""
    async with grpc.aio.insecure_channel(ours) as our_channel, grpc.aio.insecure_channel(peer) as their_channel:
        sides = Caller(our_channel), Caller(their_channel)
        for side in sides:
            await side.alone(WARM_UP)
        turns = [
            [(await side.alone(number // TURNS), await side.at_once(number // TURNS)) for side in sides]
            for _ in range(TURNS)
        ]
    rows = []
    for what, which in (("`GetModel`, one after another, ms (p50)", 0), (f"calls a second, {AT_ONCE} at once", 1)):
        through, alone = (statistics.median(turn[side][which] for turn in turns) for side in (0, 1))
        rows.append(Row(what=what, ours=f"{through:.1f}", peer=f"{alone:.1f}", ratio=f"{through / alone:.2f}"))
    return rows


def took(*command: str) -> Seconds:
    """Of a process until it ends."""
    began, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - began, cpu


def to_first_picture() -> Seconds:
    """From `create` to the first picture that lies in its folder."""
    words = ["create", "a cat in a forest", "--valence", "3", "--arousal", "7", "--rounds", "1", "--images", "1"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "emofeedback", *words, "--out", str(out)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not any(out.rglob("*.png")):
            assert process.poll() is None, "it has painted nothing"
            time.sleep(0.01)
        seconds, times = time.perf_counter() - began, psutil.Process(process.pid).cpu_times()
        process.wait()
    return seconds, times.user + times.system


def starts(what: str, ours: Callable[[], Seconds], peer: Callable[[], Seconds], runs: int) -> list[Row]:
    """What both take, which take turns."""
    turns = [(ours(), peer()) for _ in range(runs)]
    rows = []
    for unit, which in (("s", 0), ("CPU s", 1)):
        command, python = (statistics.median(turn[side][which] for turn in turns) for side in (0, 1))
        ratio = f"{command / python:.1f}"
        rows.append(Row(what=f"{what}, {unit}", ours=f"{command:.2f}", peer=f"{python:.2f}", ratio=ratio))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000, help="of each kind to each side (default %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="starts of each command (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    rows = starts(
        "`emofeedback --help` / Python alone",
        lambda: took("-m", "emofeedback", "--help"),
        lambda: took("-c", ""),
        options.runs,
    )
    rows += starts(
        "`create` to its first picture / `import torch`",
        to_first_picture,
        lambda: took("-c", "import torch"),
        options.runs,
    )
    with serving() as services, bare() as peer:
        rows += asyncio.run(calls(services.address, peer, options.calls))
    show(rows, as_json=options.json)


if __name__ == "__main__":
    main()
