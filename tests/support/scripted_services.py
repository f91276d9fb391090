"""The services over a scripted generator, judge and trainer, with faults on order, and both clients of the SDK."""

from __future__ import annotations

import asyncio
import inspect
import math
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar, cast

import grpc

from emofeedback import AffectPoint, RetryPolicy
from emofeedback.backends import Optimize, connect
from emofeedback.client import AsyncServices
from emofeedback.domain.assessment import Judge
from emofeedback.domain.generation import GenerationRequest, NoiseWindow, TrajectoryRequest
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.optimization import OptimizationEvent, OptimizationRequest
from emofeedback.domain.training import RunEvent, RunStateChanged
from emofeedback.generator.servicer import GeneratorServicer
from emofeedback.judge.servicer import JudgeServicer
from emofeedback.optimizer.loop import optimize
from emofeedback.optimizer.servicer import PromptOptimizerServicer
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.profiles.profile import OptimizerSettings
from emofeedback.v1 import generator_pb2_grpc, judge_pb2_grpc, optimizer_pb2_grpc, trainer_pb2_grpc
from emofeedback_trainer.service.servicer import TrainerServicer
from emofeedback_trainer.service.supervisor import Supervisor
from support.fakes import ScriptedGenerator, ScriptedJudge

Item = TypeVar("Item")

QUICK = RetryPolicy(initial_backoff=0.01)
PAINTING = GenerationRequest(prompt="a quiet harbor", seeds=(1, 2, 3))
GROUP = TrajectoryRequest(prompt="a quiet harbor", seeds=(1, 2, 3), window=NoiseWindow(), steps=4)
RUN = OptimizationRequest(prompt="a quiet harbor", target=AffectPoint(7, 3), rounds=2, images=2)


@dataclass(frozen=True)
class Fault:
    """One call ends with a bare status, as when a replica dies or a proxy refuses; a stream with OK, too early."""

    code: grpc.StatusCode
    details: str = "out of order"
    after: int = 0
    """Messages that a stream still delivers."""


@dataclass(frozen=True)
class Call:
    """What a service was asked."""

    method: str
    request: Any
    metadata: dict[str, Any]


@dataclass
class Services:
    """A running server and what the test may do with it."""

    generator: ScriptedGenerator = field(default_factory=ScriptedGenerator)
    judge: ScriptedJudge = field(default_factory=ScriptedJudge)
    runs: Sequence[RunEvent] = ()
    """What a watch of any training run tells from its first iteration on."""
    token: str | None = None
    address: str = ""
    calls: list[Call] = field(default_factory=list)
    faults: defaultdict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    """By method, used up one a call."""
    server: grpc.aio.Server | None = None

    def asked(self, method: str) -> list[Call]:
        """The calls of one method."""
        return [call for call in self.calls if call.method == method]


@asynccontextmanager
async def serving(services: Services, port: int = 0) -> AsyncIterator[Services]:
    """The services on a loopback port until the context ends."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", LIMITS.message_bytes)])
    settings = OptimizerSettings(text_floor=0.5, image_floor=0.25, rewrites=1)
    watched = cast(Supervisor, Watched(services.runs))
    add: dict[Callable[..., None], object] = {
        generator_pb2_grpc.add_GeneratorServiceServicer_to_server: GeneratorServicer(
            services.generator, services.token
        ),
        judge_pb2_grpc.add_JudgeServiceServicer_to_server: JudgeServicer(services.judge, services.token),
        optimizer_pb2_grpc.add_PromptOptimizerServiceServicer_to_server: PromptOptimizerServicer(
            services.generator, services.judge, settings, services.token
        ),
        trainer_pb2_grpc.add_TrainerServiceServicer_to_server: TrainerServicer(watched, services.token),
    }
    for add_to_server, servicer in add.items():
        add_to_server(Faulty(servicer, services), server)
    services.address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    services.server = server
    await server.start()
    try:
        yield services
    finally:
        await server.stop(None)


class Watched:
    """Stands in for the trainer's supervisor."""

    def __init__(self, events: Sequence[RunEvent]) -> None:
        self._events = events

    async def watch(self, name: str, from_iteration: int) -> AsyncIterator[RunEvent]:
        for event in self._events:
            if isinstance(event, RunStateChanged) or event.iteration >= from_iteration:
                yield event


class Faulty:
    """A servicer that logs every call and breaks those that the test has ordered."""

    def __init__(self, servicer: object, services: Services) -> None:
        self._servicer = servicer
        self._services = services

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._servicer, name)

        async def unary(request: Any, context: Any) -> Any:
            fault = self._begin(name, request, context)
            if fault is not None:
                await context.abort(fault.code, fault.details)
            return await method(request, context)

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            fault = self._begin(name, request, context)
            left = math.inf if fault is None else fault.after
            async with aclosing(method(request, context)) as responses:
                while left and (response := await anext(responses, None)) is not None:
                    yield response
                    left -= 1
            if fault is not None and not left and fault.code is not grpc.StatusCode.OK:
                await context.abort(fault.code, fault.details)

        return stream if inspect.isasyncgenfunction(method) else unary

    def _begin(self, name: str, request: Any, context: Any) -> Fault | None:
        self._services.calls.append(Call(name, request, dict(context.invocation_metadata())))
        faults = self._services.faults[name]
        return faults.pop(0) if faults else None


class ScriptedServices(AsyncServices):
    """What every door offers, over a scripted generator and judge behind the real loop."""

    def __init__(self, generator: ScriptedGenerator, judge: ScriptedJudge) -> None:
        self.generator: ScriptedGenerator = generator
        self.judge: ScriptedJudge = judge

    def optimize(self, request: OptimizationRequest) -> AsyncGenerator[OptimizationEvent, None]:
        # Without the numbers that a trained policy reads behind every prompt, one prompt a round, of any words.
        settings = replace(
            NANO_PROFILE.optimizer, numeric_target=False, rewrites=1, memory="", vocabulary="", imagine=False
        )
        return optimize(request, generator=self.generator, judge=self.judge, settings=settings)

    async def close(self) -> None:
        pass


@dataclass
class ScriptedEngines:
    """The command's engines, whose models follow a script behind the real loop; `opened` counts how often they were
    loaded."""

    generator: ScriptedGenerator = field(default_factory=ScriptedGenerator)
    scripted_judge: ScriptedJudge = field(default_factory=ScriptedJudge)
    profile: str | None = "nano"
    memory: str = ""
    opened: int = 0

    def connect(
        self,
        profile: str | None,
        address: str | None,
        token: str,
        policies: str,
        calibrations: str,
        changes: Sequence[str],
    ) -> ScriptedEngines:
        connect(profile, address, token, policies, calibrations, changes)
        return self

    def check_policy(self, name: str) -> None:
        pass

    def judge(self) -> AbstractAsyncContextManager[Judge]:
        self.opened += 1
        return self._give_judge()

    def optimizer(self) -> AbstractAsyncContextManager[Optimize]:
        self.opened += 1
        return self._give_optimizer()

    def services(self) -> AbstractAsyncContextManager[AsyncServices]:
        self.opened += 1
        return ScriptedServices(self.generator, self.scripted_judge)

    @asynccontextmanager
    async def _give_judge(self) -> AsyncIterator[Judge]:
        yield self.scripted_judge

    @asynccontextmanager
    async def _give_optimizer(self) -> AsyncIterator[Optimize]:
        yield ScriptedServices(self.generator, self.scripted_judge).optimize


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

    async def _stream(self, method: Callable[..., Generator[Any, None, None]], given: Any) -> AsyncIterator[Any]:
        end = object()
        if hasattr(given, "__aiter__"):
            given = [item async for item in given]
        events = await asyncio.to_thread(method, given)
        try:
            while (event := await asyncio.to_thread(next, events, end)) is not end:
                yield event
        finally:
            await asyncio.to_thread(events.close)


async def arriving(items: Sequence[Item]) -> AsyncIterator[tuple[int, Item]]:
    for key, item in enumerate(items):
        yield key, item


async def collect(events: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in events]


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass within 60 s"
        await asyncio.sleep(0.01)
