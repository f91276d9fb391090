"""Requests for trajectories and their events, to the wire and back."""

from __future__ import annotations

from typing import get_args

from emofeedback.domain import validation as checks
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import (
    Conditioning,
    GenerationQueued,
    GroupStarted,
    NoiseKind,
    NoiseWindow,
    Trajectory,
    TrajectoryEvent,
    TrajectoryRequest,
)
from emofeedback.domain.limits import LIMITS
from emofeedback.v1 import generator_pb2 as pb
from emofeedback.wire.affect import model_from_proto, model_to_proto
from emofeedback.wire.generator import queued_from_proto, queued_to_proto
from emofeedback.wire.reasoning import emotion_tokens_from_proto, emotion_tokens_to_proto
from emofeedback.wire.tensors import tensor_from_proto, tensor_to_proto

_KINDS: dict[pb.NoiseKind.ValueType, NoiseKind] = {
    pb.NoiseKind.Value(f"NOISE_KIND_{kind.upper()}"): kind for kind in get_args(NoiseKind)
}


def trajectory_request_to_proto(request: TrajectoryRequest) -> pb.SampleTrajectoriesRequest:
    window = request.window
    kinds = {kind: number for number, kind in _KINDS.items()}
    return pb.SampleTrajectoriesRequest(
        prompt=request.prompt,
        seeds=request.seeds,
        window=pb.NoiseWindow(
            kind=kinds.get(window.kind, pb.NOISE_KIND_UNSPECIFIED),
            level=window.level,
            first=window.first,
            length=window.length,
        ),
        steps=request.steps,
        start_seed=request.start_seed,
        negative_prompt=request.negative_prompt,
        guidance=request.guidance,
        policy=request.policy,
        request_id=request.request_id,
        emotion=emotion_tokens_to_proto(request.emotion) if request.emotion is not None else None,
        emotion_scale=request.emotion_scale,
    )


def trajectory_request_from_proto(message: pb.SampleTrajectoriesRequest) -> TrajectoryRequest:
    """Raises `InvalidRequest` where a field is out of its limits."""
    window = message.window
    if window.kind not in _KINDS:
        what = "unspecified" if window.kind == pb.NOISE_KIND_UNSPECIFIED else str(window.kind)
        raise InvalidRequest.of("window.kind", f"is {what}, it must be one of {', '.join(_KINDS.values())}")
    checks.check_most("seeds", message.seeds, LIMITS.images_per_call)
    request = TrajectoryRequest(
        prompt=message.prompt,
        seeds=tuple(message.seeds),
        window=NoiseWindow(kind=_KINDS[window.kind], level=window.level, first=window.first, length=window.length),
        steps=message.steps,
        start_seed=message.start_seed if message.HasField("start_seed") else None,
        negative_prompt=message.negative_prompt,
        guidance=message.guidance if message.HasField("guidance") else 1.0,
        policy=message.policy,
        request_id=message.request_id,
        emotion=emotion_tokens_from_proto(message.emotion) if message.HasField("emotion") else None,
        emotion_scale=message.emotion_scale if message.HasField("emotion_scale") else 1.0,
    )
    checks.check_trajectory_request(request)
    return request


def trajectory_event_to_proto(event: TrajectoryEvent) -> pb.SampleTrajectoriesResponse:
    match event:
        case GenerationQueued():
            return pb.SampleTrajectoriesResponse(queued=queued_to_proto(event))
        case GroupStarted():
            started = pb.GroupStarted(
                conditioning=_conditioning_to_proto(event.conditioning),
                negative=_conditioning_to_proto(event.negative) if event.negative is not None else None,
                sigmas=tensor_to_proto(event.sigmas),
                model=model_to_proto(event.model),
                policy_digest=event.policy_digest,
            )
            return pb.SampleTrajectoriesResponse(started=started)
        case Trajectory():
            trajectory = pb.Trajectory(
                index=event.index,
                seed=event.seed,
                latents=tensor_to_proto(event.latents),
                log_probabilities=tensor_to_proto(event.log_probabilities),
                final=tensor_to_proto(event.final),
                image=event.image,
            )
            return pb.SampleTrajectoriesResponse(trajectory=trajectory)


def trajectory_event_from_proto(message: pb.SampleTrajectoriesResponse) -> TrajectoryEvent:
    """Raises `InvalidRequest` where the message holds no event that this version knows, or a tensor that is none."""
    match message.WhichOneof("event"):
        case "queued":
            return queued_from_proto(message.queued)
        case "started":
            started = message.started
            negative = _conditioning_from_proto(started.negative, "negative") if started.HasField("negative") else None
            return GroupStarted(
                conditioning=_conditioning_from_proto(started.conditioning, "conditioning"),
                negative=negative,
                sigmas=tensor_from_proto(started.sigmas, "sigmas"),
                model=model_from_proto(started.model),
                policy_digest=started.policy_digest,
            )
        case "trajectory":
            trajectory = message.trajectory
            return Trajectory(
                index=trajectory.index,
                seed=trajectory.seed,
                latents=tensor_from_proto(trajectory.latents, "latents"),
                log_probabilities=tensor_from_proto(trajectory.log_probabilities, "log_probabilities"),
                final=tensor_from_proto(trajectory.final, "final"),
                image=trajectory.image,
            )
        case _:
            raise InvalidRequest.of("event", "is missing or of an unknown kind")


def _conditioning_to_proto(conditioning: Conditioning) -> pb.Conditioning:
    return pb.Conditioning(tokens=tensor_to_proto(conditioning.tokens), pooled=tensor_to_proto(conditioning.pooled))


def _conditioning_from_proto(message: pb.Conditioning, field: str) -> Conditioning:
    return Conditioning(
        tokens=tensor_from_proto(message.tokens, f"{field}.tokens"),
        pooled=tensor_from_proto(message.pooled, f"{field}.pooled"),
    )
