"""JudgeService on the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Protocol

from emofeedback import wire
from emofeedback.domain.assessment import Judge
from emofeedback.domain.generation import ModelInfo
from emofeedback.judge.image_stream import ImageStream
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
        stream = ImageStream(aiter(requests))
        user = await stream.user()
        if user is None:
            return
        model = wire.model_to_proto(await self._judge.model())
        async with aclosing(self._judge.assess_stream(stream.images(), user=user)) as outcomes:
            async for key, outcome in outcomes:
                stream.answered()
                yield pb.AssessStreamResponse(key=key, outcome=wire.outcome_to_proto(outcome), model=model)

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
