"""JudgeService over a bare gRPC server, with an engine that says what it is told."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from numpy.typing import NDArray

from emofeedback.domain.assessment import Decoding
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.limits import LIMITS
from emofeedback.judge.certainty import AS_SAID, Certainty
from emofeedback.judge.engines.base import Chat, OwnTokens
from emofeedback.judge.engines.completion import Completion, TokenChoice
from emofeedback.judge.local import LocalJudge
from emofeedback.judge.servicer import JudgeServicer
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.v1 import judge_pb2 as pb
from emofeedback.v1 import judge_pb2_grpc
from support.fakes import JUDGE_MODEL, SCORER_MODEL
from support.pictures import encoded, red

PICTURE = encoded(red())
GOOD_RATING = "7 3 awe"
GOOD_REASONING = '<think>It glows.</think><answer>{"valence": 7.5, "arousal": 3.5, "emotion": "awe"}</answer>'
WHICH = pb.Question(images=[PICTURE], text="What is it?", options=["a fox", "a boat"])
SHOWN = pb.Pictures(images=[PICTURE, PICTURE])


@dataclass
class ScriptedEngine:
    """Says `replies`, used up in order, the last one for ever, and `prose` where nobody asks how sure it is; its states
    are ones.

    Of a reply of one token it says `top`, the probabilities of what could have stood there; of every picture how
    surprising it is.
    """

    replies: list[str] = field(default_factory=lambda: [GOOD_RATING])
    prose: str = ""
    top: dict[str, float] = field(default_factory=dict)
    surprise: float | None = None
    failure: Exception | None = None
    delay: float = 0.0
    chats: list[Chat] = field(default_factory=list)
    decodings: list[Decoding] = field(default_factory=list)
    cancelled: int = 0
    state: float = 1.0
    own: OwnTokens = OwnTokens(reasons=(1, 2), variations=(3, 4, 5))  # noqa: RUF009 - frozen

    async def complete(
        self, chats: Sequence[Chat], decoding: Decoding, *, top_logprobs: bool = False, pattern: str = ""
    ) -> list[Completion]:
        self.decodings.append(decoding)
        await self._work(chats)
        texts = [self._next() if top_logprobs or not self.prose else self.prose for _ in chats]
        top = {text: math.log(share) for text, share in self.top.items()}
        return [
            Completion(text, (TokenChoice(text, top),) if top else (), True, surprise=self.surprise) for text in texts
        ]

    async def states(self, chats: Sequence[Chat]) -> list[NDArray[np.float32]]:
        await self._work(chats)
        return [np.full((len(self.own.reasons), 4), self.state, np.float32) for _ in chats]

    async def _work(self, chats: Sequence[Chat]) -> None:
        self.chats.extend(chats)
        try:
            await asyncio.sleep(self.delay)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure

    def _next(self) -> str:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def close(self) -> None:
        pass


class LengthScorer:
    """Scores by the length of what it gets."""

    info: ModelInfo = SCORER_MODEL

    async def score(self, images: Sequence[bytes], prompt: str) -> list[float]:
        return [len(image) / 1e6 for image in images]

    async def compare_texts(self, text: str, candidates: Sequence[str]) -> list[float]:
        return [len(candidate) / 1e6 for candidate in candidates]

    def close(self) -> None:
        pass


@asynccontextmanager
async def served(
    engine: ScriptedEngine | None = None,
    token: str | None = None,
    calibrations: Path | None = None,
    certainty: Certainty = AS_SAID,
) -> AsyncIterator[Any]:
    """A stub of the service."""
    settings = replace(NANO_PROFILE.judge, calibrations=str(calibrations or ""))
    judge = LocalJudge(
        engine or ScriptedEngine(), LengthScorer(), info=JUDGE_MODEL, settings=settings, certainty=certainty
    )
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", LIMITS.message_bytes)])
    judge_pb2_grpc.add_JudgeServiceServicer_to_server(JudgeServicer(judge, token), server)  # type: ignore[arg-type]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = [("grpc.max_send_message_length", 2 * LIMITS.message_bytes)]
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            stub = judge_pb2_grpc.JudgeServiceStub(channel)
            stub.address = f"127.0.0.1:{port}"  # type: ignore[attr-defined]
            yield stub
    finally:
        await server.stop(grace=None)


@dataclass
class Failure:
    code: grpc.StatusCode
    details: str
    violations: dict[str, str]


async def failure(call: Awaitable[Any]) -> Failure:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    violations = {}
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    for detail in status.details if status else ():
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            violations = {violation.field: violation.description for violation in bad.field_violations}
    return Failure(error.code(), error.details() or "", violations)


async def assess(stub: Any, *images: bytes, **options: Any) -> Sequence[pb.AssessmentOutcome]:
    response: pb.AssessImagesResponse = await stub.AssessImages(pb.AssessImagesRequest(images=images, **options))
    return response.outcomes


async def still_serves(stub: Any) -> bool:
    (outcome,) = await assess(stub, PICTURE)
    return bool(outcome.WhichOneof("outcome"))


def keyed(*images: bytes, user: str = "") -> list[pb.AssessStreamRequest]:
    return [pb.AssessStreamRequest(key=10 + i, image=image, user=user) for i, image in enumerate(images)]
