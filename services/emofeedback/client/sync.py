"""The SDK without asyncio: the asynchronous one, driven on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncGenerator, Awaitable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from emofeedback.client.aio import AsyncClient
from emofeedback.client.generator import GeneratorClient
from emofeedback.client.judge import JudgeClient
from emofeedback.client.progress import Creation
from emofeedback.client.retries import Deadlines, Keepalive, RetryPolicy
from emofeedback.client.trainer import TrainerClient
from emofeedback.domain.affect import AffectPoint, Emotion
from emofeedback.domain.assessment import AssessmentOutcome, Conversation, Decoding
from emofeedback.domain.generation import (
    GenerationEvent,
    GenerationRequest,
    ModelInfo,
    TrajectoryEvent,
    TrajectoryRequest,
)
from emofeedback.domain.optimization import (
    Gradient,
    GradientRequest,
    Losses,
    LossRequest,
    OptimizationEvent,
    OptimizationRequest,
    Rewrite,
    UpdateRequest,
)
from emofeedback.domain.training import RunEvent, RunRequest, TrainingRun

T = TypeVar("T")
_END: Any = object()


class Client:
    """`AsyncClient` for code without an event loop: the same methods, blocking; streams are iterators.

        with Client("127.0.0.1:9000") as client:
            creation = client.create("a park bench", emotion="awe")

    It may be used from several threads. Leaving a stream (`break`, or closing the iterator) ends the work on the
    other side.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str = "",
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        deadlines: Deadlines = Deadlines(),  # noqa: B008
        keepalive: Keepalive = Keepalive(),  # noqa: B008
    ) -> None:
        """As `AsyncClient`."""
        self._client = AsyncClient(address, token=token, retry=retry, deadlines=deadlines, keepalive=keepalive)
        self.generator = SyncGenerator(self._client.generator)
        self.judge = SyncJudge(self._client.judge)
        self.trainer = SyncTrainer(self._client.trainer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all calls under way and the connection."""
        _wait(self._client.close())

    def create(
        self,
        prompt: str,
        *,
        target: AffectPoint | None = None,
        emotion: Emotion | str | None = None,
        rounds: int = 3,
        images: int = 8,
        seed: int = 0,
        tolerance: float | None = None,
        time_budget: float | None = None,
        policy: str = "",
        user: str = "",
    ) -> Creation:
        """As `AsyncClient.create`."""
        return _wait(
            self._client.create(
                prompt,
                target=target,
                emotion=emotion,
                rounds=rounds,
                images=images,
                seed=seed,
                tolerance=tolerance,
                time_budget=time_budget,
                policy=policy,
                user=user,
            )
        )

    def optimize(self, request: OptimizationRequest) -> Iterator[OptimizationEvent]:
        """As `AsyncClient.optimize`."""
        return _iterate(self._client.optimize(request))

    def compute_loss(self, request: LossRequest) -> Losses:
        """As `AsyncClient.compute_loss`."""
        return _wait(self._client.compute_loss(request))

    def estimate_gradient(self, request: GradientRequest) -> Gradient:
        """As `AsyncClient.estimate_gradient`."""
        return _wait(self._client.estimate_gradient(request))

    def update_prompt(self, request: UpdateRequest) -> Rewrite:
        """As `AsyncClient.update_prompt`."""
        return _wait(self._client.update_prompt(request))


class SyncGenerator:
    """`GeneratorClient`, blocking."""

    def __init__(self, generator: GeneratorClient) -> None:
        self._generator = generator

    def generate(self, request: GenerationRequest) -> Iterator[GenerationEvent]:
        """As `GeneratorClient.generate`."""
        return _iterate(self._generator.generate(request))

    def sample_trajectories(self, request: TrajectoryRequest) -> Iterator[TrajectoryEvent]:
        """As `GeneratorClient.sample_trajectories`."""
        return _iterate(self._generator.sample_trajectories(request))

    def model(self) -> ModelInfo:
        """As `GeneratorClient.model`."""
        return _wait(self._generator.model())

    def policies(self) -> Sequence[str]:
        """As `GeneratorClient.policies`."""
        return _wait(self._generator.policies())


class SyncJudge:
    """`JudgeClient`, blocking."""

    def __init__(self, judge: JudgeClient) -> None:
        self._judge = judge

    def assess(self, images: Sequence[bytes], *, reasoning: bool = False, user: str = "") -> list[AssessmentOutcome]:
        """As `JudgeClient.assess`."""
        return _wait(self._judge.assess(images, reasoning=reasoning, user=user))

    def assess_stream(
        self, images: Iterable[tuple[int, bytes]], *, user: str = ""
    ) -> Iterator[tuple[int, AssessmentOutcome]]:
        """As `JudgeClient.assess_stream`; `images` is read in a thread of its own."""
        return _iterate(self._judge.assess_stream(_asynchronous(images), user=user))

    def score(self, images: Sequence[bytes], prompt: str) -> list[float]:
        """As `JudgeClient.score`."""
        return _wait(self._judge.score(images, prompt))

    def compare_texts(self, text: str, candidates: Sequence[str]) -> list[float]:
        """As `JudgeClient.compare_texts`."""
        return _wait(self._judge.compare_texts(text, candidates))

    def converse(self, conversations: Sequence[Conversation], decoding: Decoding) -> list[str]:
        """As `JudgeClient.converse`."""
        return _wait(self._judge.converse(conversations, decoding))

    def model(self) -> ModelInfo:
        """As `JudgeClient.model`."""
        return _wait(self._judge.model())


class SyncTrainer:
    """`TrainerClient`, blocking."""

    def __init__(self, trainer: TrainerClient) -> None:
        self._trainer = trainer

    def create(self, request: RunRequest) -> TrainingRun:
        """As `TrainerClient.create`."""
        return _wait(self._trainer.create(request))

    def get(self, name: str) -> TrainingRun:
        """As `TrainerClient.get`."""
        return _wait(self._trainer.get(name))

    def list(self, *, limit: int = 100) -> Sequence[TrainingRun]:
        """As `TrainerClient.list`."""
        return _wait(self._trainer.list(limit=limit))

    def cancel(self, name: str) -> TrainingRun:
        """As `TrainerClient.cancel`."""
        return _wait(self._trainer.cancel(name))

    def watch(self, name: str, *, from_iteration: int = 0) -> Iterator[RunEvent]:
        """As `TrainerClient.watch`."""
        return _iterate(self._trainer.watch(name, from_iteration=from_iteration))


_starting = threading.Lock()


@functools.cache
def _started_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="emofeedback-client", daemon=True).start()
    return loop


def _event_loop() -> asyncio.AbstractEventLoop:
    """The one loop of all clients, as gRPC likes it; its daemon thread lives as long as the process."""
    with _starting:
        return _started_loop()


def _wait(awaitable: Awaitable[T]) -> T:
    """The result. An interrupt (Ctrl-C) while waiting cancels the call."""

    async def run() -> T:
        return await awaitable

    future = asyncio.run_coroutine_threadsafe(run(), _event_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _iterate(events: AsyncGenerator[T, None]) -> Iterator[T]:
    """The events, one by one; closing the iterator closes their source."""
    turn = asyncio.Lock()

    async def following() -> T:
        async with turn:
            return await anext(events, _END)

    async def close() -> None:
        async with turn:  # After an interrupt, the cancelled step may still be on its way out.
            await events.aclose()

    try:
        while (event := _wait(following())) is not _END:
            yield event
    finally:
        _wait(close())


async def _asynchronous(items: Iterable[T]) -> AsyncGenerator[T, None]:
    """The items, read in worker threads, since reading may block."""
    iterator = iter(items)
    while (item := await asyncio.to_thread(next, iterator, _END)) is not _END:
        yield item
