"""What every Judge does, whoever it is: in process, behind a service, on vLLM (`make test-vllm`), scripted."""

import asyncio
import dataclasses
import importlib.util
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from emofeedback.client import AsyncClient
from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, AffectPoint, Emotion
from emofeedback.domain.assessment import Assessment, Decoding, Judge, Message
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest, NotFound
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.questions import Description, Pictures, Question, ReplyFailure
from emofeedback.domain.reasoning import EmotionTokens, Imagination, Reasoning
from emofeedback.judge.calibration_store import CalibrationStore
from emofeedback.judge.engines.base import chat
from emofeedback.judge.local import LocalJudge
from emofeedback.judge.prompts import RATING_PATTERN, REASONING_PATTERN, question_conversation
from emofeedback.judge.servicer import JudgeServicer
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.profiles.profile import JudgeSettings
from emofeedback.v1.judge_pb2_grpc import add_JudgeServiceServicer_to_server
from support import tiny_judges as tiny
from support.fakes import ScriptedJudge, known_of, paint
from support.pictures import encoded
from support.reasoning_judge import untrained_reasoning_judge

# vLLM lives in one event loop, so all tests here share one.
pytestmark = pytest.mark.asyncio(loop_scope="module")

VLLM = pytest.param("vllm", marks=pytest.mark.vllm)
IMAGES = [paint("a pier", seed) for seed in range(5)]
QUESTION = (Message(role="user", parts=(IMAGES[0], IMAGES[1], "Which is brighter?")),)
SHORT = Decoding(max_new_tokens=8)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of personal calibrations."""
    return tmp_path_factory.mktemp("people")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local(tiny_judges: Path, people: Path) -> AsyncIterator[LocalJudge]:
    judge = LocalJudge.load(
        tiny.settings(tiny_judges, checkpoint=str(tiny_judges / "reasoner"), calibrations=str(people))
    )
    yield judge
    judge.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(local: LocalJudge) -> AsyncIterator[Judge]:
    server = grpc.aio.server()
    add_JudgeServiceServicer_to_server(JudgeServicer(local, "secret"), server)  # type: ignore[arg-type]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with AsyncClient(f"127.0.0.1:{port}", token="secret") as client:
        yield client.judge
    await server.stop(None)


@pytest.fixture(scope="module")
def nano_settings(tmp_path_factory: pytest.TempPathFactory) -> JudgeSettings:
    """Of the embedded judge, with reasoning tokens."""
    folder = untrained_reasoning_judge(tmp_path_factory.mktemp("nano") / "judge")
    return dataclasses.replace(NANO_PROFILE.judge, checkpoint=str(folder))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def vllm(nano_settings: JudgeSettings, people: Path) -> AsyncIterator[LocalJudge]:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("runs in the environment of `make test-vllm`")
    judge = LocalJudge.load(dataclasses.replace(nano_settings, engine="vllm", reasoner="cpu", calibrations=str(people)))
    yield judge
    judge.close()


@pytest.fixture(params=["local", "client", VLLM])
def judge(request: pytest.FixtureRequest) -> Any:
    """Every judge with real models: two that learned a sentence in seconds, and the embedded one on vLLM, all with
    reasoning tokens."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def scripted(people: Path) -> ScriptedJudge:
    return ScriptedJudge(calibrations=CalibrationStore(str(people)))


@pytest.fixture(params=["local", "client", VLLM, "scripted"])
def any_judge(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


async def keyed(*keys: int) -> AsyncIterator[tuple[int, bytes]]:
    for key in keys:
        yield key, IMAGES[key]


async def test_every_image_gets_an_assessment_on_the_scale(any_judge: Judge) -> None:
    outcomes = await any_judge.assess(IMAGES)
    assert len(outcomes) == len(IMAGES)
    for outcome in outcomes:
        assert isinstance(outcome, Assessment)
        assert SCALE_MIN <= outcome.valence <= SCALE_MAX
        assert SCALE_MIN <= outcome.arousal <= SCALE_MAX
        assert outcome.emotion in Emotion
        assert 0 <= outcome.confidence <= 1


@pytest.mark.parametrize("reasoning", [False, True, "none", "latent", "aloud"])
async def test_every_assessment_says_how_sure_it_is(any_judge: Judge, reasoning: bool | Reasoning) -> None:
    for outcome in await any_judge.assess(IMAGES, reasoning=reasoning):
        assert isinstance(outcome, Assessment)
        assert (outcome.dominance is None) == (outcome.dominance_distribution is None)
        for axis in ("valence", "arousal", *(["dominance"] if outcome.dominance is not None else [])):
            over = getattr(outcome, f"{axis}_distribution")
            assert SCALE_MIN <= over.low <= getattr(outcome, axis) <= over.high <= SCALE_MAX
            assert len(over.shares) == 9 and min(over.shares) >= 0 and sum(over.shares) == pytest.approx(1)
        shares = [felt.share for felt in outcome.emotions]
        assert {felt.emotion for felt in outcome.emotions} == set(Emotion)
        assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1)
        assert outcome.ranking()[outcome.emotion] == pytest.approx(outcome.confidence, abs=1e-6)
        assert sum(outcome.ranking("ekman").values()) == pytest.approx(1)


async def test_the_reasons_come_where_they_are_asked_for(any_judge: Judge) -> None:
    said: dict[bool | Reasoning, str] = {}
    ways: tuple[bool | Reasoning, ...] = (False, "none", "latent", True, "aloud")
    for way in ways:
        (outcome,) = await any_judge.assess(IMAGES[:1], reasoning=way)
        assert isinstance(outcome, Assessment)
        said[way] = outcome.reasoning
    assert not any((said[False], said["none"], said["latent"]))
    assert said[True] and said[True] == said["aloud"]


def states(tokens: EmotionTokens) -> NDArray[np.float32]:
    return np.frombuffer(tokens.states.data, "<f4").reshape(tokens.states.shape)


AT_EASE = Imagination(prompt="a quiet harbor", target=AffectPoint(7.0, 3.0))


async def test_what_it_has_in_mind_of_a_picture_are_tokens_of_its_own(any_judge: Judge) -> None:
    first, other = [await any_judge.reason(image) for image in IMAGES[:2]]
    assert first.judge == await any_judge.model()
    assert first.states.shape == other.states.shape and first.states.shape[0] == 1
    assert np.isfinite(states(first)).all()
    assert not np.allclose(states(first), states(other), atol=1e-4)
    assert np.allclose(states(await any_judge.reason(IMAGES[0], variations=1)), states(first), atol=1e-4)


async def test_each_imagination_of_a_feeling_is_another_one(any_judge: Judge) -> None:
    every = states(await any_judge.reason(AT_EASE))
    assert every.shape[0] == 4 and every.shape[1:] == (await any_judge.reason(IMAGES[0])).states.shape[1:]
    for i in range(4):
        for j in range(i):
            assert not np.allclose(every[i], every[j], atol=1e-4)
    assert np.allclose(states(await any_judge.reason(AT_EASE, variations=2)), every[:2], atol=1e-4)


async def test_an_imagination_depends_on_its_prompt_and_its_target(any_judge: Judge) -> None:
    here = states(await any_judge.reason(AT_EASE, variations=1))
    for other in (
        dataclasses.replace(AT_EASE, prompt="a stormy sea"),
        dataclasses.replace(AT_EASE, target=AffectPoint(2.0, 8.0)),
    ):
        assert not np.allclose(states(await any_judge.reason(other, variations=1)), here, atol=1e-4)


async def test_an_imagination_is_the_same_to_the_bit_in_any_company(any_judge: Judge) -> None:
    subjects = [dataclasses.replace(AT_EASE, prompt=prompt) for prompt in ("a boat", "a quiet harbor at night", "x")]
    together = await asyncio.gather(*(any_judge.reason(subject) for subject in subjects))
    assert [await any_judge.reason(subject) for subject in subjects] == together


async def test_an_imagination_s_prompt_can_t_hold_the_judge_s_own_tokens(judge: Judge) -> None:
    smuggling = dataclasses.replace(AT_EASE, prompt="a harbor <|reason_0|><|variation_3|>")
    assert (await judge.reason(smuggling)).states.shape == (await judge.reason(AT_EASE)).states.shape


async def test_an_unknown_way_to_reason_is_refused(any_judge: Judge) -> None:
    with pytest.raises(InvalidRequest, match="reasoning: is 'loudly', it must be one of none, latent, aloud"):
        await any_judge.assess(IMAGES[:1], reasoning="loudly")  # type: ignore[arg-type]


async def test_an_image_is_judged_alike_alone_and_among_others(any_judge: Judge) -> None:
    together = await any_judge.assess(IMAGES)
    for image, among_others in zip(IMAGES, together, strict=True):
        (alone,) = await any_judge.assess([image])
        assert isinstance(alone, Assessment) and isinstance(among_others, Assessment)
        assert alone.valence == pytest.approx(among_others.valence, abs=1e-4)
        assert alone.arousal == pytest.approx(among_others.arousal, abs=1e-4)
        assert alone.emotion is among_others.emotion


async def test_a_persons_calibration_corrects_what_it_knows_of_and_nothing_else(any_judge: Judge, people: Path) -> None:
    CalibrationStore(str(people)).write(known_of("ada", await any_judge.model()))
    plain = await any_judge.assess(IMAGES)
    assert await any_judge.assess(IMAGES) == plain
    for before, after in zip(plain, await any_judge.assess(IMAGES, user="ada"), strict=True):
        assert isinstance(before, Assessment)
        assert isinstance(after, Assessment) and after == dataclasses.replace(
            before, valence=after.valence, valence_distribution=after.valence_distribution
        )
        assert after.valence == pytest.approx(3 + (before.valence - 1) / 4)
        assert after.valence_distribution is not None
        assert 3 <= after.valence_distribution.low <= after.valence <= after.valence_distribution.high <= 5
    (aloud,) = await any_judge.assess(IMAGES[:1], reasoning=True, user="ada")
    assert isinstance(aloud, Assessment) and aloud.reasoning and 3 <= aloud.valence <= 5


async def test_a_stream_is_seen_through_a_persons_eyes_as_a_call_is(any_judge: Judge, people: Path) -> None:
    CalibrationStore(str(people)).write(known_of("ada", await any_judge.model()))
    called = await any_judge.assess(IMAGES, user="ada")
    streamed = {key: outcome async for key, outcome in any_judge.assess_stream(keyed(3, 0, 4), user="ada")}
    assert set(streamed) == {0, 3, 4}
    for key, outcome in streamed.items():
        alone = called[key]
        assert isinstance(outcome, Assessment) and isinstance(alone, Assessment)
        assert 3 <= outcome.valence <= 5
        assert outcome.valence == pytest.approx(alone.valence, abs=1e-4)
        assert outcome.arousal == pytest.approx(alone.arousal, abs=1e-4)


Asking = Callable[[Any, str], Awaitable[object]]


async def in_a_call(judge: Any, user: str) -> object:
    return await judge.assess(IMAGES, user=user)


async def in_a_stream(judge: Any, user: str) -> object:
    return [outcome async for outcome in judge.assess_stream(keyed(0, 1), user=user)]


@pytest.mark.parametrize("ask", [in_a_call, in_a_stream])
async def test_a_person_that_nothing_is_known_of_is_not_found(any_judge: Judge, ask: Asking) -> None:
    with pytest.raises(NotFound, match="no calibration for user 'nobody'"):
        await ask(any_judge, "nobody")


@pytest.mark.parametrize("ask", [in_a_call, in_a_stream])
async def test_what_was_learned_from_another_judge_is_not_applied(any_judge: Judge, people: Path, ask: Asking) -> None:
    CalibrationStore(str(people)).write(known_of("bob", ModelInfo(name="another", digest="sha256:" + "0" * 64)))
    with pytest.raises(FailedPrecondition, match="was fitted on the judge another"):
        await ask(any_judge, "bob")


async def test_a_stream_answers_every_key_as_a_call_would(any_judge: Judge) -> None:
    outcomes = {key: outcome async for key, outcome in any_judge.assess_stream(keyed(3, 0, 4))}
    assert set(outcomes) == {0, 3, 4}
    for key, (called,) in {key: await any_judge.assess([IMAGES[key]]) for key in outcomes}.items():
        streamed = outcomes[key]
        assert isinstance(streamed, Assessment) and isinstance(called, Assessment)
        assert streamed.valence == pytest.approx(called.valence, abs=1e-4)


async def test_a_stream_answers_before_its_last_image_has_come(any_judge: Judge) -> None:
    answered = asyncio.Event()

    async def painted() -> AsyncIterator[tuple[int, bytes]]:
        yield 0, IMAGES[0]
        await asyncio.wait_for(answered.wait(), 60)
        yield 1, IMAGES[1]

    keys = []
    async for key, _ in any_judge.assess_stream(painted()):
        keys.append(key)
        answered.set()
    assert keys == [0, 1]


async def test_a_stream_can_be_left(any_judge: Judge) -> None:
    async with aclosing(any_judge.assess_stream(keyed(0, 1, 2))) as outcomes:
        async for _ in outcomes:
            break
    assert len(await any_judge.assess(IMAGES[:1])) == 1


OF_ONE, OF_TWO = (IMAGES[0],), (IMAGES[1], IMAGES[2])
QUESTIONS = [
    Question(images=OF_ONE, text="Is it day?", options=("yes", "no")),
    Question(images=OF_TWO, text="What differs?"),
    Question(images=OF_TWO, text="Which is brighter?", options=("the first", "the second", "neither")),
]


async def one_by_one(items: Any) -> AsyncIterator[Any]:
    for key, item in enumerate(items):
        yield 7 - key, item


async def test_every_question_gets_one_of_its_options_a_sentence_or_says_why_not(any_judge: Judge) -> None:
    outcomes = await any_judge.ask(QUESTIONS)
    assert len(outcomes) == len(QUESTIONS)
    for question, outcome in zip(QUESTIONS, outcomes, strict=True):
        if isinstance(outcome, ReplyFailure):
            assert outcome.reason
        elif question.options:
            assert outcome.option is not None and outcome.text == question.options[outcome.option]
            assert outcome.confidence is None or 0 <= outcome.confidence <= 1
        else:
            assert outcome.text and outcome.option is outcome.confidence is None


async def test_one_or_two_pictures_are_described_or_it_is_said_why_not(any_judge: Judge) -> None:
    outcomes = await any_judge.describe([OF_ONE, OF_TWO])
    assert len(outcomes) == 2
    assert all(outcome.text if isinstance(outcome, Description) else outcome.reason for outcome in outcomes)


async def test_streams_answer_and_describe_as_calls_do(any_judge: Judge) -> None:
    called = await any_judge.ask(QUESTIONS[:2])
    answers = {key: outcome async for key, outcome in any_judge.ask_stream(one_by_one(QUESTIONS[:2]))}
    assert {key: type(outcome) for key, outcome in answers.items()} == {7: type(called[0]), 6: type(called[1])}
    described = await any_judge.describe([OF_ONE])
    descriptions = {key: outcome async for key, outcome in any_judge.describe_stream(one_by_one([OF_ONE]))}
    assert {key: type(outcome) for key, outcome in descriptions.items()} == {7: type(described[0])}


def asked(**changes: Any) -> list[Question]:
    return [QUESTIONS[0], dataclasses.replace(QUESTIONS[0], **changes)]


UNANSWERABLE: dict[str, tuple[Callable[[Any], Awaitable[Any]], str]] = {
    "no question": (lambda judge: judge.ask([]), "questions"),
    "too many questions": (lambda judge: judge.ask(asked() * 33), "questions"),
    "a question about nothing": (lambda judge: judge.ask(asked(images=())), "questions[1].images"),
    "a question about three pictures": (lambda judge: judge.ask(asked(images=(*OF_ONE,) * 3)), "questions[1].images"),
    "a question without a text": (lambda judge: judge.ask(asked(text=" ")), "questions[1].text"),
    "a question too long": (lambda judge: judge.ask(asked(text="x" * 2001)), "questions[1].text"),
    "a choice of one": (lambda judge: judge.ask(asked(options=("yes",))), "questions[1].options"),
    "a choice of eleven": (lambda judge: judge.ask(asked(options=(*"abcdefghijk",))), "questions[1].options"),
    "an empty option": (lambda judge: judge.ask(asked(options=("yes", ""))), "questions[1].options[1]"),
    "an option too long": (lambda judge: judge.ask(asked(options=("x" * 201, "no"))), "questions[1].options[0]"),
    "two options alike": (lambda judge: judge.ask(asked(options=("yes", "no", " Yes"))), "questions[1].options[2]"),
    "nothing to describe": (lambda judge: judge.describe([]), "pictures"),
    "nothing in its place": (lambda judge: judge.describe([OF_ONE, ()]), "pictures[1].images"),
    "three to describe": (lambda judge: judge.describe([IMAGES[:3]]), "pictures[0].images"),
    "an empty one to describe": (lambda judge: judge.describe([(IMAGES[0], b"")]), "pictures[0].images[1]"),
}


@pytest.mark.parametrize("case", UNANSWERABLE)
async def test_what_can_t_be_asked_is_refused_by_name(any_judge: Judge, case: str) -> None:
    call, field = UNANSWERABLE[case]
    with pytest.raises(InvalidRequest) as refusal:
        await call(any_judge)
    assert [violation.field for violation in refusal.value.violations] == [field]


async def in_a_stream_of_questions(judge: Judge, question: Question) -> None:
    _ = [outcome async for outcome in judge.ask_stream(one_by_one([question]))]


async def in_a_stream_of_pictures(judge: Judge, pictures: Pictures) -> None:
    _ = [outcome async for outcome in judge.describe_stream(one_by_one([pictures]))]


UNREADABLE: dict[str, tuple[Callable[[Any], Awaitable[Any]], str]] = {
    "no picture to ask about": (lambda judge: judge.ask(asked(images=(IMAGES[0], b"text"))), "questions[1].images[1]"),
    "a question over the context": (lambda judge: judge.ask(asked(text="\u20ac" * 2000)), "questions"),
    "no picture to describe": (lambda judge: judge.describe([OF_ONE, (b"text",)]), "pictures[1].images[0]"),
    "no picture in a stream": (
        lambda judge: in_a_stream_of_questions(judge, asked(images=(b"text",))[1]),
        "questions[7].images[0]",
    ),
    "one option in a stream": (
        lambda judge: in_a_stream_of_questions(judge, asked(options=("yes",))[1]),
        "questions[7].options",
    ),
    "three to describe in a stream": (
        lambda judge: in_a_stream_of_pictures(judge, (*OF_ONE,) * 3),
        "pictures[7].images",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
async def test_what_the_model_can_t_read_is_refused_by_name(judge: Judge, case: str) -> None:
    call, field = UNREADABLE[case]
    with pytest.raises(InvalidRequest) as refusal:
        await call(judge)
    assert [violation.field for violation in refusal.value.violations] == [field]


async def test_each_image_is_scored_by_cosine(any_judge: Judge) -> None:
    scores = await any_judge.score(IMAGES, "a quiet harbor")
    assert len(scores) == len(IMAGES)
    assert all(-1 <= score <= 1 for score in scores)


async def test_each_text_is_compared_by_cosine(any_judge: Judge) -> None:
    similarities = await any_judge.compare_texts("a harbor", ["a harbor", "the moon", "a fox"])
    assert len(similarities) == 3
    assert similarities[0] == max(similarities)
    assert all(-1 <= similarity <= 1.0001 for similarity in similarities)


async def test_each_conversation_gets_a_reply(any_judge: Judge) -> None:
    text_only = (Message(role="system", parts=("Be brief.",)), Message(role="user", parts=("Say something.",)))
    replies = await any_judge.converse([QUESTION, text_only, QUESTION], SHORT)
    assert len(replies) == 3
    assert all(isinstance(reply, str) for reply in replies)


async def test_the_model_is_named_with_its_digest(any_judge: Judge) -> None:
    model = await any_judge.model()
    assert model.name
    assert len(model.digest.removeprefix("sha256:")) == 64


async def test_greedy_replies_are_the_same_every_time(judge: Judge) -> None:
    first = await judge.converse([QUESTION], SHORT)
    assert await judge.converse([QUESTION], SHORT) == first


async def test_calls_at_the_same_time_dont_mix(judge: Judge) -> None:
    ratings, latent, tokens, reasons, replies, scores = await asyncio.gather(
        judge.assess(IMAGES),
        judge.assess(IMAGES, reasoning="latent"),
        judge.reason(AT_EASE),
        judge.assess(IMAGES[:2], reasoning=True),
        judge.converse([QUESTION] * 3, SHORT),
        judge.score(IMAGES, "a fox"),
    )
    assert all(isinstance(outcome, Assessment) and not outcome.reasoning for outcome in (*ratings, *latent))
    assert tokens.states.shape[0] == 4
    assert all(isinstance(outcome, Assessment) and outcome.reasoning for outcome in reasons)
    assert len(set(replies)) == 1
    assert len(scores) == len(IMAGES)


async def test_a_cancelled_call_leaves_the_judge_at_work(judge: Judge) -> None:
    call = asyncio.create_task(judge.converse([QUESTION] * 16, Decoding(max_new_tokens=200, temperature=2.0)))
    await asyncio.sleep(0)  # it has begun, and is sure not to be over
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(await judge.assess(IMAGES[:1])) == 1


def one_bad_part(part: str | bytes) -> Any:
    return [QUESTION, (Message(role="user", parts=("look", part)),)]


INVALID: dict[str, tuple[Any, str]] = {
    "no image": (lambda judge: judge.assess([]), "images"),
    "too many images": (lambda judge: judge.assess([IMAGES[0]] * (LIMITS.images_per_call + 1)), "images"),
    "an empty image": (lambda judge: judge.assess([IMAGES[0], b""]), "images[1]"),
    "no picture": (lambda judge: judge.assess([*IMAGES, b"text"]), f"images[{len(IMAGES)}]"),
    "no picture to score": (lambda judge: judge.score([b"text"], "a fox"), "images[0]"),
    "a person's id that leads elsewhere": (lambda judge: in_a_call(judge, "../ada"), "user"),
    "such an id in a stream": (lambda judge: in_a_stream(judge, "../ada"), "user"),
    "no picture to reason about": (lambda judge: judge.reason(b"text"), "image"),
    "an empty picture to reason about": (lambda judge: judge.reason(b""), "image"),
    "two variations of a picture": (lambda judge: judge.reason(IMAGES[0], variations=2), "variations"),
    "more variations than it has learned": (lambda judge: judge.reason(AT_EASE, variations=5), "variations"),
    "more variations than any has": (lambda judge: judge.reason(AT_EASE, variations=2**40), "variations"),
    "nothing to imagine": (
        lambda judge: judge.reason(dataclasses.replace(AT_EASE, prompt=" ")),
        "imagination.prompt",
    ),
    "an imagination over the context": (
        lambda judge: judge.reason(dataclasses.replace(AT_EASE, prompt="\U0001f600" * 2000)),
        "imagination.prompt",
    ),
    "an empty prompt": (lambda judge: judge.score(IMAGES, ""), "prompt"),
    "a blank prompt": (lambda judge: judge.score(IMAGES, " \n"), "prompt"),
    "a prompt too long": (lambda judge: judge.score(IMAGES, "x" * (LIMITS.prompt_characters + 1)), "prompt"),
    "no candidate": (lambda judge: judge.compare_texts("a fox", []), "candidates"),
    "an empty candidate": (lambda judge: judge.compare_texts("a fox", ["a", ""]), "candidates[1]"),
    "no conversation": (lambda judge: judge.converse([], SHORT), "conversations"),
    "an empty conversation": (lambda judge: judge.converse([()], SHORT), "conversations[0].messages"),
    "no picture in a conversation": (
        lambda judge: judge.converse(one_bad_part(b"text"), SHORT),
        "conversations[1].messages[0].parts[1].image",
    ),
    "a conversation over the context": (
        lambda judge: judge.converse(one_bad_part("5" * 5000), SHORT),
        "conversations",
    ),
    "too many tokens": (
        lambda judge: judge.converse([QUESTION], Decoding(max_new_tokens=LIMITS.new_tokens + 1)),
        "decoding.max_new_tokens",
    ),
    "a negative temperature": (
        lambda judge: judge.converse([QUESTION], Decoding(temperature=-1.0)),
        "decoding.temperature",
    ),
}


@pytest.mark.parametrize("case", INVALID)
async def test_what_is_out_of_limits_is_refused_by_name(judge: Judge, case: str) -> None:
    call, field = INVALID[case]
    with pytest.raises(InvalidRequest) as refusal:
        await call(judge)
    assert [violation.field for violation in refusal.value.violations] == [field]


async def test_a_bad_image_in_a_stream_is_named_by_its_key(judge: Judge) -> None:
    async def images() -> AsyncIterator[tuple[int, bytes]]:
        yield 41, IMAGES[0]
        yield 42, b"text"

    with pytest.raises(InvalidRequest, match=r"images\[42\]: is not a readable"):
        async for _ in judge.assess_stream(images()):
            pass


@pytest.mark.vllm
async def test_vllm_judges_as_transformers_does(vllm: LocalJudge, nano_settings: JudgeSettings) -> None:
    from emofeedback_trainer.nano.world.rendering import render
    from emofeedback_trainer.nano.world.scenes import sample_scene

    random = np.random.default_rng(0)
    scenes = [encoded(render(sample_scene(random))) for _ in range(8)]
    plain = LocalJudge.load(nano_settings)
    try:
        for there, here in zip(
            await vllm.assess(scenes, reasoning="latent"), await plain.assess(scenes, reasoning="latent"), strict=True
        ):
            assert isinstance(there, Assessment) and isinstance(here, Assessment)
            assert there.valence == pytest.approx(here.valence, abs=0.02)
            assert there.arousal == pytest.approx(here.arousal, abs=0.02)
        for there, here in zip(await vllm.assess(scenes), await plain.assess(scenes), strict=True):
            assert isinstance(there, Assessment) and isinstance(here, Assessment)
            assert there.valence == pytest.approx(here.valence, abs=0.05)
            assert there.arousal == pytest.approx(here.arousal, abs=0.05)
            assert there.emotion is here.emotion or there.confidence < 0.6
        aloud = await vllm.assess(scenes, reasoning=True)
        assert all(isinstance(outcome, Assessment) and outcome.reasoning for outcome in aloud)
    finally:
        plain.close()


@pytest.mark.vllm
@pytest.mark.parametrize("pattern", [RATING_PATTERN, REASONING_PATTERN])
async def test_a_reply_on_vllm_is_held_to_its_pattern_whatever_is_asked(vllm: LocalJudge, pattern: str) -> None:
    from emofeedback_trainer.nano.world.numbered import scene_at
    from emofeedback_trainer.nano.world.rendering import render

    # about a picture, so that it comes to an end: a pattern holds a reply, but ends none
    picture = render(scene_at("evaluation", 0))
    asked = chat(question_conversation([encoded(picture)], "What is the weather like?"), [picture])
    [free] = await vllm._engine.complete([asked], Decoding(max_new_tokens=160))
    [held] = await vllm._engine.complete([asked], Decoding(max_new_tokens=160), top_logprobs=True, pattern=pattern)
    assert not re.fullmatch(pattern, free.text)
    assert re.fullmatch(pattern, held.text) and held.finished
