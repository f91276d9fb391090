"""What holds for every call of JudgeService: tokens, and defects that tell nothing."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from emofeedback.v1 import judge_pb2 as pb
from support.judge_service import (
    PICTURE,
    SHOWN,
    WHICH,
    ScriptedEngine,
    assess,
    failure,
    keyed,
    served,
    still_serves,
)


async def test_a_defect_shows_a_reference_and_nothing_of_itself() -> None:
    engine = ScriptedEngine(failure=RuntimeError("CUDA error at /secret/path"))
    async with served(engine) as stub:
        defect = await failure(assess(stub, PICTURE))
        assert defect.code is grpc.StatusCode.INTERNAL
        assert "reference" in defect.details and "secret" not in defect.details
        engine.failure = None
        assert await still_serves(stub)


CALLS: dict[str, Callable[[Any, Any], Awaitable[Any]]] = {
    "AssessImages": lambda stub, metadata: stub.AssessImages(
        pb.AssessImagesRequest(images=[PICTURE]), metadata=metadata
    ),
    "AssessStream": lambda stub, metadata: stub.AssessStream(iter(keyed(PICTURE)), metadata=metadata).read(),
    "ScoreImages": lambda stub, metadata: stub.ScoreImages(
        pb.ScoreImagesRequest(images=[PICTURE], prompt="a fox"), metadata=metadata
    ),
    "CompareTexts": lambda stub, metadata: stub.CompareTexts(
        pb.CompareTextsRequest(text="a", candidates=["b"]), metadata=metadata
    ),
    "Converse": lambda stub, metadata: stub.Converse(
        pb.ConverseRequest(
            conversations=[
                pb.Conversation(messages=[pb.Message(role=pb.ROLE_USER, parts=[pb.MessagePart(text="hello")])])
            ]
        ),
        metadata=metadata,
    ),
    "Ask": lambda stub, metadata: stub.Ask(pb.AskRequest(questions=[WHICH]), metadata=metadata),
    "AskStream": lambda stub, metadata: stub.AskStream(
        iter([pb.AskStreamRequest(key=1, question=WHICH)]), metadata=metadata
    ).read(),
    "Describe": lambda stub, metadata: stub.Describe(pb.DescribeRequest(pictures=[SHOWN]), metadata=metadata),
    "DescribeStream": lambda stub, metadata: stub.DescribeStream(
        iter([pb.DescribeStreamRequest(key=1, pictures=SHOWN)]), metadata=metadata
    ).read(),
    "Reason": lambda stub, metadata: stub.Reason(pb.ReasonRequest(image=PICTURE), metadata=metadata),
    "GetModel": lambda stub, metadata: stub.GetModel(pb.JudgeServiceGetModelRequest(), metadata=metadata),
}


def test_every_rpc_is_among_the_calls() -> None:
    assert set(CALLS) == set(pb.DESCRIPTOR.services_by_name["JudgeService"].methods_by_name)


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize(
    "metadata",
    [(), (("authorization", "Bearer wrong"),), (("authorization", "let-me-in"),)],
    ids=["none", "wrong", "bare"],
)
async def test_without_the_right_token_nothing_is_answered(method: str, metadata: Any) -> None:
    engine = ScriptedEngine()
    async with served(engine, token="let-me-in") as stub:
        # A stream says nothing first: gRPC can lose the status of one that is written to later (grpc/grpc#36066).
        is_stream = method.endswith("Stream")
        call = getattr(stub, method)(metadata=metadata).read() if is_stream else CALLS[method](stub, metadata)
        assert (await failure(call)).code is grpc.StatusCode.UNAUTHENTICATED
    assert not engine.chats


@pytest.mark.parametrize("method", CALLS)
async def test_with_the_right_token_every_rpc_answers(method: str) -> None:
    async with served(token="let-me-in") as stub:
        assert (await CALLS[method](stub, (("authorization", "Bearer let-me-in"),))).ByteSize()
