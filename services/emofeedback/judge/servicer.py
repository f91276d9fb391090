"""JudgeService on the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Protocol

from emofeedback import wire
from emofeedback.domain.assessment import Judge
from emofeedback.domain.generation import ModelInfo
from emofeedback.judge.keyed_stream import KeyedStream
from emofeedback.rpc import RequestWindow, stream_rpc, unary_rpc
from emofeedback.rpc.server import Context
from emofeedback.v1 import judge_pb2 as pb


class ServedJudge(Judge, Protocol):
    """A judge that also names its scorer, for the replies that the scorer makes."""

    async def scorer(self) -> ModelInfo:
        """The model behind `score` and `compare_texts`."""
        ...


class JudgeServicer:
    """Serves any judge; the same class under `grpc.aio` and under Ray Serve."""

    def __init__(self, judge: ServedJudge, token: str | None) -> None:
        self.token = token
        self._judge = judge
        self._window = RequestWindow()

    @unary_rpc
    async def AssessImages(self, request: pb.AssessImagesRequest, context: Context) -> pb.AssessImagesResponse:
        return await self._window.unary(request, lambda: self._assess(request))

    @stream_rpc
    async def AssessStream(
        self, requests: AsyncIterator[pb.AssessStreamRequest], context: Context
    ) -> AsyncIterator[pb.AssessStreamResponse]:
        stream = KeyedStream(aiter(requests))
        first = await stream.first()
        if first is None:
            return
        user, model = first.user, wire.model_to_proto(await self._judge.model())
        images = stream.items(lambda request: wire.streamed_image_from_proto(request, user))
        async with aclosing(self._judge.assess_stream(images, user=user)) as outcomes:
            async for key, outcome in outcomes:
                stream.answered()
                yield pb.AssessStreamResponse(key=key, outcome=wire.outcome_to_proto(outcome), model=model)

    @unary_rpc
    async def Ask(self, request: pb.AskRequest, context: Context) -> pb.AskResponse:
        return await self._window.unary(request, lambda: self._ask(request))

    @stream_rpc
    async def AskStream(
        self, requests: AsyncIterator[pb.AskStreamRequest], context: Context
    ) -> AsyncIterator[pb.AskStreamResponse]:
        stream = KeyedStream(aiter(requests))
        if await stream.first() is None:
            return
        model = wire.model_to_proto(await self._judge.model())
        questions = stream.items(wire.streamed_question_from_proto)
        async with aclosing(self._judge.ask_stream(questions)) as outcomes:
            async for key, outcome in outcomes:
                stream.answered()
                yield pb.AskStreamResponse(key=key, outcome=wire.answer_to_proto(outcome), model=model)

    @unary_rpc
    async def Describe(self, request: pb.DescribeRequest, context: Context) -> pb.DescribeResponse:
        return await self._window.unary(request, lambda: self._describe(request))

    @stream_rpc
    async def DescribeStream(
        self, requests: AsyncIterator[pb.DescribeStreamRequest], context: Context
    ) -> AsyncIterator[pb.DescribeStreamResponse]:
        stream = KeyedStream(aiter(requests))
        if await stream.first() is None:
            return
        model = wire.model_to_proto(await self._judge.model())
        pictures = stream.items(wire.streamed_pictures_from_proto)
        async with aclosing(self._judge.describe_stream(pictures)) as outcomes:
            async for key, outcome in outcomes:
                stream.answered()
                yield pb.DescribeStreamResponse(key=key, outcome=wire.description_to_proto(outcome), model=model)

    @unary_rpc
    async def ScoreImages(self, request: pb.ScoreImagesRequest, context: Context) -> pb.ScoreImagesResponse:
        return await self._window.unary(request, lambda: self._score(request))

    @unary_rpc
    async def CompareTexts(self, request: pb.CompareTextsRequest, context: Context) -> pb.CompareTextsResponse:
        text, candidates = wire.compare_request_from_proto(request)
        similarities = await self._judge.compare_texts(text, candidates)
        model = wire.model_to_proto(await self._judge.scorer())
        return pb.CompareTextsResponse(similarities=similarities, model=model)

    @unary_rpc
    async def Converse(self, request: pb.ConverseRequest, context: Context) -> pb.ConverseResponse:
        return await self._window.unary(request, lambda: self._converse(request))

    @unary_rpc
    async def Reason(self, request: pb.ReasonRequest, context: Context) -> pb.ReasonResponse:
        return await self._window.unary(request, lambda: self._reason(request))

    @unary_rpc
    async def GetModel(
        self, request: pb.JudgeServiceGetModelRequest, context: Context
    ) -> pb.JudgeServiceGetModelResponse:
        return pb.JudgeServiceGetModelResponse(model=wire.model_to_proto(await self._judge.model()))

    async def _assess(self, request: pb.AssessImagesRequest) -> pb.AssessImagesResponse:
        images, reasoning, user = wire.assess_request_from_proto(request)
        outcomes = await self._judge.assess(images, reasoning=reasoning, user=user)
        model = wire.model_to_proto(await self._judge.model())
        return pb.AssessImagesResponse(outcomes=map(wire.outcome_to_proto, outcomes), model=model)

    async def _ask(self, request: pb.AskRequest) -> pb.AskResponse:
        outcomes = await self._judge.ask(wire.ask_request_from_proto(request))
        model = wire.model_to_proto(await self._judge.model())
        return pb.AskResponse(outcomes=map(wire.answer_to_proto, outcomes), model=model)

    async def _describe(self, request: pb.DescribeRequest) -> pb.DescribeResponse:
        outcomes = await self._judge.describe(wire.describe_request_from_proto(request))
        model = wire.model_to_proto(await self._judge.model())
        return pb.DescribeResponse(outcomes=map(wire.description_to_proto, outcomes), model=model)

    async def _score(self, request: pb.ScoreImagesRequest) -> pb.ScoreImagesResponse:
        images, prompt = wire.score_request_from_proto(request)
        scores = await self._judge.score(images, prompt)
        return pb.ScoreImagesResponse(scores=scores, model=wire.model_to_proto(await self._judge.scorer()))

    async def _converse(self, request: pb.ConverseRequest) -> pb.ConverseResponse:
        conversations, decoding = wire.converse_request_from_proto(request)
        replies = await self._judge.converse(conversations, decoding)
        return pb.ConverseResponse(replies=replies, model=wire.model_to_proto(await self._judge.model()))

    async def _reason(self, request: pb.ReasonRequest) -> pb.ReasonResponse:
        subject, variations = wire.reason_request_from_proto(request)
        tokens = await self._judge.reason(subject, variations=variations)
        return pb.ReasonResponse(emotion=wire.emotion_tokens_to_proto(tokens))
