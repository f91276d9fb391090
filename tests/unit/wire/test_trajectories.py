"""Trajectories survive the wire unchanged, fit into a message, and bad ones are refused on both sides."""

from __future__ import annotations

import dataclasses
import math
import typing
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emofeedback import wire
from emofeedback.domain import validation as checks
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import (
    Conditioning,
    GenerationQueued,
    GroupStarted,
    ModelInfo,
    NoiseWindow,
    Trajectory,
    TrajectoryEvent,
    TrajectoryRequest,
)
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.reasoning import EmotionTokens
from emofeedback.domain.tensors import ELEMENT_BYTES, ElementType, Tensor, from_torch
from emofeedback.v1 import generator_pb2 as pb
from emofeedback.v1 import tensor_pb2

examples = settings(max_examples=40)
texts = st.text(st.characters(codec="utf-8"), max_size=30)
counts = st.integers(0, 2**31 - 1)
seeds = st.integers(0, LIMITS.seed)
models = st.builds(ModelInfo, name=texts, digest=texts, policy=texts)
MODEL = ModelInfo(name="sd", digest="sha256:" + "0" * 64)
ASKED = TrajectoryRequest(prompt="a park", seeds=(1, 2), window=NoiseWindow(), steps=10)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    element_type = draw(st.sampled_from(typing.get_args(ElementType)))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=4)))
    size = ELEMENT_BYTES[element_type] * math.prod(shape)
    return Tensor(element_type=element_type, shape=shape, data=draw(st.binary(min_size=size, max_size=size)))


emotions = st.builds(
    EmotionTokens,
    states=st.binary(min_size=24, max_size=24)
    .map(lambda data: Tensor(element_type="float16", shape=(1, 4, 3), data=data))
    .filter(lambda states: states.finite),
    judge=models,
)


@st.composite
def windows(draw: st.DrawFn) -> tuple[NoiseWindow, int]:
    """A window and the number of steps that it fits."""
    kind = draw(st.sampled_from(["sde", "cps"]))
    first, length = draw(st.integers(0, 90)), draw(st.integers(0, 90))
    level = draw(st.floats(LIMITS.smallest_noise_level, 1))
    window = NoiseWindow(kind=typing.cast(Any, kind), level=level, first=first, length=length)
    return window, draw(st.integers(first + length + 1, LIMITS.steps))


conditionings = st.builds(Conditioning, tokens=tensors(), pooled=tensors())
events: dict[type, st.SearchStrategy[Any]] = {
    GenerationQueued: st.builds(GenerationQueued, images_ahead=counts, unknown_words=st.lists(texts).map(tuple)),
    GroupStarted: st.builds(
        GroupStarted,
        conditioning=conditionings,
        negative=st.none() | conditionings,
        sigmas=tensors(),
        model=models,
        policy_digest=texts,
    ),
    Trajectory: st.builds(
        Trajectory,
        index=counts,
        seed=seeds,
        latents=tensors(),
        log_probabilities=tensors(),
        final=tensors(),
        image=st.binary(max_size=30),
    ),
}


@examples
@given(
    windows().flatmap(
        lambda fitting: st.builds(
            TrajectoryRequest,
            prompt=texts.filter(str.strip),
            seeds=st.lists(seeds, min_size=1, max_size=LIMITS.images_per_call).map(tuple),
            window=st.just(fitting[0]),
            steps=st.just(fitting[1]),
            start_seed=st.none() | seeds,
            negative_prompt=texts,
            guidance=st.floats(1, LIMITS.guidance),
            policy=texts,
            emotion=st.none() | emotions,
            emotion_scale=st.floats(0, LIMITS.emotion_scale),
            request_id=texts,
        )
    )
)
def test_requests_arrive_unchanged(request: TrajectoryRequest) -> None:
    message = wire.trajectory_request_to_proto(request)
    assert wire.trajectory_request_from_proto(type(message).FromString(message.SerializeToString())) == request


@pytest.mark.parametrize("kind", typing.get_args(TrajectoryEvent))
def test_every_event_arrives_unchanged(kind: type) -> None:
    @examples
    @given(events[kind])
    def arrives(event: TrajectoryEvent) -> None:
        message = wire.trajectory_event_to_proto(event)
        assert wire.trajectory_event_from_proto(type(message).FromString(message.SerializeToString())) == event

    arrives()


@pytest.mark.parametrize("element_type", typing.get_args(ElementType))
def test_a_tensor_is_finite_where_all_its_elements_are(element_type: ElementType) -> None:
    kind = getattr(torch, element_type)
    largest = torch.tensor([torch.finfo(kind).max, torch.finfo(kind).min, torch.finfo(kind).tiny, 0.0, -0.0, 1.0])
    assert from_torch(largest.to(kind)).finite
    for bad in (math.nan, math.inf, -math.inf):
        for place in range(len(largest)):
            elements = largest.clone().to(kind)
            elements[place] = bad
            assert not from_torch(elements).finite


def test_absent_guidance_is_off() -> None:
    message = wire.trajectory_request_to_proto(dataclasses.replace(ASKED, guidance=7.0))
    message.ClearField("guidance")
    assert wire.trajectory_request_from_proto(message).guidance == 1.0


def complaints(check: Any, request: Any) -> list[str]:
    with pytest.raises(InvalidRequest) as error:
        check(request)
    return [str(violation) for violation in error.value.violations]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"prompt": " "}, "prompt: is only white space"),
        ({"seeds": tuple(range(65))}, "seeds: has 65 entries, at most 64 are allowed"),
        ({"steps": 201}, "steps: is 201, it must lie in [1, 200]"),
        ({"start_seed": -1}, f"start_seed: is -1, it must lie in [0, {LIMITS.seed}]"),
        ({"guidance": math.inf}, "guidance: is inf, it must lie in [1, 50]"),
        ({"window": NoiseWindow(level=0.0)}, "window.level: is 0, it must lie in [0.001, 2]"),
        ({"window": NoiseWindow(level=math.nan)}, "window.level: is nan, it must lie in [0.001, 2]"),
        ({"window": NoiseWindow(kind="cps", level=1.5)}, "window.level: is 1.5, it must lie in [0.001, 1]"),
        ({"window": NoiseWindow(first=-2)}, "window.first: is -2, it must not be negative"),
        ({"window": NoiseWindow(length=-2)}, "window.length: is -2, it must not be negative"),
        (
            {"window": NoiseWindow(first=7, length=3)},
            "window: ends with step 9, but the last of 10 steps, 9, is never noisy",
        ),
        ({"policy": "x" * 201}, "policy: has 201 characters, at most 200 are allowed"),
    ],
)
def test_a_request_out_of_limits_is_refused_the_same_way_on_both_sides(change: dict[str, Any], complaint: str) -> None:
    request = dataclasses.replace(ASKED, **change)
    assert complaints(checks.check_trajectory_request, request) == [complaint]
    message = wire.trajectory_request_to_proto(request)
    assert complaints(wire.trajectory_request_from_proto, message) == [complaint]


def test_an_unspecified_kind_of_noise_is_refused() -> None:
    assert complaints(wire.trajectory_request_from_proto, pb.SampleTrajectoriesRequest(prompt="a", seeds=[1])) == [
        "window.kind: is unspecified, it must be one of sde, cps"
    ]


@pytest.mark.parametrize(
    ("tensor", "complaint"),
    [
        ({"element_type": 0}, "final.element_type: is unspecified"),
        ({"element_type": 9}, "final.element_type: is 9"),
        ({"shape": [-1, -2]}, "final.shape: is [-1, -2], no size may be negative"),
        ({"shape": [3]}, "final.data: a float32 tensor of shape (3,) has 12 bytes, not 8"),
        ({"data": b""}, "final.data: a float32 tensor of shape (2,) has 8 bytes, not 0"),
        ({"shape": [2**62, 2**62]}, "final.data: a float32 tensor of shape"),
    ],
)
def test_a_tensor_that_is_none_is_refused(tensor: dict[str, Any], complaint: str) -> None:
    sound = tensor_pb2.Tensor(element_type=tensor_pb2.ELEMENT_TYPE_FLOAT32, shape=[0], data=b"")
    final = tensor_pb2.Tensor(**{"element_type": 1, "shape": [2], "data": bytes(8), **tensor})
    message = pb.SampleTrajectoriesResponse(
        trajectory=pb.Trajectory(latents=sound, log_probabilities=sound, final=final)
    )
    [said] = complaints(wire.trajectory_event_from_proto, message)
    assert said.startswith(complaint)


def test_replies_without_content_are_not_read_as_something() -> None:
    assert len(complaints(wire.trajectory_event_from_proto, pb.SampleTrajectoriesResponse())) == 1


# --- sizes -------------------------------------------------------------------------------------------------------


def zeros(*shape: int) -> Tensor:
    return Tensor(element_type="float32", shape=shape, data=bytes(4 * math.prod(shape)))


def message_bytes(window: int, side: int) -> int:
    """Of a trajectory of SD3.5 for a picture of `side` pixels, were its PNG no smaller than the raw pixels."""
    latent = (16, side // 8, side // 8)
    trajectory = Trajectory(
        index=0,
        seed=0,
        latents=zeros(window + 1, *latent),
        log_probabilities=zeros(window),
        final=zeros(*latent),
        image=bytes(3 * side * side),
    )
    return wire.trajectory_event_to_proto(trajectory).ByteSize()


def test_full_size_trajectories_fit_into_a_message() -> None:
    mebi = 1024 * 1024
    assert message_bytes(3, 512) < 2.1 * mebi
    assert message_bytes(9, 512) < 3.6 * mebi  # the paper's mode: every step of 10 but the last
    assert message_bytes(9, 1024) < 14.1 * mebi < LIMITS.message_bytes


def test_full_size_conditioning_fits_into_a_message() -> None:
    """77 CLIP tokens and 256 of T5, each 4096 wide, for the prompt and for the negative one."""
    read = Conditioning(tokens=zeros(77 + 256, 4096), pooled=zeros(2048))
    group = GroupStarted(conditioning=read, negative=read, sigmas=zeros(11), model=MODEL, policy_digest="")
    assert wire.trajectory_event_to_proto(group).ByteSize() < LIMITS.message_bytes / 5
