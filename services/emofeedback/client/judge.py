"""The judge behind an address."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from emofeedback import wire
from emofeedback.client.connection import Connection, encoding
from emofeedback.client.keyed_stream import JUDGE, keyed_stream
from emofeedback.domain import validation as checks
from emofeedback.domain.assessment import AssessmentOutcome, Conversation, Decoding
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.questions import AnswerOutcome, DescriptionOutcome, Pictures, Question
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

        requests = (pb.AssessStreamRequest(key=key, image=image, user=user) async for key, image in images)
        outcomes = keyed_stream(self._connection, "AssessStream", requests, wire.outcome_from_proto)
        async with aclosing(outcomes):
            async for keyed in outcomes:
                yield keyed

    async def ask(self, questions: Sequence[Question]) -> list[AnswerOutcome]:
        """Answers to questions about one or two pictures each: one of a question's options, or where it has none a
        sentence.

        Raises:
            InvalidRequest: a question is out of its limits, its options are too few or alike, a picture is not one, or
                a question with its pictures is longer than what the model reads.
        """
        with encoding(checks.check_questions, questions):
            request = wire.ask_request_to_proto(questions, str(uuid.uuid4()))
        return await self._connection.unary(
            JUDGE,
            "Ask",
            request,
            lambda reply: [
                wire.answer_from_proto(outcome, f"outcomes[{i}]") for i, outcome in enumerate(reply.outcomes)
            ],
        )

    async def ask_stream(
        self, questions: AsyncIterator[tuple[int, Question]]
    ) -> AsyncGenerator[tuple[int, AnswerOutcome], None]:
        """As `ask`, for questions that come one by one under keys, no two under the same; answers as they are ready.

        After a break, unanswered questions are sent again.
        """

        async def requests() -> AsyncIterator[pb.AskStreamRequest]:
            async for key, question in questions:
                with encoding(checks.check_question, f"questions[{key}]", question):
                    request = pb.AskStreamRequest(key=key, question=wire.question_to_proto(question))
                yield request

        outcomes = keyed_stream(self._connection, "AskStream", requests(), wire.answer_from_proto)
        async with aclosing(outcomes):
            async for keyed in outcomes:
                yield keyed

    async def describe(self, pictures: Sequence[Pictures]) -> list[DescriptionOutcome]:
        """What one or two pictures each make people feel, and why; of two, how the second differs from the first.

        Raises:
            InvalidRequest: there are none or more than two in one place, or one is no picture.
        """
        with encoding(checks.check_descriptions, pictures):
            request = wire.describe_request_to_proto(pictures, str(uuid.uuid4()))
        return await self._connection.unary(
            JUDGE,
            "Describe",
            request,
            lambda reply: [
                wire.description_from_proto(outcome, f"outcomes[{i}]") for i, outcome in enumerate(reply.outcomes)
            ],
        )

    async def describe_stream(
        self, pictures: AsyncIterator[tuple[int, Pictures]]
    ) -> AsyncGenerator[tuple[int, DescriptionOutcome], None]:
        """As `describe`, for pictures that come one by one, or two by two, under keys, no two under the same;
        descriptions as they are ready.

        After a break, what is unanswered is sent again.
        """

        requests = (
            pb.DescribeStreamRequest(key=key, pictures=pb.Pictures(images=images)) async for key, images in pictures
        )
        outcomes = keyed_stream(self._connection, "DescribeStream", requests, wire.description_from_proto)
        async with aclosing(outcomes):
            async for keyed in outcomes:
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
