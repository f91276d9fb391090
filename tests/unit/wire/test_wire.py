"""Every record survives the wire unchanged."""

from __future__ import annotations

import math
import struct
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emofeedback import wire
from emofeedback.domain.affect import LEXICON, AffectPoint, Emotion
from emofeedback.domain.assessment import (
    Assessment,
    AssessmentFailure,
    ControlTokens,
    Decoding,
    Distribution,
    EmotionShare,
    Message,
)
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import (
    GeneratedImage,
    GenerationEvent,
    GenerationQueued,
    GenerationRequest,
    GenerationStep,
    ModelInfo,
)
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.optimization import (
    Answer,
    Candidate,
    Gradient,
    GradientEstimated,
    GradientRequest,
    ImageJudged,
    ImagePainted,
    LossComputed,
    Losses,
    LossRequest,
    OptimizationEvent,
    OptimizationFinished,
    OptimizationRequest,
    PaintingStep,
    PromptShortened,
    PromptUpdated,
    Rejection,
    Resume,
    Rewrite,
    Round,
    RoundFinished,
    RoundStarted,
    StopReason,
    UpdateRequest,
    WordsUnknown,
)
from emofeedback.domain.reasoning import EmotionTokens, Imagination, Reasoning
from emofeedback.domain.tensors import Tensor
from emofeedback.v1 import affect_pb2, judge_pb2

examples = settings(max_examples=40)
"""Enough for conversions without branches on values; a busy machine is no failure."""
texts = st.text(st.characters(codec="utf-8"), max_size=30)
prompts = texts.filter(str.strip)
images = st.binary(min_size=1, max_size=30)
counts = st.integers(0, 2**31 - 1)
seeds = st.integers(0, LIMITS.seed)
finite = st.floats(allow_nan=False, allow_infinity=False)
people = st.just("") | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", fullmatch=True)
scale = st.floats(1, 9)
points = st.builds(AffectPoint, scale, scale)
models = st.builds(ModelInfo, name=texts, digest=texts, policy=texts)
shares = st.floats(0, 1)


@st.composite
def emotions(draw: st.DrawFn, variations: int) -> EmotionTokens:
    """At most so many variations."""
    shape = (draw(st.integers(1, variations)), draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    size = math.prod(shape)
    elements = draw(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=size, max_size=size))
    states = Tensor(element_type="float32", shape=shape, data=struct.pack(f"<{size}f", *elements))
    return EmotionTokens(states=states, judge=draw(models))


distributions = st.builds(
    Distribution, shares=st.lists(shares, min_size=9, max_size=9).map(tuple), low=scale, high=scale
)
assessments = st.builds(
    Assessment,
    valence=scale,
    arousal=scale,
    emotion=st.sampled_from(Emotion),
    confidence=st.floats(0, 1),
    reasoning=texts,
    domain_score=st.none() | st.floats(0, 1e6),
    dominance=st.none() | scale,
    valence_distribution=st.none() | distributions,
    arousal_distribution=st.none() | distributions,
    dominance_distribution=st.none() | distributions,
    emotions=st.lists(
        st.builds(EmotionShare, emotion=st.sampled_from(Emotion), share=shares), unique_by=lambda felt: felt.emotion
    ).map(tuple),
)
outcomes = assessments | st.builds(AssessmentFailure, reason=texts)
steps = st.builds(GenerationStep, index=counts, step=counts, steps=counts)
painted = st.builds(GeneratedImage, index=counts, seed=seeds, data=images, width=counts, height=counts, model=models)
candidates = st.builds(
    Candidate,
    index=counts,
    seed=seeds,
    outcome=outcomes,
    loss=st.none() | finite,
    alignment=finite,
    on_subject=st.booleans(),
)
rejections = st.lists(st.builds(Rejection, prompt=texts, reason=texts), max_size=2).map(tuple)
rounds = st.builds(
    Round,
    index=counts,
    prompt=prompts,
    candidates=st.lists(candidates, max_size=3).map(tuple),
    best=st.none() | counts,
    worst=st.none() | counts,
    analysis=texts,
    optimized_prompt=texts,
    rejected=rejections,
    seconds=finite,
)
answers = st.builds(Answer, round=counts, index=counts, loss=finite)
generation_events: dict[type, st.SearchStrategy[object]] = {
    GenerationQueued: st.builds(
        GenerationQueued, images_ahead=counts, unknown_words=st.lists(texts).map(tuple), subjects=texts
    ),
    GenerationStep: steps,
    GeneratedImage: painted,
}
optimization_events: dict[type, st.SearchStrategy[object]] = {
    RoundStarted: st.builds(RoundStarted, round=counts, prompt=texts),
    WordsUnknown: st.builds(WordsUnknown, round=counts, words=st.lists(texts).map(tuple), subjects=texts),
    PromptShortened: st.builds(PromptShortened, round=counts, prompt=texts),
    PaintingStep: st.builds(PaintingStep, round=counts, step=steps),
    ImagePainted: st.builds(ImagePainted, round=counts, image=painted),
    ImageJudged: st.builds(ImageJudged, round=counts, candidate=candidates),
    LossComputed: st.builds(
        LossComputed,
        round=counts,
        losses=st.lists(st.none() | finite).map(tuple),
        best=st.none() | answers,
        worst=st.none() | answers,
    ),
    GradientEstimated: st.builds(
        GradientEstimated, round=counts, analysis=texts, best_reasoning=texts, worst_reasoning=texts
    ),
    PromptUpdated: st.builds(PromptUpdated, round=counts, prompt=texts, rejected=rejections, fell_back=st.booleans()),
    RoundFinished: st.builds(RoundFinished, round=rounds),
    OptimizationFinished: st.builds(
        OptimizationFinished,
        answer=st.none() | answers,
        stopped_because=st.sampled_from(StopReason),
        seconds=finite,
        generator=models,
        judge=models,
    ),
}


@examples
@given(
    st.builds(
        GenerationRequest,
        prompt=prompts,
        seeds=st.lists(seeds, min_size=1, max_size=LIMITS.images_per_call).map(tuple),
        negative_prompt=texts,
        steps=st.none() | st.integers(1, LIMITS.steps),
        guidance=st.none() | st.floats(1, LIMITS.guidance),
        policy=texts,
        emotion=st.none() | emotions(LIMITS.emotion_variations),
        emotion_scale=st.floats(0, LIMITS.emotion_scale),
        request_id=texts,
    )
)
def test_generation_requests_arrive_unchanged(request: GenerationRequest) -> None:
    message = wire.generation_request_to_proto(request)
    assert wire.generation_request_from_proto(type(message).FromString(message.SerializeToString())) == request


@pytest.mark.parametrize("kind", typing.get_args(GenerationEvent))
def test_every_generation_event_arrives_unchanged(kind: type) -> None:
    @examples
    @given(generation_events[kind])
    def arrives(event: GenerationEvent) -> None:
        assert wire.generation_event_from_proto(wire.generation_event_to_proto(event)) == event

    arrives()


@pytest.mark.parametrize("kind", typing.get_args(OptimizationEvent))
def test_every_event_of_the_loop_arrives_unchanged(kind: type) -> None:
    @examples
    @given(optimization_events[kind])
    def arrives(event: OptimizationEvent) -> None:
        assert wire.optimization_event_from_proto(wire.optimization_event_to_proto(event)) == event

    arrives()


@examples
@given(
    st.builds(
        OptimizationRequest,
        prompt=prompts,
        target=points,
        rounds=st.integers(1, LIMITS.rounds),
        images=st.integers(1, LIMITS.images_per_call),
        seed=st.integers(0, LIMITS.seed - LIMITS.images_per_call),
        tolerance=st.none() | st.floats(0, 16),
        time_budget=st.none() | st.floats(0, LIMITS.time_budget_seconds),
        policy=texts,
        user=people,
        steps=st.none() | st.integers(1, LIMITS.steps),
        imagine=st.none() | st.booleans(),
        dominance=st.none() | scale,
        request_id=texts,
    )
)
def test_optimization_requests_arrive_unchanged(request: OptimizationRequest) -> None:
    assert wire.optimization_request_from_proto(wire.optimization_request_to_proto(request)) == request


@pytest.mark.parametrize("imagined", [True, False, None])
def test_a_cut_run_arrives_with_its_rounds_and_its_best_image(imagined: bool | None) -> None:
    failed = AssessmentFailure(reason="garbled")
    candidate = Candidate(index=1, seed=8, outcome=failed, loss=None, alignment=0.3, on_subject=True, imagined=imagined)
    done = Round(index=0, prompt="a park", candidates=(candidate,), best=1, worst=None, seconds=2.5)
    resume = Resume(rounds=(done,), best_image=b"picture")
    request = OptimizationRequest(prompt="a park", target=AffectPoint(7, 3), resume=resume)
    assert wire.optimization_request_from_proto(wire.optimization_request_to_proto(request)) == request


def test_absent_numbers_of_a_run_are_the_defaults() -> None:
    message = wire.optimization_request_to_proto(OptimizationRequest(prompt="a park", target=AffectPoint(7, 3)))
    message.ClearField("rounds")
    message.ClearField("images")
    request = wire.optimization_request_from_proto(message)
    assert (request.rounds, request.images) == (3, 8)


@pytest.mark.parametrize("emotion", Emotion)
def test_an_emotion_stands_for_its_lexicon_mean(emotion: Emotion) -> None:
    assert wire.target_from_proto(wire.target_to_proto(emotion)) == LEXICON[emotion].point


@examples
@given(outcomes)
def test_outcomes_arrive_unchanged(outcome: Assessment | AssessmentFailure) -> None:
    assert wire.outcome_from_proto(wire.outcome_to_proto(outcome)) == outcome


def test_a_server_of_an_earlier_version_says_less_and_a_client_of_one_reads_what_it_knows() -> None:
    said = judge_pb2.Assessment(valence=7, arousal=3, emotion=affect_pb2.EMOTION_AWE, confidence=0.5)
    assert wire.assessment_from_proto(said) == Assessment(valence=7, arousal=3, emotion=Emotion.AWE, confidence=0.5)
    fields = {field.name: field.number for field in judge_pb2.Assessment.DESCRIPTOR.fields}
    assert list(fields.items())[:7] == [
        ("valence", 1),
        ("arousal", 2),
        ("emotion", 3),
        ("confidence", 4),
        ("reasoning", 5),
        ("in_domain", 6),
        ("domain_score", 7),
    ]


@examples
@given(st.integers(-(2**63), 2**63 - 1), images, people)
def test_streamed_images_arrive_under_their_keys_for_their_person(key: int, image: bytes, user: str) -> None:
    message = judge_pb2.AssessStreamRequest(key=key, image=image, user=user)
    arrived = judge_pb2.AssessStreamRequest.FromString(message.SerializeToString())
    assert wire.streamed_image_from_proto(arrived, user) == (key, image)
    assert arrived.user == user


WAYS: tuple[Reasoning, ...] = ("none", "latent", "aloud")


@examples
@given(st.lists(images, min_size=1, max_size=3).map(tuple), st.sampled_from(WAYS), people)
def test_assessments_are_asked_for_in_the_way_that_was_meant(
    pictures: tuple[bytes, ...], way: Reasoning, user: str
) -> None:
    message = wire.assess_request_to_proto(pictures, way, user, "one")
    arrived = judge_pb2.AssessImagesRequest.FromString(message.SerializeToString())
    assert wire.assess_request_from_proto(arrived) == (pictures, way, user)
    assert arrived.reasoning == (way == "aloud")  # for a service that knows no other way
    assert arrived.request_id == "one"


@examples
@given(images | st.builds(Imagination, prompt=st.just("a fox"), target=points), st.integers(0, 1))
def test_what_is_to_be_reasoned_about_arrives_unchanged(subject: bytes | Imagination, variations: int) -> None:
    message = wire.reason_request_to_proto(subject, variations, "one")
    arrived = judge_pb2.ReasonRequest.FromString(message.SerializeToString())
    assert wire.reason_request_from_proto(arrived) == (subject, variations)
    assert arrived.request_id == "one"


def test_the_model_s_own_tokens_do_not_travel_in_a_conversation() -> None:
    message = Message(role="user", parts=(ControlTokens(("<|reason_0|>",)),))
    with pytest.raises(InvalidRequest, match="is of the model's own tokens"):
        wire.conversations_to_proto([(message,)])


@examples
@given(
    st.lists(
        st.lists(
            st.builds(
                Message,
                role=st.sampled_from(["system", "user", "assistant"]),
                parts=st.lists(texts | images, min_size=1, max_size=4).map(tuple),
            ),
            min_size=1,
            max_size=3,
        ).map(tuple),
        min_size=1,
        max_size=3,
    ).map(tuple),
    st.builds(
        Decoding,
        max_new_tokens=st.integers(1, LIMITS.new_tokens),
        temperature=st.floats(0, LIMITS.temperature),
        seed=seeds,
    ),
)
def test_conversations_arrive_with_texts_and_images_in_order(
    conversations: tuple[tuple[Message, ...], ...], decoding: Decoding
) -> None:
    message = judge_pb2.ConverseRequest(
        conversations=wire.conversations_to_proto(conversations), decoding=wire.decoding_to_proto(decoding)
    )
    assert wire.converse_request_from_proto(message) == (conversations, decoding)


@examples
@given(st.builds(LossRequest, target=points, assessments=st.lists(assessments, min_size=1).map(tuple)))
def test_loss_requests_arrive_unchanged(request: LossRequest) -> None:
    assert wire.loss_request_from_proto(wire.loss_request_to_proto(request)) == request


@examples
@given(
    st.builds(
        GradientRequest,
        prompt=prompts,
        target=points,
        best_image=images,
        best=assessments,
        worst_image=images,
        worst=assessments,
    )
)
def test_gradient_requests_arrive_unchanged(request: GradientRequest) -> None:
    assert wire.gradient_request_from_proto(wire.gradient_request_to_proto(request)) == request


@examples
@given(st.builds(UpdateRequest, original_prompt=prompts, prompt=prompts, analysis=prompts, target=points))
def test_update_requests_arrive_unchanged(request: UpdateRequest) -> None:
    assert wire.update_request_from_proto(wire.update_request_to_proto(request)) == request


@examples
@given(
    st.builds(Losses, losses=st.lists(finite).map(tuple), best=counts, worst=counts),
    st.builds(Gradient, analysis=texts, model=models),
    st.builds(Rewrite, prompt=texts, rejected=rejections, fell_back=st.booleans(), model=models),
)
def test_results_of_the_three_steps_arrive_unchanged(losses: Losses, gradient: Gradient, rewrite: Rewrite) -> None:
    assert wire.losses_from_proto(wire.losses_to_proto(losses)) == losses
    assert wire.gradient_from_proto(wire.gradient_to_proto(gradient)) == gradient
    assert wire.rewrite_from_proto(wire.rewrite_to_proto(rewrite)) == rewrite
