"""The SDK for asyncio: what every door to generator, judge and loop offers, and the door to services at an address."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Self, Unpack

from emofeedback import wire
from emofeedback.client.channel import TLS
from emofeedback.client.connection import Connection, Service, encoding
from emofeedback.client.generator import GeneratorClient
from emofeedback.client.judge import JudgeClient
from emofeedback.client.progress import Creation, Progress, identity
from emofeedback.client.retries import Deadlines, Keepalive, RetryPolicy
from emofeedback.client.trainer import TrainerClient
from emofeedback.domain.affect import AffectPoint, Emotion
from emofeedback.domain.assessment import Assessment, Judge
from emofeedback.domain.callers import Priority
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import Generator
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.optimization import (
    Gradient,
    GradientRequest,
    LoopOptions,
    Losses,
    LossRequest,
    OptimizationEvent,
    OptimizationFinished,
    OptimizationRequest,
    Rewrite,
    UpdateRequest,
)
from emofeedback.domain.questions import AnswerOutcome, DescriptionOutcome, Pictures, Question
from emofeedback.domain.validation import (
    check_gradient_request,
    check_loss_request,
    check_optimization_request,
    check_update_request,
    target_from,
)
from emofeedback.v1 import optimizer_pb2 as pb
from emofeedback.v1.optimizer_pb2_grpc import PromptOptimizerServiceStub

OPTIMIZER = Service("optimizer", PromptOptimizerServiceStub)


class AsyncServices(ABC):
    """Generator, judge, and the loop over both, wherever they run. A context: it is closed at its end.

    Every method raises the exceptions of `emofeedback.domain.errors`. Cancelling a call, or leaving a stream, ends the
    work for it.
    """

    generator: Generator
    judge: Judge

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @abstractmethod
    async def close(self) -> None:
        """Ends all calls under way and frees what they needed."""

    @abstractmethod
    def optimize(self, request: OptimizationRequest) -> AsyncGenerator[OptimizationEvent, None]:
        """The loop, event by event, each told once; the last is `OptimizationFinished`.

        Raises:
            InvalidRequest: a field is out of its limits.
            EmoFeedbackError: whatever generator or judge raised, after the events before it.
        """

    async def create(
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
        if feel_like is not None:
            if target is not None or emotion is not None:
                raise InvalidRequest.of("feel_like", "is a feeling already: leave out target and emotion")
            [outcome] = await self.judge.assess([feel_like], user=options.get("user", ""))
            if not isinstance(outcome, Assessment):
                raise InvalidRequest.of("feel_like", f"gives no feeling: {outcome.reason}")
            target = outcome.point
        valence, arousal = (target.valence, target.arousal) if target else (None, None)
        request = OptimizationRequest(prompt=prompt, target=target_from(valence, arousal, emotion), **options)
        progress = Progress(request)
        async with aclosing(self.optimize(request)) as events:
            async for event in events:
                progress.take(event)
        return progress.creation()

    async def ask(
        self, images: bytes | Sequence[bytes], question: str, options: Sequence[str] | None = None
    ) -> AnswerOutcome:
        """What the judge answers to one question about a picture, or about two; for many see `judge.ask`.

        Args:
            images: one encoded picture (PNG, JPEG or WebP), or a list of one or two.
            options: 2 to 10 answers to choose from; None: a sentence of the judge's own.

        Raises:
            InvalidRequest: an argument is out of its limits, options are too few or alike, or a picture is not one.
        """
        needed = f"{LIMITS.fewest_options} to {LIMITS.most_options} are needed"
        if isinstance(options, str):  # which is a sequence of texts, too
            raise InvalidRequest.of("options", f"is one text, {needed} in a list")
        if options is not None and not options:
            raise InvalidRequest.of(
                "options", f"is empty, {needed}; leave it out for an answer in the judge's own words"
            )
        asked = Question(images=_pictures(images), text=question, options=tuple(options or ()))
        [outcome] = await self.judge.ask([asked])
        return outcome

    async def describe(self, images: bytes | Sequence[bytes]) -> DescriptionOutcome:
        """What a picture makes people feel, and why; of two, also how the second differs. For many see
        `judge.describe`.

        Raises:
            InvalidRequest: there are more than two, or one is no picture.
        """
        [outcome] = await self.judge.describe([_pictures(images)])
        return outcome


class AsyncClient(AsyncServices):
    """EmoFeedback at an address.

        async with AsyncClient("127.0.0.1:9000") as client:
            creation = await client.create("a park bench", emotion="awe")

    `generator` and `judge` are the same Protocols that the engines in process implement. `trainer` is for a client of
    the trainer service, which answers at an address of its own (`emofeedback-train serve`). Calls are retried by
    policy; errors are the same whichever side of the wire they come from, and work ends on the other side too.
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
        self._connection = Connection(
            address, token=token, tls=tls, retry=retry, deadlines=deadlines, keepalive=keepalive, priority=priority
        )
        self.generator: GeneratorClient = GeneratorClient(self._connection)
        self.judge: JudgeClient = JudgeClient(self._connection)
        self.trainer = TrainerClient(self._connection)

    async def close(self) -> None:
        """Ends all calls under way and the connection."""
        await self._connection.close()

    async def optimize(self, request: OptimizationRequest) -> AsyncGenerator[OptimizationEvent, None]:
        """See `AsyncServices.optimize`. After a break it goes on from the last finished round."""
        progress = Progress(request)

        def rest() -> pb.OptimizeRequest:
            with encoding(check_optimization_request, progress.request):
                return wire.optimization_request_to_proto(progress.request)

        stream = self._connection.stream(
            OPTIMIZER,
            "Optimize",
            rest,
            wire.optimization_event_from_proto,
            identity,
            lambda delivered: OptimizationFinished in delivered,
        )
        async with aclosing(stream) as events:
            async for event in events:
                progress.take(event)
                yield event

    async def compute_loss(self, request: LossRequest) -> Losses:
        """Step 1 of the loop on its own: how far each assessed picture is from the target."""
        with encoding(check_loss_request, request):
            message = wire.loss_request_to_proto(request)
        return await self._connection.unary(OPTIMIZER, "ComputeLoss", message, wire.losses_from_proto)

    async def estimate_gradient(self, request: GradientRequest) -> Gradient:
        """Step 2 of the loop on its own: what separates the best picture from the worst, in the judge's words."""
        with encoding(check_gradient_request, request):
            message = wire.gradient_request_to_proto(request)
        return await self._connection.unary(OPTIMIZER, "EstimateGradient", message, wire.gradient_from_proto)

    async def update_prompt(self, request: UpdateRequest) -> Rewrite:
        """Step 3 of the loop on its own: the prompt, rewritten by an analysis."""
        with encoding(check_update_request, request):
            message = wire.update_request_to_proto(request)
        return await self._connection.unary(OPTIMIZER, "UpdatePrompt", message, wire.rewrite_from_proto)


def _pictures(images: bytes | Sequence[bytes]) -> Pictures:
    return (images,) if isinstance(images, bytes) else tuple(images)
