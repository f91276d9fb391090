"""Requests out of their limits are refused with the field and the limit named, on the wire and in process alike."""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Callable
from typing import Any

import pytest

from emofeedback import wire
from emofeedback.domain import validation as checks
from emofeedback.domain.affect import AffectPoint, Emotion
from emofeedback.domain.assessment import Assessment, AssessmentFailure, Decoding, Message
from emofeedback.domain.errors import MAX_VIOLATIONS, InvalidRequest
from emofeedback.domain.generation import GenerationRequest, ModelInfo
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.optimization import (
    Candidate,
    GradientRequest,
    LossRequest,
    OptimizationRequest,
    Resume,
    Round,
    UpdateRequest,
)
from emofeedback.domain.reasoning import EmotionTokens
from emofeedback.domain.tensors import Tensor
from emofeedback.v1 import affect_pb2, generator_pb2, judge_pb2, optimizer_pb2

NAN, INF = math.nan, math.inf
POINT = AffectPoint(7, 3)
FELT = Assessment(valence=7, arousal=3, emotion=Emotion.AWE, confidence=0.5)


def felt(shape: tuple[int, ...], last: float = 1.5) -> EmotionTokens:
    """Emotion tokens, of ones but for the last element."""
    elements = [1.0] * math.prod(shape)
    elements[-1:] = [last] if elements else []
    states = Tensor(element_type="float32", shape=shape, data=struct.pack(f"<{len(elements)}f", *elements))
    return EmotionTokens(states=states, judge=ModelInfo(name="judge", digest=""))


PAINTING = GenerationRequest(prompt="a park", seeds=(1, 2))
RUN = OptimizationRequest(prompt="a park", target=POINT)
LOST = Candidate(
    index=0, seed=0, outcome=AssessmentFailure(reason="garbled"), loss=None, alignment=0.2, on_subject=True
)
FIRST = Round(index=0, prompt="a park", candidates=(LOST,), best=None, worst=None, seconds=1.0)
SAID = (Message(role="user", parts=(b"picture", "why?")),)


def complaints(check: Callable[[Any], object], request: Any) -> list[str]:
    with pytest.raises(InvalidRequest) as error:
        check(request)
    return [str(violation) for violation in error.value.violations]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"prompt": ""}, "prompt: is empty"),
        ({"prompt": " \n\t"}, "prompt: is only white space"),
        ({"prompt": "x" * 2001}, "prompt: has 2001 characters, at most 2000 are allowed"),
        ({"negative_prompt": "x" * 2001}, "negative_prompt: has 2001 characters, at most 2000 are allowed"),
        ({"seeds": ()}, "seeds: is empty, 1 to 64 are needed"),
        ({"seeds": tuple(range(65))}, "seeds: has 65 entries, at most 64 are allowed"),
        ({"seeds": (0, -1)}, "seeds[1]: is -1, it must lie in [0, 9223372036854775807]"),
        ({"steps": 0}, "steps: is 0, it must lie in [1, 200]"),
        ({"steps": 201}, "steps: is 201, it must lie in [1, 200]"),
        ({"guidance": 0.5}, "guidance: is 0.5, it must lie in [1, 50]"),
        ({"guidance": NAN}, "guidance: is nan, it must lie in [1, 50]"),
        ({"guidance": INF}, "guidance: is inf, it must lie in [1, 50]"),
        ({"policy": "x" * 201}, "policy: has 201 characters, at most 200 are allowed"),
        (
            {"emotion": felt((8, 160))},
            "emotion.states.shape: is [8, 160], it must be 1 to 8 variations, 1 to 64 tokens and a width of 1 to 8192",
        ),
        (
            {"emotion": felt((9, 8, 1))},
            "emotion.states.shape: is [9, 8, 1], it must be 1 to 8 variations, 1 to 64 tokens and a width of 1 to 8192",
        ),
        (
            {"emotion": felt((1, 0, 160))},
            "emotion.states.shape: is [1, 0, 160], it must be 1 to 8 variations, 1 to 64 tokens and a width of 1 to "
            "8192",
        ),
        ({"emotion": felt((2, 3, 4), NAN)}, "emotion.states: has NaN or infinity in it"),
        ({"emotion": felt((2, 3, 4), -INF)}, "emotion.states: has NaN or infinity in it"),
        ({"emotion_scale": 2.1}, "emotion_scale: is 2.1, it must lie in [0, 2]"),
        ({"emotion_scale": NAN}, "emotion_scale: is nan, it must lie in [0, 2]"),
        ({"request_id": "x" * 201}, "request_id: has 201 characters, at most 200 are allowed"),
    ],
)
def test_a_painting_out_of_limits_is_refused_the_same_way_on_both_sides(change: dict[str, Any], complaint: str) -> None:
    request = dataclasses.replace(PAINTING, **change)
    assert complaints(checks.check_generation_request, request) == [complaint]
    message = wire.generation_request_to_proto(request)
    assert complaints(wire.generation_request_from_proto, message) == [complaint]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"prompt": " "}, "prompt: is only white space"),
        ({"rounds": 0}, "rounds: is 0, it must lie in [1, 20]"),
        ({"rounds": -1}, "rounds: is -1, it must lie in [1, 20]"),
        ({"rounds": 21}, "rounds: is 21, it must lie in [1, 20]"),
        ({"images": 0}, "images: is 0, it must lie in [1, 64]"),
        ({"images": 65}, "images: is 65, it must lie in [1, 64]"),
        ({"seed": -1}, "seed: is -1, it must lie in [0, 9223372036854775807]"),
        ({"tolerance": -0.1}, "tolerance: is -0.1, it must lie in [0, 16]"),
        ({"tolerance": NAN}, "tolerance: is nan, it must lie in [0, 16]"),
        ({"time_budget": -1.0}, "time_budget_seconds: is -1, it must lie in [0, 86400]"),
        ({"steps": 0}, "steps: is 0, it must lie in [1, 200]"),
        ({"steps": 201}, "steps: is 201, it must lie in [1, 200]"),
        ({"time_budget": 1e9}, "time_budget_seconds: is 1e+09, it must lie in [0, 86400]"),
        (
            {"user": "../ada"},
            "user: is '../ada', it must be 1 to 200 letters a-z and A-Z, digits, '-', '_' and '.', a letter or digit "
            "first",
        ),
        ({"resume": Resume(rounds=(), best_image=b"")}, "resume.rounds: has 0 entries, 1 to 3 are needed"),
        (
            {"resume": Resume(rounds=(dataclasses.replace(FIRST, index=1),), best_image=b"")},
            "resume.rounds[0].index: is 1, the rounds must be in order from 0",
        ),
        (
            {"resume": Resume(rounds=(dataclasses.replace(FIRST, best=7),), best_image=b"x")},
            "resume.rounds[0].best: is 7, no candidate has this index",
        ),
        (
            {"resume": Resume(rounds=(dataclasses.replace(FIRST, best=0),), best_image=b"")},
            "resume.best_image: is empty, though a round has a best image",
        ),
        (
            {"resume": Resume(rounds=(dataclasses.replace(FIRST, candidates=()),), best_image=b"")},
            "resume.rounds[0].candidates: is empty, 1 to 64 are needed",
        ),
    ],
)
def test_a_run_out_of_limits_is_refused_the_same_way_on_both_sides(change: dict[str, Any], complaint: str) -> None:
    request = dataclasses.replace(RUN, **change)
    assert complaints(checks.check_optimization_request, request) == [complaint]
    message = wire.optimization_request_to_proto(request)
    assert complaints(wire.optimization_request_from_proto, message) == [complaint]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    request = GenerationRequest(prompt="", seeds=(), steps=0)
    assert [c.split(":")[0] for c in complaints(checks.check_generation_request, request)] == [
        "prompt",
        "seeds",
        "steps",
    ]


def test_of_many_things_that_are_wrong_the_first_are_told() -> None:
    request = GenerationRequest(prompt="", seeds=tuple(range(-20, 0)))
    told = complaints(checks.check_generation_request, request)
    assert len(told) == MAX_VIOLATIONS
    assert told[:2] == ["prompt: is empty", "seeds[0]: is -20, it must lie in [0, 9223372036854775807]"]


MANY = 2_000_000
"""Entries: four megabytes or less on the wire, and minutes where each of them were looked at."""


class Untouched:
    """A list of a message whose entries nobody may look at."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: object) -> object:
        raise AssertionError("an entry was looked at")


@pytest.mark.parametrize(
    ("read", "kind", "field"),
    [
        (wire.generation_request_from_proto, generator_pb2.GenerateRequest, "seeds"),
        (wire.trajectory_request_from_proto, generator_pb2.SampleTrajectoriesRequest, "seeds"),
        (wire.assess_request_from_proto, judge_pb2.AssessImagesRequest, "images"),
        (wire.score_request_from_proto, judge_pb2.ScoreImagesRequest, "images"),
        (wire.compare_request_from_proto, judge_pb2.CompareTextsRequest, "candidates"),
        (wire.converse_request_from_proto, judge_pb2.ConverseRequest, "conversations"),
        (wire.loss_request_from_proto, optimizer_pb2.ComputeLossRequest, "assessments"),
    ],
)
def test_a_list_that_is_too_long_is_refused_before_its_entries_are_read(
    read: Callable[[Any], object], kind: type[Any], field: str
) -> None:
    message = kind()
    if kind is generator_pb2.SampleTrajectoriesRequest:
        message.window.kind = generator_pb2.NOISE_KIND_SDE
    told = complaints(read, _with(message, field, Untouched(MANY)))
    assert told == [f"{field}: has {MANY} entries, at most 64 are allowed"]


def _with(message: Any, field: str, items: object) -> Any:
    """The message with another list in the place of one of its own."""

    class Changed:
        def __getattr__(self, name: str) -> object:
            return items if name == field else getattr(message, name)

    return Changed()


def test_inner_lists_are_counted_before_they_are_read_too() -> None:
    said = judge_pb2.Message(role=judge_pb2.ROLE_USER, parts=[judge_pb2.MessagePart()] * 33)
    request = judge_pb2.ConverseRequest(conversations=[judge_pb2.Conversation(messages=[said])])
    assert complaints(wire.converse_request_from_proto, request) == [
        "conversations[0].messages[0].parts: has 33 entries, at most 32 are allowed"
    ]
    done = optimizer_pb2.Round(prompt="a park", candidates=[optimizer_pb2.Candidate()] * 65)
    message = wire.optimization_request_to_proto(RUN)
    message.resume.CopyFrom(optimizer_pb2.Resume(rounds=[done]))
    assert complaints(wire.optimization_request_from_proto, message) == [
        "resume.rounds[0].candidates: has 65 entries, at most 64 are allowed"
    ]


def test_text_that_is_not_unicode_is_refused() -> None:
    request = dataclasses.replace(PAINTING, prompt="a \ud800 park")
    assert complaints(checks.check_generation_request, request) == [
        "prompt: is not valid Unicode, it holds half of a surrogate pair"
    ]


# --- targets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (affect_pb2.Target(), ["target: is missing, it must be a point (valence and arousal) or an emotion"]),
        (
            affect_pb2.Target(point=affect_pb2.AffectPoint(valence=11, arousal=3)),
            ["target.valence: is 11, it must lie in [1, 9]"],
        ),
        (
            affect_pb2.Target(point=affect_pb2.AffectPoint(valence=NAN, arousal=0)),
            ["target.valence: is nan, it must lie in [1, 9]", "target.arousal: is 0, it must lie in [1, 9]"],
        ),
    ],
)
def test_targets_off_the_plane_are_refused(target: affect_pb2.Target, expected: list[str]) -> None:
    assert complaints(wire.target_from_proto, target) == expected


@pytest.mark.parametrize(("number", "named"), [(0, "unspecified"), (99, "99")])
def test_emotions_that_are_none_of_the_eight_are_refused(number: int, named: str) -> None:
    target = affect_pb2.Target(emotion=number)  # type: ignore[arg-type]
    [complaint] = complaints(wire.target_from_proto, target)
    assert complaint.startswith(f"target.emotion: is {named}, it must be one of amusement, awe,")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ((None, None, None), "target: is missing, it must be a point (valence and arousal) or an emotion"),
        ((7, 3, "awe"), "target: has a point and an emotion, it must be one of the two"),
        ((None, 3, "awe"), "target: has a point and an emotion, it must be one of the two"),
        ((7, None, None), "target.arousal: is missing, a point needs both valence and arousal"),
        ((None, 3, None), "target.valence: is missing, a point needs both valence and arousal"),
        ((0.99, 3, None), "target.valence: is 0.99, it must lie in [1, 9]"),
        ((7, INF, None), "target.arousal: is inf, it must lie in [1, 9]"),
    ],
)
def test_what_a_person_asks_for_is_one_of_point_and_emotion(given: tuple[Any, Any, Any], complaint: str) -> None:
    assert complaints(lambda target: checks.target_from(*target), given) == [complaint]


def test_an_unknown_emotion_is_answered_with_the_known_ones() -> None:
    [complaint] = complaints(checks.emotion_point, "boredom")
    assert complaint == (
        "target.emotion: 'boredom' is not one of amusement, awe, contentment, excitement, anger, disgust, fear, sadness"
    )


# --- the judge and the three steps -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        ([], "images: is empty, 1 to 64 are needed"),
        ([b"x"] * 65, "images: has 65 entries, at most 64 are allowed"),
        ([b"x", b""], "images[1]: is empty, it must be a PNG, JPEG or WebP file"),
    ],
)
def test_batches_of_images_have_limits(images: list[bytes], complaint: str) -> None:
    assert complaints(wire.assess_request_from_proto, judge_pb2.AssessImagesRequest(images=images)) == [complaint]
    scoring = judge_pb2.ScoreImagesRequest(images=images, prompt="a park")
    assert complaints(wire.score_request_from_proto, scoring) == [complaint]


def test_a_streamed_image_must_not_be_empty() -> None:
    message = judge_pb2.AssessStreamRequest(key=1)
    [complaint] = complaints(lambda streamed: wire.streamed_image_from_proto(streamed, ""), message)
    assert complaint == "image: is empty, it must be a PNG, JPEG or WebP file"


@pytest.mark.parametrize(
    ("text", "candidates", "complaint"),
    [
        ("", ["b"], "text: is empty"),
        ("a", [], "candidates: is empty, 1 to 64 are needed"),
        ("a", ["b", " "], "candidates[1]: is only white space"),
        ("a", ["b"] * 65, "candidates: has 65 entries, at most 64 are allowed"),
    ],
)
def test_comparisons_have_limits(text: str, candidates: list[str], complaint: str) -> None:
    request = judge_pb2.CompareTextsRequest(text=text, candidates=candidates)
    assert complaints(wire.compare_request_from_proto, request) == [complaint]


@pytest.mark.parametrize(
    ("conversations", "decoding", "complaint"),
    [
        ((), {}, "conversations: is empty, 1 to 64 are needed"),
        (((),), {}, "conversations[0].messages: is empty, 1 to 32 are needed"),
        ((SAID * 33,), {}, "conversations[0].messages: has 33 entries, at most 32 are allowed"),
        (
            ((Message(role="user", parts=()),),),
            {},
            "conversations[0].messages[0].parts: is empty, 1 to 32 are needed",
        ),
        (
            ((Message(role="user", parts=("x" * 20_001,)),),),
            {},
            "conversations[0].messages[0].parts[0].text: has 20001 characters, at most 20000 are allowed",
        ),
        (
            ((Message(role="user", parts=("x", b"")),),),
            {},
            "conversations[0].messages[0].parts[1].image: is empty, it must be a PNG, JPEG or WebP file",
        ),
        ((SAID,), {"max_new_tokens": 2049}, "decoding.max_new_tokens: is 2049, it must lie in [1, 2048]"),
        ((SAID,), {"max_new_tokens": -1}, "decoding.max_new_tokens: is -1, it must lie in [1, 2048]"),
        ((SAID,), {"temperature": NAN}, "decoding.temperature: is nan, it must lie in [0, 2]"),
        ((SAID,), {"seed": -1}, "decoding.seed: is -1, it must lie in [0, 9223372036854775807]"),
    ],
)
def test_conversations_have_limits(conversations: Any, decoding: dict[str, Any], complaint: str) -> None:
    request = judge_pb2.ConverseRequest(
        conversations=wire.conversations_to_proto(conversations),
        decoding=wire.decoding_to_proto(Decoding(**decoding)),
    )
    assert complaints(wire.converse_request_from_proto, request) == [complaint]


def test_a_message_needs_a_role_and_its_parts_a_content() -> None:
    nobody = judge_pb2.Message(parts=[judge_pb2.MessagePart(text="x")])
    nothing = judge_pb2.Message(role=judge_pb2.ROLE_USER, parts=[judge_pb2.MessagePart()])
    for message, complaint in (
        (nobody, "conversations[0].messages[0].role: must be one of system, user, assistant"),
        (nothing, "conversations[0].messages[0].parts[0]: is empty, it must be a text or an image"),
    ):
        request = judge_pb2.ConverseRequest(conversations=[judge_pb2.Conversation(messages=[message])])
        assert complaints(wire.converse_request_from_proto, request) == [complaint]


def test_no_new_tokens_stand_for_the_default() -> None:
    request = judge_pb2.ConverseRequest(conversations=wire.conversations_to_proto([SAID]))
    assert wire.converse_request_from_proto(request)[1] == Decoding()


@pytest.mark.parametrize(
    ("felt", "complaint"),
    [
        ({"valence": 0.5}, "assessments[0].valence: is 0.5, it must lie in [1, 9]"),
        ({"arousal": NAN}, "assessments[0].arousal: is nan, it must lie in [1, 9]"),
        ({"confidence": 1.5}, "assessments[0].confidence: is 1.5, it must lie in [0, 1]"),
    ],
)
def test_assessments_in_requests_lie_on_the_scale(felt: dict[str, Any], complaint: str) -> None:
    request = LossRequest(target=POINT, assessments=(dataclasses.replace(FELT, **felt),))
    assert complaints(wire.loss_request_from_proto, wire.loss_request_to_proto(request)) == [complaint]


def test_an_assessment_without_an_emotion_is_named_by_its_place() -> None:
    request = wire.loss_request_to_proto(LossRequest(target=POINT, assessments=(FELT, FELT)))
    request.assessments[1].ClearField("emotion")
    [complaint] = complaints(wire.loss_request_from_proto, request)
    assert complaint.startswith("assessments[1].emotion: is unspecified")


def test_the_three_steps_have_limits() -> None:
    assert complaints(checks.check_loss_request, LossRequest(target=POINT, assessments=())) == [
        "assessments: is empty, 1 to 64 are needed"
    ]
    gradient = GradientRequest(prompt="", target=POINT, best_image=b"", best=FELT, worst_image=b"x", worst=FELT)
    assert complaints(checks.check_gradient_request, gradient) == [
        "prompt: is empty",
        "best_image: is empty, it must be a PNG, JPEG or WebP file",
    ]
    update = UpdateRequest(original_prompt="a", prompt="b", analysis="x" * 20_001, target=POINT)
    assert complaints(checks.check_update_request, update) == [
        f"analysis: has 20001 characters, at most {LIMITS.text_characters} are allowed"
    ]


# --- replies of another version ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (wire.generation_event_from_proto, generator_pb2.GenerateResponse()),
        (wire.optimization_event_from_proto, optimizer_pb2.OptimizeResponse()),
        (
            wire.optimization_event_from_proto,
            optimizer_pb2.OptimizeResponse(finished=optimizer_pb2.OptimizationFinished()),
        ),
        (wire.outcome_from_proto, judge_pb2.AssessmentOutcome()),
    ],
)
def test_replies_without_content_are_not_read_as_something(read: Callable[[Any], object], message: Any) -> None:
    assert len(complaints(read, message)) == 1
