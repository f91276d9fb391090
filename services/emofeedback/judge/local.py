"""The judge in process: prompts, an engine, the parsers and a scorer, put together.

Every image is assessed by a rating, a reply of a few tokens that is read from its probabilities; the model reasons
first, in words or in its reasoning tokens, only where somebody asks for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from emofeedback.concurrency import as_completed
from emofeedback.domain.assessment import AssessmentFailure, AssessmentOutcome, Conversation, Decoding
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest, NotFinite
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.questions import AnswerOutcome, DescriptionOutcome, Pictures, Question
from emofeedback.domain.reasoning import EmotionTokens, Imagination, Reasoning, reasoning_of
from emofeedback.domain.tensors import Tensor
from emofeedback.domain.validation import (
    check_assessment,
    check_comparison,
    check_conversations,
    check_reasoning,
    check_scoring,
    check_user,
)
from emofeedback.judge.calibration import Calibration
from emofeedback.judge.calibration_store import CalibrationStore
from emofeedback.judge.certainty import AS_SAID, Certainty
from emofeedback.judge.chats import Chats
from emofeedback.judge.domain import weighed
from emofeedback.judge.engines.base import VisionLanguageEngine, chat, fetch_checkpoint
from emofeedback.judge.engines.completion import Completion
from emofeedback.judge.parsing import parse_rating, parse_reasoning
from emofeedback.judge.preflight import preflight
from emofeedback.judge.prompts import (
    RATING_MAX_NEW_TOKENS,
    RATING_PATTERN,
    REASONING_PATTERN,
    imagine_conversation,
    look_conversation,
    rating_conversation,
    reasoning_conversation,
)
from emofeedback.judge.questions import Questions
from emofeedback.observability.metrics import PARSE_FAILURES, REPLIES
from emofeedback.profiles.profile import JudgeSettings
from emofeedback.storage.checkpoints import digest, model_name

_TRAINING = (
    "`emofeedback-train judge-latent` trains them into a checkpoint, which judge.checkpoint of the profile then names"
)


class Scorer(Protocol):
    """Says how well pictures and texts fit each other; `scorers.ClipScorer` is the real one."""

    info: ModelInfo

    async def score(self, images: Sequence[bytes], prompt: str) -> list[float]:
        """As `Judge.score`."""
        ...

    async def compare_texts(self, text: str, candidates: Sequence[str]) -> list[float]:
        """As `Judge.compare_texts`."""
        ...

    def close(self) -> None:
        """Frees the model."""
        ...


@dataclass(frozen=True)
class _Way:
    """How a picture is asked about, and how the reply is read."""

    kind: str
    """As metrics call it."""
    ask: Callable[[bytes], Conversation]
    decoding: Decoding
    parse: Callable[[Completion], AssessmentOutcome]
    pattern: str
    """What the whole reply matches, where the engine can hold it to that."""


class LocalJudge:
    """A `Judge` that runs in this process."""

    def __init__(
        self,
        engine: VisionLanguageEngine,
        scorer: Scorer,
        *,
        info: ModelInfo,
        settings: JudgeSettings,
        certainty: Certainty = AS_SAID,
    ) -> None:
        self._engine = engine
        self._chats = Chats(engine, settings.max_pixels)
        self._scorer = scorer
        self._certainty = certainty
        self._info = info
        self._dtype = settings.dtype
        self._calibrations = settings.calibrations
        short, long = (Decoding(max_new_tokens=n) for n in (RATING_MAX_NEW_TOKENS, settings.max_reasoning_tokens))
        look = partial(look_conversation, reasons=len(engine.own.reasons))
        self._ways: dict[Reasoning, _Way] = {
            "none": _Way("rating", rating_conversation, short, parse_rating, RATING_PATTERN),
            "latent": _Way("latent", look, short, parse_rating, RATING_PATTERN),
            "aloud": _Way("reasoning", reasoning_conversation, long, parse_reasoning, REASONING_PATTERN),
        }
        self._questions = Questions(self._chats, long, certainty)

    @classmethod
    def load(cls, settings: JudgeSettings) -> LocalJudge:
        """The settings' models, ready to judge.

        Raises:
            FailedPrecondition, InvalidRequest: as `preflight`, before any weights are read.
        """
        preflight(settings)
        folder = fetch_checkpoint(settings.checkpoint)
        info = ModelInfo(name=model_name(settings.checkpoint), digest=digest(folder))
        engine = _load_engine(settings)
        from emofeedback.judge.scorers import ClipScorer

        scorer = ClipScorer.load(settings)
        return cls(engine, scorer, info=info, settings=settings, certainty=Certainty.load(folder))

    async def assess(
        self, images: Sequence[bytes], *, reasoning: bool | Reasoning = False, user: str = ""
    ) -> list[AssessmentOutcome]:
        """See `Judge`."""
        check_assessment(images, user)
        way = self._ways[reasoning_of(reasoning)]
        if way.kind == "latent":
            self._check_tokens()
        calibration = await self._calibration(user)
        return await self._assess({f"images[{i}]": image for i, image in enumerate(images)}, way, calibration)

    async def assess_stream(
        self, images: AsyncIterator[tuple[int, bytes]], *, user: str = ""
    ) -> AsyncGenerator[tuple[int, AssessmentOutcome], None]:
        """See `Judge`. A bad image, named by its key, ends the stream."""
        check_user(user, required=False)
        calibration = await self._calibration(user)

        async def assess_one(keyed: tuple[int, bytes]) -> tuple[int, AssessmentOutcome]:
            key, image = keyed
            (outcome,) = await self._assess({f"images[{key}]": image}, self._ways["none"], calibration)
            return key, outcome

        async with aclosing(as_completed(images, assess_one, limit=LIMITS.images_per_call)) as outcomes:
            async for outcome in outcomes:
                yield outcome

    async def ask(self, questions: Sequence[Question]) -> list[AnswerOutcome]:
        """See `Judge`."""
        return await self._questions.ask(questions)

    def ask_stream(
        self, questions: AsyncIterator[tuple[int, Question]]
    ) -> AsyncGenerator[tuple[int, AnswerOutcome], None]:
        """See `Judge`. A bad question, named by its key, ends the stream."""
        return self._questions.ask_stream(questions)

    async def describe(self, pictures: Sequence[Pictures]) -> list[DescriptionOutcome]:
        """See `Judge`."""
        return await self._questions.describe(pictures)

    def describe_stream(
        self, pictures: AsyncIterator[tuple[int, Pictures]]
    ) -> AsyncGenerator[tuple[int, DescriptionOutcome], None]:
        """See `Judge`. Bad pictures, named by their key, end the stream."""
        return self._questions.describe_stream(pictures)

    async def score(self, images: Sequence[bytes], prompt: str) -> list[float]:
        """See `Judge`."""
        check_scoring(images, prompt)
        return await self._scorer.score(images, prompt)

    async def compare_texts(self, text: str, candidates: Sequence[str]) -> list[float]:
        """See `Judge`."""
        check_comparison(text, candidates)
        return await self._scorer.compare_texts(text, candidates)

    async def converse(self, conversations: Sequence[Conversation], decoding: Decoding) -> list[str]:
        """See `Judge`."""
        check_conversations(conversations, decoding)
        chats = [
            await self._chats.prepared(conversation, _image_fields(conversation, f"conversations[{c}]"))
            for c, conversation in enumerate(conversations)
        ]
        replies = await self._chats.complete("conversation", chats, decoding)
        if not all(reply.finite for reply in replies):
            raise NotFinite.of(f"judge {self._info.name!r}", self._dtype)
        return [reply.text for reply in replies]

    async def reason(self, subject: bytes | Imagination, *, variations: int = 0) -> EmotionTokens:
        """See `Judge`."""
        check_reasoning(subject, variations)
        self._check_tokens()
        reasons, learned = len(self._engine.own.reasons), len(self._engine.own.variations)
        if not isinstance(subject, Imagination):
            chats = [await self._chats.prepared(look_conversation(subject, reasons), ["image"])]
        elif not learned:
            raise FailedPrecondition(f"judge {self._info.name!r} has not learned to imagine: {_TRAINING}")
        elif variations > learned:
            raise InvalidRequest.of("variations", f"is {variations}, this judge has learned {learned}")
        else:
            asked = [imagine_conversation(subject, reasons, number) for number in range(variations or learned)]
            chats = [chat(conversation, ()) for conversation in asked]
        with self._chats.counted("reason", chats, new_tokens=0):
            try:
                states = np.stack(await self._engine.states(chats)).astype("<f4")
            except InvalidRequest as error:  # the engine sees a conversation
                field = "imagination.prompt" if isinstance(subject, Imagination) else "image"
                raise InvalidRequest.of(field, f"is too long for the model: {error.violations[0].problem}") from error
        if not np.isfinite(states).all():
            raise NotFinite.of(f"judge {self._info.name!r}", self._dtype)
        REPLIES.record(len(states), kind="reason")
        tensor = Tensor(element_type="float32", shape=states.shape, data=states.tobytes())
        return EmotionTokens(states=tensor, judge=self._info)

    async def model(self) -> ModelInfo:
        """See `Judge`."""
        return self._info

    async def scorer(self) -> ModelInfo:
        """The model behind `score` and `compare_texts`."""
        return self._scorer.info

    @property
    def pending_tokens(self) -> int:
        """Tokens that the chats which wait or are being answered cost at most (`expected_tokens`)."""
        return self._chats.pending_tokens

    def close(self) -> None:
        """Frees the models; calls that still wait are cancelled."""
        self._engine.close()
        self._scorer.close()

    async def _calibration(self, user: str) -> Calibration | None:
        """What is known of a person; None where nobody is named."""
        if not user:
            return None
        if not self._calibrations:
            raise FailedPrecondition(
                "this judge has no calibrations: name their folder or URI in judge.calibrations of its profile, "
                "or by --calibrations where the judge runs in the command itself"
            )
        return await asyncio.to_thread(CalibrationStore(self._calibrations).read, user, self._info)

    async def _assess(
        self, images: dict[str, bytes], way: _Way, calibration: Calibration | None
    ) -> list[AssessmentOutcome]:
        """Outcomes of images under the names of their fields."""
        chats = [await self._chats.prepared(way.ask(image), [field]) for field, image in images.items()]
        replies = await self._chats.complete(way.kind, chats, way.decoding, top_logprobs=True, pattern=way.pattern)
        outcomes = [weighed(self._certainty.apply(way.parse(reply)), reply.surprise) for reply in replies]
        REPLIES.record(len(outcomes), kind=way.kind)
        PARSE_FAILURES.record(sum(isinstance(outcome, AssessmentFailure) for outcome in outcomes), kind=way.kind)
        return [calibration.apply(outcome) for outcome in outcomes] if calibration else outcomes

    def _check_tokens(self) -> None:
        if not self._engine.own.reasons:
            raise FailedPrecondition(f"judge {self._info.name!r} has no reasoning tokens: {_TRAINING}")


def _image_fields(conversation: Conversation, field: str) -> list[str]:
    """Dotted names of the fields that hold a conversation's images."""
    return [
        f"{field}.messages[{m}].parts[{p}].image"
        for m, message in enumerate(conversation)
        for p, part in enumerate(message.parts)
        if isinstance(part, bytes)
    ]


def _load_engine(settings: JudgeSettings) -> VisionLanguageEngine:
    """The engine that the settings name; only here is anything heavy imported."""
    if settings.engine == "vllm":
        from emofeedback.judge.engines.vllm import VllmEngine

        return VllmEngine.load(settings)
    import torch

    from emofeedback.judge.engines.qwen import Qwen
    from emofeedback.judge.engines.transformers import TransformersEngine

    if settings.threads:
        torch.set_num_threads(settings.threads)
    return TransformersEngine(Qwen.load(settings), max_batch=settings.max_batch)
