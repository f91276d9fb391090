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
from emofeedback.v1 import judge_pb2 as pb


class JudgeClient:
    """A `Judge` over gRPC."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def assess(
        self, images: Sequence[bytes], *, reasoning: bool = False, user: str = ""
    ) -> list[AssessmentOutcome]:
        """As `Judge.assess`."""
        with encoding(checks.check_assessment, images, user):
            request = pb.AssessImagesRequest(
                images=images, reasoning=reasoning, user=user, request_id=str(uuid.uuid4())
            )
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
        """As `Judge.assess_stream`; no two images may have one key. After a break, unanswered images go again."""
        checks.check_user(user, required=False)
        async for keyed in assess_stream(self._connection, images, user):
            yield keyed

    async def score(self, images: Sequence[bytes], prompt: str) -> list[float]:
        """As `Judge.score`."""
        with encoding(checks.check_scoring, images, prompt):
            request = pb.ScoreImagesRequest(images=images, prompt=prompt, request_id=str(uuid.uuid4()))
        return await self._connection.unary(JUDGE, "ScoreImages", request, lambda reply: list(reply.scores))

    async def compare_texts(self, text: str, candidates: Sequence[str]) -> list[float]:
        """As `Judge.compare_texts`."""
        with encoding(checks.check_comparison, text, candidates):
            request = pb.CompareTextsRequest(text=text, candidates=candidates)
        return await self._connection.unary(JUDGE, "CompareTexts", request, lambda reply: list(reply.similarities))

    async def converse(self, conversations: Sequence[Conversation], decoding: Decoding) -> list[str]:
        """As `Judge.converse`."""
        with encoding(checks.check_conversations, conversations, decoding):
            request = pb.ConverseRequest(
                conversations=wire.conversations_to_proto(conversations),
                decoding=wire.decoding_to_proto(decoding),
                request_id=str(uuid.uuid4()),
            )
        return await self._connection.unary(JUDGE, "Converse", request, lambda reply: list(reply.replies))

    async def model(self) -> ModelInfo:
        """The vision-language model behind it."""
        return await self._connection.unary(
            JUDGE,
            "GetModel",
            pb.JudgeServiceGetModelRequest(),
            lambda reply: wire.model_from_proto(reply.model),
        )
