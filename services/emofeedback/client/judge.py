"""The judge behind an address."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from emofeedback import wire
from emofeedback.client.assess_stream import JUDGE, assess_stream
from emofeedback.client.connection import Connection, encoding
from emofeedback.domain import validation as checks
from emofeedback.domain.assessment import AssessmentOutcome, Conversation, Decoding
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.reasoning import EmotionTokens, Imagination, Reasoning, reasoning_of
from emofeedback.v1 import judge_pb2 as pb


class JudgeClient:
    """Looks at pictures: a `Judge` over gRPC. Every list it returns is as long as its input and in its order."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def assess(
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
        way = reasoning_of(reasoning)
        with encoding(checks.check_assessment, images, user):
            request = wire.assess_request_to_proto(images, way, user, str(uuid.uuid4()))
        return await self._connection.unary(
            JUDGE,
            "AssessImages",
            request,
            lambda reply: [
                wire.outcome_from_proto(outcome, f"outcomes[{i}]") for i, outcome in enumerate(reply.outcomes)
            ],
        )

    async def assess_stream(
        self, images: AsyncIterator[tuple[int, bytes]], *, user: str = ""
    ) -> AsyncGenerator[tuple[int, AssessmentOutcome], None]:
        """As `assess`, for images that come one by one under keys, no two under the same; outcomes as they are ready.

        After a break, unanswered images are sent again.
        """
        checks.check_user(user, required=False)
        async for keyed in assess_stream(self._connection, images, user):
            yield keyed

    async def score(self, images: Sequence[bytes], prompt: str) -> list[float]:
        """Alignment of each image with the prompt: the scorer's cosine similarity, in [-1, 1]."""
        with encoding(checks.check_scoring, images, prompt):
            request = pb.ScoreImagesRequest(images=images, prompt=prompt, request_id=str(uuid.uuid4()))
        return await self._connection.unary(JUDGE, "ScoreImages", request, lambda reply: list(reply.scores))

    async def compare_texts(self, text: str, candidates: Sequence[str]) -> list[float]:
        """Similarity of each candidate with `text`, cosine of the scorer's text embeddings, in [-1, 1]."""
        with encoding(checks.check_comparison, text, candidates):
            request = pb.CompareTextsRequest(text=text, candidates=candidates)
        return await self._connection.unary(JUDGE, "CompareTexts", request, lambda reply: list(reply.similarities))

    async def converse(self, conversations: Sequence[Conversation], decoding: Decoding) -> list[str]:
        """The model's reply to each conversation, whose messages may hold images."""
        with encoding(checks.check_conversations, conversations, decoding):
            request = pb.ConverseRequest(
                conversations=wire.conversations_to_proto(conversations),
                decoding=wire.decoding_to_proto(decoding),
                request_id=str(uuid.uuid4()),
            )
        return await self._connection.unary(JUDGE, "Converse", request, lambda reply: list(reply.replies))

    async def reason(self, subject: bytes | Imagination, *, variations: int = 0) -> EmotionTokens:
        """What the model has in mind of a picture (PNG, JPEG or WebP), or of one that it imagines, for a generator
        policy that was fused with this judge.

        Args:
            variations: different imaginations of the same feeling, 1 to 8 and at most what the model has learned; 0:
                all of those. Of an image there is one.

        Raises:
            InvalidRequest: the image is not one, the imagination or `variations` is out of its limits.
            FailedPrecondition: the judge has no reasoning tokens, or its engine keeps its states to itself.
        """
        with encoding(checks.check_reasoning, subject, variations):
            request = wire.reason_request_to_proto(subject, variations, str(uuid.uuid4()))
        return await self._connection.unary(
            JUDGE, "Reason", request, lambda reply: wire.emotion_tokens_from_proto(reply.emotion)
        )

    async def model(self) -> ModelInfo:
        """The vision-language model behind it."""
        return await self._connection.unary(
            JUDGE,
            "GetModel",
            pb.JudgeServiceGetModelRequest(),
            lambda reply: wire.model_from_proto(reply.model),
        )
