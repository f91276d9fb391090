"""What a judge is asked to have in mind, and what it has, to the wire and back."""

from __future__ import annotations

from emofeedback.domain import validation as checks
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.reasoning import EmotionTokens, Imagination
from emofeedback.v1 import emotion_pb2, judge_pb2
from emofeedback.wire.affect import model_from_proto, model_to_proto, target_from_proto, target_to_proto
from emofeedback.wire.tensors import tensor_from_proto, tensor_to_proto


def emotion_tokens_to_proto(tokens: EmotionTokens) -> emotion_pb2.EmotionTokens:
    return emotion_pb2.EmotionTokens(states=tensor_to_proto(tokens.states), judge=model_to_proto(tokens.judge))


def emotion_tokens_from_proto(message: emotion_pb2.EmotionTokens, field: str = "emotion") -> EmotionTokens:
    """Raises `InvalidRequest` under `field` where the states are no tensor; ranges are `checks`' matter."""
    return EmotionTokens(
        states=tensor_from_proto(message.states, f"{field}.states"), judge=model_from_proto(message.judge)
    )


def reason_request_to_proto(subject: bytes | Imagination, variations: int, request_id: str) -> judge_pb2.ReasonRequest:
    if isinstance(subject, Imagination):
        imagination = judge_pb2.Imagination(prompt=subject.prompt, target=target_to_proto(subject.target))
        return judge_pb2.ReasonRequest(imagination=imagination, variations=variations, request_id=request_id)
    return judge_pb2.ReasonRequest(image=subject, variations=variations, request_id=request_id)


def reason_request_from_proto(message: judge_pb2.ReasonRequest) -> tuple[bytes | Imagination, int]:
    """The picture, or what to imagine, and how many times. Raises `InvalidRequest`. (Both can't be: it is a oneof, the
    last one written wins.)"""
    subject: bytes | Imagination
    match message.WhichOneof("subject"):
        case "image":
            subject = message.image
        case "imagination":
            asked = message.imagination
            subject = Imagination(prompt=asked.prompt, target=target_from_proto(asked.target, "imagination.target"))
        case _:
            raise InvalidRequest.of("subject", "is missing, it must be an image or an imagination")
    checks.check_reasoning(subject, message.variations)
    return subject, message.variations
