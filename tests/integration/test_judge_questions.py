"""Questions to a judge and descriptions by it, over gRPC."""

import pytest

from emofeedback.domain.assessment import Decoding
from emofeedback.domain.errors import InvalidRequest
from emofeedback.judge.certainty import Certainty
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.v1 import judge_pb2 as pb
from support.fakes import JUDGE_MODEL
from support.judge_service import (
    PICTURE,
    SHOWN,
    WHICH,
    ScriptedEngine,
    failure,
    served,
)

OPEN = pb.Question(images=[PICTURE, PICTURE], text="What differs?")


async def test_an_answer_is_the_option_that_the_judge_says_and_as_sure_as_it_is() -> None:
    engine = ScriptedEngine(["a boat"], top={"a boat": 0.6, "a fox": 0.2, "the": 0.2})
    async with served(engine) as stub:
        reply = await stub.Ask(pb.AskRequest(questions=[WHICH]))
    answer = reply.outcomes[0].answer
    assert (answer.text, answer.option, answer.confidence) == ("a boat", 1, pytest.approx(0.75))
    assert not answer.HasField("in_domain") and not answer.HasField("domain_score")
    assert (reply.model.name, reply.model.digest) == (JUDGE_MODEL.name, JUDGE_MODEL.digest)
    asked = engine.chats[0].messages[0]["content"][-1]["text"]
    assert asked.startswith("What is it?\n- a fox\n- a boat\n")


async def test_an_answer_is_as_sure_as_the_judge_s_certainty_has_it_at_most() -> None:
    engine = ScriptedEngine(["a boat"], top={"a boat": 0.8, "a fox": 0.2})
    async with served(engine, certainty=Certainty(temperature=9.0, choice_temperature=2.0)) as stub:
        (outcome,) = (await stub.Ask(pb.AskRequest(questions=[WHICH]))).outcomes
        engine.surprise = 1.0
        (foreign,) = (await stub.Ask(pb.AskRequest(questions=[WHICH]))).outcomes
    assert (outcome.answer.option, outcome.answer.confidence) == (1, pytest.approx(2 / 3))
    assert foreign.answer.confidence == pytest.approx((2 / 3 + 1 / 2) / 2)


async def test_an_option_behind_thoughts_is_read_without_them() -> None:
    async with served(ScriptedEngine(["<think>A boat? No, a tail.</think><answer> a fox</answer>"])) as stub:
        (outcome,) = (await stub.Ask(pb.AskRequest(questions=[WHICH]))).outcomes
    assert (outcome.answer.text, outcome.answer.option) == ("a fox", 0)


async def test_a_reply_that_is_no_option_costs_only_its_own_question() -> None:
    async with served(ScriptedEngine(["a fox", "a dog", "a boat"])) as stub:
        outcomes = (await stub.Ask(pb.AskRequest(questions=[WHICH] * 3))).outcomes
    assert [outcome.WhichOneof("outcome") for outcome in outcomes] == ["answer", "failure", "answer"]
    assert outcomes[1].failure.reason == (
        "the judge says 'a dog', none of the options (a fox, a boat): offer that too, or ask without options"
    )
    assert [outcomes[0].answer.option, outcomes[2].answer.option] == [0, 1]
    assert not outcomes[0].answer.HasField("confidence")


async def test_an_open_question_among_others_is_answered_in_its_place() -> None:
    engine = ScriptedEngine(["a fox"], prose="The second is darker.")
    async with served(engine) as stub:
        outcomes = (await stub.Ask(pb.AskRequest(questions=[WHICH, OPEN, WHICH]))).outcomes
    assert [outcome.answer.text for outcome in outcomes] == ["a fox", "The second is darker.", "a fox"]
    assert not outcomes[1].answer.HasField("option")
    assert engine.decodings == [Decoding(max_new_tokens=NANO_PROFILE.judge.max_reasoning_tokens)] * 2
    assert sorted(len(chat.images) for chat in engine.chats) == [1, 1, 2]


async def test_pictures_that_are_not_of_the_judge_s_world_make_an_answer_a_guess() -> None:
    async with served(ScriptedEngine(["a boat"], top={"a boat": 0.9, "a fox": 0.1}, surprise=4.0)) as stub:
        (outcome,) = (await stub.Ask(pb.AskRequest(questions=[WHICH]))).outcomes
        (described,) = (await stub.Describe(pb.DescribeRequest(pictures=[SHOWN]))).outcomes
    assert outcome.answer.confidence == pytest.approx(0.9 / 16 + 0.5 * 15 / 16)
    assert (outcome.answer.in_domain, outcome.answer.domain_score) == (False, 4.0)
    assert (described.description.in_domain, described.description.domain_score) == (False, 4.0)


async def test_two_pictures_are_described_with_their_difference_and_one_alone() -> None:
    engine = ScriptedEngine(prose="Both are red.")
    async with served(engine) as stub:
        reply = await stub.Describe(pb.DescribeRequest(pictures=[SHOWN, pb.Pictures(images=[PICTURE])]))
    assert [outcome.description.text for outcome in reply.outcomes] == ["Both are red."] * 2
    asked = [chat.messages[0]["content"][-1]["text"] for chat in engine.chats]
    assert "how the second differs" in asked[0] and "second" not in asked[1]


async def test_a_question_over_the_context_is_refused_as_what_it_is() -> None:
    too_long = InvalidRequest.of("conversations", "one is 600 tokens long")
    async with served(ScriptedEngine(failure=too_long)) as stub:
        for call, field in (
            (stub.Ask(pb.AskRequest(questions=[OPEN])), "questions"),
            (stub.AskStream(iter([pb.AskStreamRequest(key=3, question=WHICH)])).read(), "questions[3]"),
            (stub.Describe(pb.DescribeRequest(pictures=[SHOWN])), "pictures"),
        ):
            refusal = await failure(call)
            assert refusal.violations == {field: "is too long for the model: one is 600 tokens long"}


async def test_the_same_question_sent_again_is_not_asked_again() -> None:
    engine = ScriptedEngine(["a fox", "a boat"])
    async with served(engine) as stub:
        first = await stub.Ask(pb.AskRequest(questions=[WHICH], request_id="one"))
        assert await stub.Ask(pb.AskRequest(questions=[WHICH], request_id="one")) == first
        assert len(engine.chats) == 1
        other = await failure(stub.Describe(pb.DescribeRequest(pictures=[SHOWN], request_id="one")))
    assert set(other.violations) == {"request_id"}
