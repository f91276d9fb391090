"""JudgeService over a bare gRPC server: real pictures, checks and parsers, an engine that says what it is told."""

import grpc
import pytest

from emofeedback.domain.assessment import Decoding
from emofeedback.domain.limits import LIMITS
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.v1 import affect_pb2
from emofeedback.v1 import judge_pb2 as pb
from support.fakes import JUDGE_MODEL, SCORER_MODEL
from support.judge_service import (
    GOOD_RATING,
    GOOD_REASONING,
    PICTURE,
    ScriptedEngine,
    assess,
    failure,
    served,
    still_serves,
)
from support.pictures import ACCEPTED, REFUSED


async def test_an_assessment_carries_everything_and_the_model() -> None:
    async with served() as stub:
        reply = await stub.AssessImages(pb.AssessImagesRequest(images=[PICTURE, PICTURE]))
    assert len(reply.outcomes) == 2
    assessment = reply.outcomes[0].assessment
    assert (assessment.valence, assessment.arousal, assessment.emotion) == (7, 3, affect_pb2.EMOTION_AWE)
    assert (reply.model.name, reply.model.digest) == (JUDGE_MODEL.name, JUDGE_MODEL.digest)


async def test_reasoning_is_asked_for_and_told() -> None:
    engine = ScriptedEngine([GOOD_REASONING])
    async with served(engine) as stub:
        (outcome,) = await assess(stub, PICTURE, reasoning=True)
    assert outcome.assessment.reasoning == "It glows."
    assert outcome.assessment.valence == 7.5
    assert engine.decodings == [Decoding(max_new_tokens=NANO_PROFILE.judge.max_reasoning_tokens)]


async def test_scores_and_comparisons_name_the_scorer() -> None:
    async with served() as stub:
        scores = await stub.ScoreImages(pb.ScoreImagesRequest(images=[PICTURE], prompt="a fox"))
        texts = await stub.CompareTexts(pb.CompareTextsRequest(text="a fox", candidates=["abc", "a"]))
    assert scores.scores == [len(PICTURE) / 1e6]
    assert list(texts.similarities) == [3e-6, 1e-6]
    assert scores.model.name == texts.model.name == SCORER_MODEL.name


async def test_a_conversation_reaches_the_model_in_its_order() -> None:
    engine = ScriptedEngine(["Brighter."])
    parts = [pb.MessagePart(text="this"), pb.MessagePart(image=PICTURE), pb.MessagePart(text="or that?")]
    messages = [
        pb.Message(role=pb.ROLE_SYSTEM, parts=[pb.MessagePart(text="Be brief.")]),
        pb.Message(role=pb.ROLE_USER, parts=parts),
    ]
    decoding = pb.Decoding(max_new_tokens=20, temperature=0.5, seed=7)
    async with served(engine) as stub:
        reply = await stub.Converse(
            pb.ConverseRequest(conversations=[pb.Conversation(messages=messages)], decoding=decoding)
        )
    assert list(reply.replies) == ["Brighter."]
    assert engine.decodings == [Decoding(max_new_tokens=20, temperature=0.5, seed=7)]
    (chat,) = engine.chats
    assert [message["role"] for message in chat.messages] == ["system", "user"]
    assert [part["type"] for part in chat.messages[1]["content"]] == ["text", "image", "text"]
    assert [image.size for image in chat.images] == [(16, 12)]


@pytest.mark.parametrize("kind", REFUSED)
async def test_a_bad_picture_is_refused_by_its_field_and_the_service_goes_on(kind: str) -> None:
    make, _ = REFUSED[kind]
    async with served() as stub:
        refusal = await failure(assess(stub, PICTURE, make()))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert list(refusal.violations) == ["images[1]"]
        assert await still_serves(stub)


@pytest.mark.parametrize("kind", ACCEPTED)
async def test_every_kind_of_still_picture_is_assessed(kind: str) -> None:
    make, *_ = ACCEPTED[kind]
    async with served() as stub:
        (outcome,) = await assess(stub, make())
    assert outcome.WhichOneof("outcome") == "assessment"


@pytest.mark.parametrize(
    "garbage",
    ["", "   ", "asdf ghjk", "I'm sorry, I can't do that.", "999 -3 joy", "\x00\ufffd" * 100, '{"valence": 7'],
    ids=["nothing", "blank", "letters", "a refusal", "off the scale", "control characters", "cut JSON"],
)
@pytest.mark.parametrize("reasoning", [False, True], ids=["short", "reasoning"])
async def test_one_garbage_reply_costs_only_its_own_image(garbage: str, reasoning: bool) -> None:
    good = GOOD_REASONING if reasoning else GOOD_RATING
    async with served(ScriptedEngine([good, garbage, good])) as stub:
        outcomes = await assess(stub, PICTURE, PICTURE, PICTURE, reasoning=reasoning)
        assert [outcome.WhichOneof("outcome") for outcome in outcomes] == ["assessment", "failure", "assessment"]
        assert outcomes[1].failure.reason
        assert await still_serves(stub)


async def test_json_with_text_around_it_is_read() -> None:
    reply = 'Sure! Here it is:\n```json\n{"emotion": "fear", "arousal": "6.5", "valence": 2}\n```\nAnything else?'
    async with served(ScriptedEngine([reply])) as stub:
        (outcome,) = await assess(stub, PICTURE, reasoning=True)
    assert (outcome.assessment.valence, outcome.assessment.arousal) == (2, 6.5)


async def test_a_message_over_the_limit_is_refused() -> None:
    async with served() as stub:
        refusal = await failure(assess(stub, bytes(LIMITS.message_bytes + 1)))
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert str(LIMITS.message_bytes) in refusal.details
        assert await still_serves(stub)


async def test_the_same_request_sent_again_is_not_judged_again() -> None:
    engine = ScriptedEngine([GOOD_RATING, "8 2 contentment"])
    async with served(engine) as stub:
        first = await assess(stub, PICTURE, request_id="one")
        assert await assess(stub, PICTURE, request_id="one") == first
        assert len(engine.chats) == 1
