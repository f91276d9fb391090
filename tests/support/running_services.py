"""The real services and the real command, in processes of their own, seen from below, and callers who never stop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import psutil

from emofeedback import AffectPoint, AsyncClient
from emofeedback.domain.errors import EmoFeedbackError
from emofeedback.domain.generation import GeneratedImage, GenerationQueued, GenerationRequest
from emofeedback.domain.optimization import OptimizationFinished, OptimizationRequest

TOKEN = "let-me-in"
START_SECONDS = 300.0
CONNECT = """
import time
import ray
while not ray.is_initialized():
    try:
        ray.init(address={address!r}, log_to_driver=False)
    except ConnectionError:
        time.sleep(1)
"""


@dataclass(frozen=True)
class Services:
    """Running services: where they answer and which process started them."""

    address: str
    port: int
    http_port: int
    process: subprocess.Popen[str]


def free_port() -> int:
    """A port of loopback that nobody listens on right now, and that neither the system gives to whoever asks for any
    (from 32,768 on) nor Ray to its workers (10,002 to 19,999)."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def is_open(port: int) -> bool:
    """Whether something listens on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def command(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """`emofeedback ARGUMENTS` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "emofeedback", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **environment},
    )


@contextlib.contextmanager
def serving(*options: str, token: str = "", **environment: str) -> Iterator[Services]:
    """`emofeedback serve OPTIONS` on free ports until the context ends, then Ctrl-C."""
    port, http_port = free_port(), free_port()
    ports = ("--port", str(port), "--http-port", str(http_port))
    process = command("serve", *ports, *options, EMOFEEDBACK_TOKEN=token, **environment)
    try:
        wait_until_listening(port, process)
        yield Services(f"127.0.0.1:{port}", port, http_port, process)
    finally:
        interrupt(process)


def wait_until_listening(port: int, process: subprocess.Popen[str]) -> None:
    """Read the command's output until it says where it answers."""
    assert process.stdout is not None
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        if f"127.0.0.1:{port}" in line:
            return
        if not line and process.poll() is not None:
            assert process.stderr is not None
            raise AssertionError(f"serve ended with {process.returncode}: {process.stderr.read()}")
    raise AssertionError("the services did not come up in time")


def interrupt(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Ctrl-C; returns the descendants that outlive it."""
    if process.poll() is not None:
        return []
    descendants = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=180)
    _, alive = psutil.wait_procs(descendants, timeout=60)
    return alive


@dataclass(frozen=True)
class Cluster:
    """Services and what runs them."""

    services: Services
    token: str
    """Of their Ray."""

    @property
    def address(self) -> str:
        """HOST:PORT of their Ray."""
        connections = head_of(self.services).net_connections("tcp")
        port = next(c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN)
        return f"127.0.0.1:{port}"

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that may speak to their Ray."""
        return {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}

    def replicas(self, application: str) -> set[int]:
        """Process ids of an application's replicas on the first node."""
        return {
            process.pid for process in _descendants(self.services) if f"ServeReplica:{application}:" in _title(process)
        }

    def proxies(self) -> set[int]:
        """Process ids of what takes calls from outside and passes them on to replicas."""
        return {process.pid for process in _descendants(self.services) if "ray::ProxyActor" in _title(process)}

    def run(self, program: str, *arguments: str) -> None:
        """Runs a Python program that is connected to their Ray before its first line."""
        run_on(self.address, self.environment, program, *arguments)


def head_of(services: Services) -> psutil.Process:
    """The process in which their Ray keeps what it knows."""
    return next(process for process in _descendants(services) if process.name() == "gcs_server")


def _descendants(services: Services) -> list[psutil.Process]:
    return psutil.Process(services.process.pid).children(recursive=True)


def run_on(address: str, environment: Mapping[str, str], program: str, *arguments: str) -> None:
    """Runs a Python program that is connected to the Ray of the address before its first line, once that has nodes."""
    done = subprocess.run(
        [sys.executable, "-c", CONNECT.format(address=address) + program, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=2 * START_SECONDS,
    )
    assert done.returncode == 0, done.stderr


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


async def images_still_ahead(client: AsyncClient) -> int:
    """Of a small request, once there are none or after 15 s."""
    small = GenerationRequest(prompt="a house on a hill", seeds=(1,), steps=2)
    for pause in (0.5, 1, 2, 4, 8):
        await asyncio.sleep(pause)
        async with aclosing(client.generator.generate(small)) as events:
            queued = await anext(events)
        assert isinstance(queued, GenerationQueued)
        ahead = queued.images_ahead
        if not ahead:
            break
    return ahead


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
