"""What a judge has in mind of a picture or of one that it imagines, and which way of reasoning it is asked for."""

from typing import Any

import grpc
import pytest

from emofeedback.domain.affect import LEXICON, Emotion
from emofeedback.domain.errors import InvalidRequest
from emofeedback.judge.engines.base import OwnTokens
from emofeedback.v1 import affect_pb2
from emofeedback.v1 import judge_pb2 as pb
from support.fakes import JUDGE_MODEL
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


def imagined(prompt: str = "a fox", valence: float = 7, arousal: float = 3) -> pb.Imagination:
    point = affect_pb2.AffectPoint(valence=valence, arousal=arousal)
    return pb.Imagination(prompt=prompt, target=affect_pb2.Target(point=point))


IMAGINATION = imagined()


async def test_a_judge_reasons_about_a_picture_once_and_imagines_as_often_as_it_is_asked() -> None:
    engine = ScriptedEngine()
    async with served(engine) as stub:
        of_a_picture = (await stub.Reason(pb.ReasonRequest(image=PICTURE))).emotion
        imagined = {
            asked: (await stub.Reason(pb.ReasonRequest(imagination=IMAGINATION, variations=asked))).emotion
            for asked in (0, 1, 2)
        }
    assert list(of_a_picture.states.shape) == [1, 2, 4]
    assert (of_a_picture.judge.name, of_a_picture.judge.digest) == (JUDGE_MODEL.name, JUDGE_MODEL.digest)
    assert {asked: emotion.states.shape[0] for asked, emotion in imagined.items()} == {0: 3, 1: 1, 2: 2}
    asked = [chat.messages[0]["content"][-2:] for chat in engine.chats[1:4]]
    own = "<|reason_0|><|reason_1|>"
    assert [[part["text"] for part in parts] for parts in asked] == [[f"<|variation_{i}|>", own] for i in range(3)]


async def test_a_target_that_is_an_emotion_stands_for_its_place_on_the_plane() -> None:
    engine = ScriptedEngine()
    target = affect_pb2.Target(emotion=affect_pb2.EMOTION_AWE)
    async with served(engine) as stub:
        await stub.Reason(pb.ReasonRequest(imagination=pb.Imagination(prompt="a fox", target=target), variations=1))
    point = LEXICON[Emotion.AWE].point
    asked = engine.chats[0].messages[0]["content"][0]["text"]
    assert f"valence {point.valence:.1f}, arousal {point.arousal:.1f}." in asked


@pytest.mark.parametrize(
    ("request_", "field", "problem"),
    [
        (pb.ReasonRequest(), "subject", "is missing, it must be an image or an imagination"),
        (pb.ReasonRequest(image=b""), "image", "is empty, it must be a PNG, JPEG or WebP file"),
        (pb.ReasonRequest(image=PICTURE, variations=2), "variations", "is 2, of an image there is one (1, or 0)"),
        (pb.ReasonRequest(image=PICTURE, variations=-1), "variations", "is -1, of an image there is one (1, or 0)"),
        (pb.ReasonRequest(imagination=IMAGINATION, variations=9), "variations", "is 9, it must lie in [0, 8]"),
        (pb.ReasonRequest(imagination=IMAGINATION, variations=4), "variations", "is 4, this judge has learned 3"),
        (pb.ReasonRequest(imagination=imagined(" ")), "imagination.prompt", "is only white space"),
        (
            pb.ReasonRequest(imagination=imagined(valence=9.5)),
            "imagination.target.valence",
            "is 9.5, it must lie in [1, 9]",
        ),
        (
            pb.ReasonRequest(imagination=imagined(arousal=float("nan"))),
            "imagination.target.arousal",
            "is nan, it must lie in [1, 9]",
        ),
        (
            pb.ReasonRequest(imagination=pb.Imagination(prompt="a fox")),
            "imagination.target",
            "is missing, it must be a point (valence and arousal) or an emotion",
        ),
    ],
)
async def test_what_can_t_be_reasoned_about_is_refused_by_name(
    request_: pb.ReasonRequest, field: str, problem: str
) -> None:
    engine = ScriptedEngine()
    async with served(engine) as stub:
        refusal = await failure(stub.Reason(request_))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.violations == {field: problem}
    assert not engine.chats


async def test_an_imagination_over_the_context_is_refused_as_the_prompt_that_it_is() -> None:
    engine = ScriptedEngine(failure=InvalidRequest.of("conversations", "one is 600 tokens long"))
    async with served(engine) as stub:
        refusal = await failure(stub.Reason(pb.ReasonRequest(imagination=IMAGINATION)))
    assert refusal.violations == {"imagination.prompt": "is too long for the model: one is 600 tokens long"}


async def test_the_same_subject_sent_again_is_not_reasoned_about_again() -> None:
    engine = ScriptedEngine()
    async with served(engine) as stub:
        first = await stub.Reason(pb.ReasonRequest(image=PICTURE, request_id="one"))
        assert await stub.Reason(pb.ReasonRequest(image=PICTURE, request_id="one")) == first
        assert len(engine.chats) == 1
        other = await failure(stub.Reason(pb.ReasonRequest(imagination=IMAGINATION, request_id="one")))
    assert set(other.violations) == {"request_id"}


async def test_states_that_are_no_numbers_are_nobody_s_thoughts() -> None:
    async with served(ScriptedEngine(state=float("nan"))) as stub:
        refusal = await failure(stub.Reason(pb.ReasonRequest(image=PICTURE)))
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "gives NaN or infinity" in refusal.details


async def test_a_judge_without_reasoning_tokens_says_how_to_come_by_them() -> None:
    engine = ScriptedEngine(own=OwnTokens())
    async with served(engine) as stub:
        for call in (stub.Reason(pb.ReasonRequest(image=PICTURE)), assess(stub, PICTURE, mode=pb.REASONING_LATENT)):
            refusal = await failure(call)
            assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
            assert "has no reasoning tokens: `emofeedback-train judge-latent` trains them" in refusal.details
        assert await still_serves(stub)
    async with served(ScriptedEngine(own=OwnTokens(reasons=(1,)))) as stub:
        refusal = await failure(stub.Reason(pb.ReasonRequest(imagination=IMAGINATION)))
        assert "has not learned to imagine" in refusal.details
        assert (await stub.Reason(pb.ReasonRequest(image=PICTURE))).emotion.states.shape[1] == 1


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({}, "rating"),
        ({"mode": pb.REASONING_NONE}, "rating"),
        ({"mode": pb.REASONING_LATENT}, "latent"),
        ({"mode": pb.REASONING_ALOUD}, "aloud"),
        ({"reasoning": True}, "aloud"),
        ({"reasoning": True, "mode": pb.REASONING_ALOUD}, "aloud"),
    ],
)
async def test_the_mode_decides_how_the_judge_reasons_and_where_it_is_unset_the_bool(
    asked: dict[str, Any], kind: str
) -> None:
    engine = ScriptedEngine([GOOD_REASONING if kind == "aloud" else GOOD_RATING])
    async with served(engine) as stub:
        (outcome,) = await assess(stub, PICTURE, **asked)
    assert outcome.assessment.reasoning == ("It glows." if kind == "aloud" else "")
    last = engine.chats[0].messages[0]["content"][-1]["text"]
    assert (last == "<|reason_0|><|reason_1|>") == (kind == "latent")


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"reasoning": True, "mode": pb.REASONING_LATENT}, "is latent, but reasoning is true, which is aloud"),
        ({"reasoning": True, "mode": pb.REASONING_NONE}, "is none, but reasoning is true, which is aloud"),
        ({"mode": 7}, "is 7, it must be one of none, latent, aloud"),
    ],
)
async def test_a_mode_that_contradicts_the_bool_or_is_unknown_is_refused(asked: dict[str, Any], problem: str) -> None:
    async with served() as stub:
        refusal = await failure(assess(stub, PICTURE, **asked))
    assert refusal.violations["mode"].startswith(problem)
