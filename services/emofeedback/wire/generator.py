"""The generator's requests and events, to the wire and back."""

from __future__ import annotations

from emofeedback.domain import validation as checks
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import (
    GeneratedImage,
    GenerationEvent,
    GenerationQueued,
    GenerationRequest,
    GenerationStep,
)
from emofeedback.domain.limits import LIMITS
from emofeedback.v1 import generator_pb2 as pb
from emofeedback.wire.affect import model_from_proto, model_to_proto
from emofeedback.wire.reasoning import emotion_tokens_from_proto, emotion_tokens_to_proto


def generation_request_to_proto(request: GenerationRequest) -> pb.GenerateRequest:
    return pb.GenerateRequest(
        prompt=request.prompt,
        seeds=request.seeds,
        negative_prompt=request.negative_prompt,
        steps=request.steps,
        guidance=request.guidance,
        policy=request.policy,
        request_id=request.request_id,
        emotion=emotion_tokens_to_proto(request.emotion) if request.emotion is not None else None,
        emotion_scale=request.emotion_scale,
    )


def generation_request_from_proto(message: pb.GenerateRequest) -> GenerationRequest:
    """Raises `InvalidRequest` where a field is out of its limits."""
    checks.check_most("seeds", message.seeds, LIMITS.images_per_call)
    request = GenerationRequest(
        prompt=message.prompt,
        seeds=tuple(message.seeds),
        negative_prompt=message.negative_prompt,
        steps=message.steps if message.HasField("steps") else None,
        guidance=message.guidance if message.HasField("guidance") else None,
        policy=message.policy,
        request_id=message.request_id,
        emotion=emotion_tokens_from_proto(message.emotion) if message.HasField("emotion") else None,
        emotion_scale=message.emotion_scale if message.HasField("emotion_scale") else 1.0,
    )
    checks.check_generation_request(request)
    return request


def generation_event_to_proto(event: GenerationEvent) -> pb.GenerateResponse:
    match event:
        case GenerationQueued():
            return pb.GenerateResponse(queued=queued_to_proto(event))
        case GenerationStep():
            return pb.GenerateResponse(step=step_to_proto(event))
        case GeneratedImage():
            return pb.GenerateResponse(image=image_to_proto(event))


def generation_event_from_proto(message: pb.GenerateResponse) -> GenerationEvent:
    """Raises `InvalidRequest` where the message holds no event that this version knows."""
    match message.WhichOneof("event"):
        case "queued":
            return queued_from_proto(message.queued)
        case "step":
            return step_from_proto(message.step)
        case "image":
            return image_from_proto(message.image)
        case _:
            raise InvalidRequest.of("event", "is missing or of an unknown kind")


def queued_to_proto(queued: GenerationQueued) -> pb.GenerationQueued:
    return pb.GenerationQueued(
        images_ahead=queued.images_ahead,
        unknown_words=queued.unknown_words,
        shortened_prompt=queued.shortened_prompt,
        subjects=queued.subjects,
    )


def queued_from_proto(message: pb.GenerationQueued) -> GenerationQueued:
    return GenerationQueued(
        images_ahead=message.images_ahead,
        unknown_words=tuple(message.unknown_words),
        shortened_prompt=message.shortened_prompt,
        subjects=message.subjects,
    )


def step_to_proto(step: GenerationStep) -> pb.GenerationStep:
    return pb.GenerationStep(index=step.index, step=step.step, steps=step.steps)


def step_from_proto(message: pb.GenerationStep) -> GenerationStep:
    return GenerationStep(index=message.index, step=message.step, steps=message.steps)


def image_to_proto(image: GeneratedImage) -> pb.GeneratedImage:
    return pb.GeneratedImage(
        index=image.index,
        seed=image.seed,
        data=image.data,
        width=image.width,
        height=image.height,
        model=model_to_proto(image.model),
    )


def image_from_proto(message: pb.GeneratedImage) -> GeneratedImage:
    return GeneratedImage(
        index=message.index,
        seed=message.seed,
        data=message.data,
        width=message.width,
        height=message.height,
        model=model_from_proto(message.model),
    )
