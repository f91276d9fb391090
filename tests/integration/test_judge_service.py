"""JudgeService over a bare gRPC server: real pictures, checks and parsers, an engine that says what it is told."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
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

from emofeedback import AsyncClient
from emofeedback.domain.affect import LEXICON, Emotion
from emofeedback.domain.assessment import Decoding
from emofeedback.domain.errors import InvalidRequest, Unavailable
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.limits import LIMITS
from emofeedback.judge.calibration_store import CalibrationStore
from emofeedback.judge.certainty import AS_SAID, Certainty
from emofeedback.judge.engines.base import Chat, OwnTokens
from emofeedback.judge.engines.completion import Completion, TokenChoice
from emofeedback.judge.keyed_stream import KeyedStream
from emofeedback.judge.local import LocalJudge
from emofeedback.judge.servicer import JudgeServicer
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.rpc.silence import silent
from emofeedback.v1 import affect_pb2, judge_pb2_grpc
from emofeedback.v1 import judge_pb2 as pb
from support.fakes import JUDGE_MODEL, SCORER_MODEL, known_of
from support.pictures import ACCEPTED, REFUSED, claims, encoded, red

PICTURE = encoded(red())
GOOD_RATING = "7 3 awe"
GOOD_REASONING = '<think>It glows.</think><answer>{"valence": 7.5, "arousal": 3.5, "emotion": "awe"}</answer>'


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


async def test_a_garbage_reply_in_a_stream_costs_only_its_own_image() -> None:
    async with served(ScriptedEngine(["garbage", GOOD_RATING])) as stub:
        replies = [reply async for reply in stub.AssessStream(iter(keyed(PICTURE, PICTURE, PICTURE)))]
    outcomes = sorted(reply.outcome.WhichOneof("outcome") for reply in replies)
    assert outcomes == ["assessment", "assessment", "failure"]
    assert {reply.key for reply in replies} == {10, 11, 12}
    assert {reply.model.name for reply in replies} == {JUDGE_MODEL.name}


async def streamed(stub: Any, *messages: pb.AssessStreamRequest) -> list[pb.AssessStreamResponse]:
    return [response async for response in stub.AssessStream(iter(messages))]


async def test_a_bad_picture_in_a_stream_is_named_by_its_key() -> None:
    async with served() as stub:
        refusal = await failure(streamed(stub, *keyed(PICTURE, claims(10_000, 10_000))))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert list(refusal.violations) == ["images[11]"]
        assert list((await failure(streamed(stub, *keyed(b"")))).violations) == ["image"]
        assert await still_serves(stub)


async def test_a_stream_without_an_image_ends_without_an_answer() -> None:
    async with served() as stub:
        assert await streamed(stub) == []


async def test_a_stream_is_judged_for_the_person_that_its_messages_name(tmp_path: Path) -> None:
    CalibrationStore(str(tmp_path)).write(known_of("ada", JUDGE_MODEL))
    async with served(calibrations=tmp_path) as stub:
        replies = await streamed(stub, *keyed(PICTURE, PICTURE, user="ada"))
    assert [reply.outcome.assessment.valence for reply in replies] == [4.5, 4.5]
    assert [reply.outcome.assessment.arousal for reply in replies] == [3, 3]


@pytest.mark.parametrize(("first", "second"), [("ada", "bob"), ("ada", ""), ("", "ada")])
async def test_a_stream_for_two_people_is_refused(tmp_path: Path, first: str, second: str) -> None:
    for user in ("ada", "bob"):
        CalibrationStore(str(tmp_path)).write(known_of(user, JUDGE_MODEL))
    async with served(calibrations=tmp_path) as stub:
        refusal = await failure(streamed(stub, *keyed(PICTURE, user=first), *keyed(PICTURE, user=second)))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    problem = f"is {second!r}, the stream began with {first!r}: each stream is for one person"
    assert refusal.violations == {"user": problem}


@pytest.mark.parametrize("has_store", [True, False])
async def test_a_stream_for_a_person_that_nothing_is_known_of_is_refused_before_any_picture_is_judged(
    tmp_path: Path, has_store: bool
) -> None:
    engine = ScriptedEngine()
    async with served(engine, calibrations=tmp_path if has_store else None) as stub:
        # One picture: who writes into a stream that has just been refused hears of an error of gRPC's client instead.
        of_a_stream = await failure(streamed(stub, *keyed(PICTURE, user="nobody")))
        of_a_call = await failure(assess(stub, PICTURE, user="nobody"))
    assert of_a_stream == of_a_call
    assert of_a_call.code is (grpc.StatusCode.NOT_FOUND if has_store else grpc.StatusCode.FAILED_PRECONDITION)
    assert not engine.chats


async def test_the_sdk_opens_another_stream_where_the_service_has_ended_a_silent_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened, ended = [], []

    def impatient(messages: Any) -> KeyedStream[Any]:
        opened.append(messages)
        return KeyedStream(messages, idle_seconds=0.05)

    def told(seconds: float) -> Unavailable:
        ended.append(seconds)
        return silent(seconds)

    monkeypatch.setattr("emofeedback.judge.servicer.KeyedStream", impatient)
    monkeypatch.setattr("emofeedback.judge.keyed_stream.silent", told)

    async def painted_slowly() -> AsyncIterator[tuple[int, bytes]]:
        for key in range(3):
            while len(ended) < key:
                await asyncio.sleep(0.01)
            yield key, PICTURE

    async with served() as stub, AsyncClient(stub.address) as client:
        outcomes = [key async for key, _ in client.judge.assess_stream(painted_slowly())]
    assert outcomes == [0, 1, 2]
    assert len(opened) == 3


async def test_a_client_that_leaves_mid_stream_stops_the_work() -> None:
    engine = ScriptedEngine(delay=30)
    async with served(engine) as stub:
        call = stub.AssessStream()
        await call.write(keyed(PICTURE)[0])
        while not engine.chats:
            await asyncio.sleep(0.01)
        call.cancel()
        while not engine.cancelled:
            await asyncio.sleep(0.01)
        engine.delay = 0
        assert await still_serves(stub)


async def test_a_client_whose_time_is_over_stops_the_work() -> None:
    engine = ScriptedEngine(delay=30)
    async with served(engine) as stub:
        late = await failure(stub.AssessImages(pb.AssessImagesRequest(images=[PICTURE]), timeout=0.3))
        assert late.code is grpc.StatusCode.DEADLINE_EXCEEDED
        while engine.chats and not engine.cancelled:
            await asyncio.sleep(0.01)
        engine.delay = 0
        assert await still_serves(stub)


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


WHICH = pb.Question(images=[PICTURE], text="What is it?", options=["a fox", "a boat"])
OPEN = pb.Question(images=[PICTURE, PICTURE], text="What differs?")
SHOWN = pb.Pictures(images=[PICTURE, PICTURE])


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
        assert (await failure(CALLS[method](stub, metadata))).code is grpc.StatusCode.UNAUTHENTICATED
    assert not engine.chats


@pytest.mark.parametrize("method", CALLS)
async def test_with_the_right_token_every_rpc_answers(method: str) -> None:
    async with served(token="let-me-in") as stub:
        assert (await CALLS[method](stub, (("authorization", "Bearer let-me-in"),))).ByteSize()
