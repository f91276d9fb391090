"""The SDK without asyncio: the asynchronous one, driven on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncGenerator, Awaitable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from emofeedback.client.aio import AsyncClient, AsyncServices
from emofeedback.client.channel import TLS, require_no_fork
from emofeedback.client.progress import Creation
from emofeedback.client.retries import Deadlines, Keepalive, RetryPolicy
from emofeedback.client.trainer import TrainerClient
from emofeedback.domain.affect import AffectPoint, Emotion
from emofeedback.domain.assessment import AssessmentOutcome, Conversation, Decoding, Judge
from emofeedback.domain.callers import Priority
from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.generation import (
    GenerationEvent,
    GenerationRequest,
    Generator,
    ModelInfo,
    TrajectoryEvent,
    TrajectoryRequest,
)
from emofeedback.domain.optimization import (
    Gradient,
    GradientRequest,
    LoopOptions,
    Losses,
    LossRequest,
    OptimizationEvent,
    OptimizationRequest,
    Rewrite,
    UpdateRequest,
)
from emofeedback.domain.questions import AnswerOutcome, DescriptionOutcome, Pictures, Question
from emofeedback.domain.reasoning import EmotionTokens, Imagination, Reasoning
from emofeedback.domain.training import RunEvent, RunRequest, TrainingRun

T = TypeVar("T")
_END: Any = object()


class Services:
    """Generator, judge, and the loop over both, for code without an event loop. A context: it is closed at its end.

    It may be used from several threads. Leaving a stream (`break`, or closing the iterator) ends the work for it, and
    so does an interrupt (Ctrl-C) while a call is waited for. Every method raises the exceptions of
    `emofeedback.domain.errors`.
    """

    def __init__(self, services: AsyncServices) -> None:
        self._services = services
        self.generator = SyncGenerator(services.generator)
        self.judge = SyncJudge(services.judge)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all calls under way and frees what they needed."""
        _wait(self._services.close())

    def create(
        self,
        prompt: str,
        *,
        target: AffectPoint | None = None,
        emotion: Emotion | str | None = None,
        feel_like: bytes | None = None,
        **options: Unpack[LoopOptions],
    ) -> Creation:
        """The picture of `prompt` that feels most like the target: a point, one of the eight emotions, or another
        picture's feeling.

        For what happens on the way, see `optimize`.

        Args:
            prompt: what the picture shows.
            target: valence and arousal, each in [1, 9].
            emotion: instead of `target`, an emotion, whose place on the plane is then the target.
            feel_like: instead of `target`, an encoded picture; what the judge reads in it is the target.
            options: rounds, images, seed, tolerance, time_budget, policy, user, steps, imagine, dominance: see
                `OptimizationRequest`.

        Raises:
            InvalidRequest: an argument is out of its limits, there is not exactly one of target, emotion and feel_like,
                or the judge can't read the picture.
            InternalError: the judge could read no picture of the run.
            EmoFeedbackError: whatever generator or judge raised.
        """
        return _wait(self._services.create(prompt, target=target, emotion=emotion, feel_like=feel_like, **options))

    def ask(
        self, images: bytes | Sequence[bytes], question: str, options: Sequence[str] | None = None
    ) -> AnswerOutcome:
        """What the judge answers to one question about a picture, or about two; for many see `judge.ask`.

        Args:
            images: one encoded picture (PNG, JPEG or WebP), or a list of one or two.
            options: 2 to 10 answers to choose from; None: a sentence of the judge's own.

        Raises:
            InvalidRequest: an argument is out of its limits, options are too few or alike, or a picture is not one.
        """
        return _wait(self._services.ask(images, question, options))

    def describe(self, images: bytes | Sequence[bytes]) -> DescriptionOutcome:
        """What a picture makes people feel, and why; of two, also how the second differs. For many see
        `judge.describe`.

        Raises:
            InvalidRequest: there are more than two, or one is no picture.
        """
        return _wait(self._services.describe(images))

    def optimize(self, request: OptimizationRequest) -> Iterator[OptimizationEvent]:
        """The loop, event by event as it happens, each told once; the last is `OptimizationFinished`.

        Raises:
            InvalidRequest: a field is out of its limits.
            EmoFeedbackError: whatever generator or judge raised, after the events before it.
        """
        return _iterate(self._services.optimize(request))


class Client(Services):
    """EmoFeedback at an address: its methods block, its streams are iterators.

        with Client("127.0.0.1:9000") as client:
            creation = client.create("a park bench", emotion="awe")

    `generator` and `judge` are its services, each on its own. `trainer` is for a client of the trainer service, which
    answers at an address of its own (`emofeedback-train serve`). Calls are retried by policy, and a stream that breaks
    goes on where it was. `AsyncClient` is the same for asyncio.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str = "",
        tls: TLS | None = None,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        deadlines: Deadlines = Deadlines(),  # noqa: B008
        keepalive: Keepalive = Keepalive(),  # noqa: B008
        priority: Priority | None = None,
    ) -> None:
        """`address` is HOST:PORT, or https://HOST[:PORT], which is TLS with the usual authorities; with `tls` both are
        TLS on its terms. The bearer `token` goes with every call. `priority` says how urgent its calls are where the
        services have more to do than they can; None: a call for a few pictures is interactive, one for many is a batch,
        one for trajectories comes last. Nothing is sent before the first call.

        Raises:
            InvalidRequest: the address is neither, or the token is not printable ASCII.
        """
        self._client = AsyncClient(
            address, token=token, tls=tls, retry=retry, deadlines=deadlines, keepalive=keepalive, priority=priority
        )
        super().__init__(self._client)
        self.trainer = SyncTrainer(self._client.trainer)

    def compute_loss(self, request: LossRequest) -> Losses:
        """Step 1 of the loop on its own: how far each assessed picture is from the target."""
        return _wait(self._client.compute_loss(request))

    def estimate_gradient(self, request: GradientRequest) -> Gradient:
        """Step 2 of the loop on its own: what separates the best picture from the worst, in the judge's words."""
        return _wait(self._client.estimate_gradient(request))

    def update_prompt(self, request: UpdateRequest) -> Rewrite:
        """Step 3 of the loop on its own: the prompt, rewritten by an analysis."""
        return _wait(self._client.update_prompt(request))


class SyncGenerator:
    """Paints pictures from prompts: any `Generator`, blocking."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    def generate(self, request: GenerationRequest) -> Iterator[GenerationEvent]:
        """`GenerationQueued`, then steps and images as they are done, until there is an image for every seed.

        Raises:
            InvalidRequest: a field is out of its limits.
            NotFound: no such policy.
            ResourceExhausted: the queue is full.
        """
        return _iterate(self._generator.generate(request))

    def sample_trajectories(self, request: TrajectoryRequest) -> Iterator[TrajectoryEvent]:
        """`GenerationQueued`, `GroupStarted`, then the group's trajectories as they are finished.

        All come from one policy version.

        Raises:
            InvalidRequest: a field is out of its limits.
            NotFound: no such policy.
            ResourceExhausted: the queue is full.
            FailedPrecondition: after a break the service samples from another model or policy.
        """
        return _iterate(self._generator.sample_trajectories(request))

    def model(self) -> ModelInfo:
        """The base model behind it."""
        return _wait(self._generator.model())

    def policies(self) -> Sequence[str]:
        """Names of the adapters that it can paint with."""
        return _wait(self._generator.policies())


class SyncJudge:
    """Looks at pictures: any `Judge`, blocking. Every list it returns is as long as its input and in its order."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def assess(
        self, images: Sequence[bytes], *, reasoning: bool | Reasoning = False, user: str = ""
    ) -> list[AssessmentOutcome]:
        """Valence, arousal and emotion of each image (PNG, JPEG or WebP).

        Args:
            reasoning: `"aloud"`, or True: the judge reasons before it answers, and `Assessment.reasoning` says why;
                slower. `"latent"`: it reasons in its reasoning tokens. `"none"`, or False: it rates at once.
            user: id of a person by whose calibration valence and arousal are corrected; empty: uncorrected.

        Raises:
            InvalidRequest: an image is not one, is animated, or is over the pixel limit.
            NotFound: there is no calibration for this person.
            FailedPrecondition: the judge has no calibrations, or this one was fitted on another judge's ratings; or,
                for latent reasoning, it has no reasoning tokens.
        """
        return _wait(self._judge.assess(images, reasoning=reasoning, user=user))

    def assess_stream(
        self, images: Iterable[tuple[int, bytes]], *, user: str = ""
    ) -> Iterator[tuple[int, AssessmentOutcome]]:
        """As `assess`, for images that come one by one under keys, no two under the same; outcomes as they are ready.

        `images` is read in a thread of its own.
        """
        return _iterate(self._judge.assess_stream(_asynchronous(images), user=user))

    def ask(self, questions: Sequence[Question]) -> list[AnswerOutcome]:
        """Answers to questions about one or two pictures each: one of a question's options, or where it has none a
        sentence.

        Raises:
            InvalidRequest: a question is out of its limits, its options are too few or alike, a picture is not one, or
                a question with its pictures is longer than what the model reads.
        """
        return _wait(self._judge.ask(questions))

    def ask_stream(self, questions: Iterable[tuple[int, Question]]) -> Iterator[tuple[int, AnswerOutcome]]:
        """As `ask`, for questions that come one by one under keys, no two under the same; answers as they are ready.

        `questions` is read in a thread of its own.
        """
        return _iterate(self._judge.ask_stream(_asynchronous(questions)))

    def describe(self, pictures: Sequence[Pictures]) -> list[DescriptionOutcome]:
        """What one or two pictures each make people feel, and why; of two, how the second differs from the first.

        Raises:
            InvalidRequest: there are none or more than two in one place, or one is no picture.
        """
        return _wait(self._judge.describe(pictures))

    def describe_stream(self, pictures: Iterable[tuple[int, Pictures]]) -> Iterator[tuple[int, DescriptionOutcome]]:
        """As `describe`, for pictures that come one by one, or two by two, under keys, no two under the same;
        descriptions as they are ready.

        `pictures` is read in a thread of its own.
        """
        return _iterate(self._judge.describe_stream(_asynchronous(pictures)))

    def score(self, images: Sequence[bytes], prompt: str) -> list[float]:
        """Alignment of each image with the prompt: the scorer's cosine similarity, in [-1, 1]."""
        return _wait(self._judge.score(images, prompt))

    def compare_texts(self, text: str, candidates: Sequence[str]) -> list[float]:
        """Similarity of each candidate with `text`, cosine of the scorer's text embeddings, in [-1, 1]."""
        return _wait(self._judge.compare_texts(text, candidates))

    def converse(self, conversations: Sequence[Conversation], decoding: Decoding) -> list[str]:
        """The model's reply to each conversation, whose messages may hold images."""
        return _wait(self._judge.converse(conversations, decoding))

    def reason(self, subject: bytes | Imagination, *, variations: int = 0) -> EmotionTokens:
        """What the model has in mind of a picture (PNG, JPEG or WebP), or of one that it imagines, for a generator
        policy that was fused with this judge.

        Args:
            variations: different imaginations of the same feeling, 1 to 8 and at most what the model has learned; 0:
                all of those. Of an image there is one.

        Raises:
            InvalidRequest: the image is not one, the imagination or `variations` is out of its limits.
            FailedPrecondition: the judge has no reasoning tokens, or its engine keeps its states to itself.
        """
        return _wait(self._judge.reason(subject, variations=variations))

    def model(self) -> ModelInfo:
        """The vision-language model behind it."""
        return _wait(self._judge.model())


class SyncTrainer:
    """Training runs of a trainer service, blocking."""

    def __init__(self, trainer: TrainerClient) -> None:
        self._trainer = trainer

    def create(self, request: RunRequest) -> TrainingRun:
        """Queues a run, or one that has failed or was cancelled, to go on from its last checkpoint.

        Raises:
            InvalidRequest: a field is out of its limits, or the configuration's (`config.` and its dotted key).
            FailedPrecondition: there is a run of this name, or, to resume, it is not over or has finished.
            NotFound: no such run to resume.
        """
        return _wait(self._trainer.create(request))

    def get(self, name: str) -> TrainingRun:
        """How a run stands. Raises `NotFound` where there is none of this name."""
        return _wait(self._trainer.get(name))

    def list(self, *, limit: int = 100) -> Sequence[TrainingRun]:
        """The newest runs first, without their configurations."""
        return _wait(self._trainer.list(limit=limit))

    def cancel(self, name: str) -> TrainingRun:
        """Ends a run after a checkpoint; the reply says how it stands while that is under way. Raises `NotFound`."""
        return _wait(self._trainer.cancel(name))

    def watch(self, name: str, *, from_iteration: int = 0) -> Iterator[RunEvent]:
        """What has happened since an iteration, then what happens, each event told once, until the run is over.

        A run may take longer than the deadlines of a client: `Client(address, deadlines=Deadlines(total=None,
        attempt=None))` waits for ever. Raises `NotFound`.
        """
        return _iterate(self._trainer.watch(name, from_iteration=from_iteration))


_starting = threading.Lock()


@functools.cache
def _started_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="emofeedback-client", daemon=True).start()
    return loop


def _event_loop() -> asyncio.AbstractEventLoop:
    """The one loop of all clients, as gRPC likes it; its daemon thread lives as long as the process.

    Raises:
        FailedPrecondition: the process is a fork of the one that the thread runs in.
    """
    require_no_fork()
    with _starting:
        return _started_loop()


def _wait(awaitable: Awaitable[T]) -> T:
    """The result. An interrupt (Ctrl-C) while waiting cancels the call."""

    async def run() -> T:
        return await awaitable

    try:
        loop = _event_loop()
    except FailedPrecondition:
        if inspect.iscoroutine(awaitable):
            awaitable.close()  # else Python warns that nobody ever waited for it
        raise
    future = asyncio.run_coroutine_threadsafe(run(), loop)
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
