"""The judge's requests and replies, to the wire and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from emofeedback.domain import validation as checks
from emofeedback.domain.assessment import (
    Assessment,
    AssessmentFailure,
    AssessmentOutcome,
    ControlTokens,
    Conversation,
    Decoding,
    Distribution,
    EmotionShare,
    Message,
)
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.reasoning import Reasoning, reasoning_of
from emofeedback.v1 import judge_pb2 as pb
from emofeedback.wire.affect import emotion_from_proto, emotion_to_proto

_ROLES: dict[pb.Role.ValueType, Literal["system", "user", "assistant"]] = {
    pb.ROLE_SYSTEM: "system",
    pb.ROLE_USER: "user",
    pb.ROLE_ASSISTANT: "assistant",
}
_ROLE_NUMBERS = {role: number for number, role in _ROLES.items()}
_REASONINGS: dict[pb.Reasoning.ValueType, Reasoning] = {
    pb.REASONING_NONE: "none",
    pb.REASONING_LATENT: "latent",
    pb.REASONING_ALOUD: "aloud",
}
_REASONING_NUMBERS = {reasoning: number for number, reasoning in _REASONINGS.items()}


# --- assessments -------------------------------------------------------------------------------------------------


def assessment_to_proto(assessment: Assessment) -> pb.Assessment:
    return pb.Assessment(
        valence=assessment.valence,
        arousal=assessment.arousal,
        emotion=emotion_to_proto(assessment.emotion),
        confidence=assessment.confidence,
        reasoning=assessment.reasoning,
        in_domain=assessment.in_domain,
        domain_score=assessment.domain_score,
        dominance=assessment.dominance,
        valence_distribution=_distribution_to_proto(assessment.valence_distribution),
        arousal_distribution=_distribution_to_proto(assessment.arousal_distribution),
        dominance_distribution=_distribution_to_proto(assessment.dominance_distribution),
        emotions=[
            pb.EmotionShare(emotion=emotion_to_proto(felt.emotion), share=felt.share) for felt in assessment.emotions
        ],
    )


def assessment_from_proto(message: pb.Assessment, field: str = "assessment") -> Assessment:
    """Raises `InvalidRequest` under `field` for an unknown emotion; ranges are `checks`' matter."""
    return Assessment(
        valence=message.valence,
        arousal=message.arousal,
        emotion=emotion_from_proto(message.emotion, f"{field}.emotion"),
        confidence=message.confidence,
        reasoning=message.reasoning,
        domain_score=message.domain_score if message.HasField("domain_score") else None,
        dominance=message.dominance if message.HasField("dominance") else None,
        valence_distribution=_distribution_from_proto(message, "valence_distribution"),
        arousal_distribution=_distribution_from_proto(message, "arousal_distribution"),
        dominance_distribution=_distribution_from_proto(message, "dominance_distribution"),
        emotions=tuple(
            EmotionShare(emotion=emotion_from_proto(felt.emotion, f"{field}.emotions[{i}].emotion"), share=felt.share)
            for i, felt in enumerate(message.emotions)
        ),
    )


def _distribution_to_proto(axis: Distribution | None) -> pb.Distribution | None:
    return None if axis is None else pb.Distribution(shares=axis.shares, low=axis.low, high=axis.high)


def _distribution_from_proto(
    message: pb.Assessment, name: Literal["valence_distribution", "arousal_distribution", "dominance_distribution"]
) -> Distribution | None:
    if not message.HasField(name):
        return None
    axis: pb.Distribution = getattr(message, name)
    return Distribution(shares=tuple(axis.shares), low=axis.low, high=axis.high)


def outcome_to_proto(outcome: AssessmentOutcome) -> pb.AssessmentOutcome:
    if isinstance(outcome, AssessmentFailure):
        return pb.AssessmentOutcome(failure=pb.AssessmentFailure(reason=outcome.reason))
    return pb.AssessmentOutcome(assessment=assessment_to_proto(outcome))


def outcome_from_proto(message: pb.AssessmentOutcome, field: str = "outcome") -> AssessmentOutcome:
    """Raises `InvalidRequest` under `field` where the outcome is missing or of an unknown kind."""
    match message.WhichOneof("outcome"):
        case "assessment":
            return assessment_from_proto(message.assessment, field)
        case "failure":
            return AssessmentFailure(reason=message.failure.reason)
        case _:
            raise InvalidRequest.of(field, "is missing or of an unknown kind")


# --- requests ----------------------------------------------------------------------------------------------------


def assess_request_to_proto(
    images: Sequence[bytes], reasoning: Reasoning, user: str, request_id: str
) -> pb.AssessImagesRequest:
    return pb.AssessImagesRequest(
        images=images,
        reasoning=reasoning == "aloud",
        mode=_REASONING_NUMBERS[reasoning],
        user=user,
        request_id=request_id,
    )


def assess_request_from_proto(message: pb.AssessImagesRequest) -> tuple[tuple[bytes, ...], Reasoning, str]:
    """The images, how to reason, and whose calibration to apply. Raises `InvalidRequest`."""
    checks.check_most("images", message.images, LIMITS.images_per_call)
    images = tuple(message.images)
    checks.check_assessment(images, message.user)
    return images, _reasoning_from_proto(message), message.user


def _reasoning_from_proto(message: pb.AssessImagesRequest) -> Reasoning:
    if message.mode == pb.REASONING_UNSPECIFIED:
        return reasoning_of(message.reasoning)
    if message.mode not in _REASONINGS:
        raise InvalidRequest.of("mode", f"is {message.mode}, it must be one of {', '.join(_REASONING_NUMBERS)}")
    mode = _REASONINGS[message.mode]
    if message.reasoning and mode != "aloud":
        raise InvalidRequest.of("mode", f"is {mode}, but reasoning is true, which is aloud: leave one of them out")
    return mode


def streamed_image_from_proto(message: pb.AssessStreamRequest, first_user: str) -> tuple[int, bytes]:
    """The key and the image. Raises `InvalidRequest`, also where it is for another person than its stream's first."""
    checks.check_streamed_image(message.image, message.user, first_user)
    return message.key, message.image


def score_request_from_proto(message: pb.ScoreImagesRequest) -> tuple[tuple[bytes, ...], str]:
    """The images and the prompt. Raises `InvalidRequest`."""
    checks.check_most("images", message.images, LIMITS.images_per_call)
    images = tuple(message.images)
    checks.check_scoring(images, message.prompt)
    return images, message.prompt


def compare_request_from_proto(message: pb.CompareTextsRequest) -> tuple[str, tuple[str, ...]]:
    """The text and the candidates. Raises `InvalidRequest`."""
    checks.check_most("candidates", message.candidates, LIMITS.images_per_call)
    candidates = tuple(message.candidates)
    checks.check_comparison(message.text, candidates)
    return message.text, candidates


def converse_request_from_proto(message: pb.ConverseRequest) -> tuple[tuple[Conversation, ...], Decoding]:
    """The conversations, and how to sample the replies. Raises `InvalidRequest`."""
    checks.check_most("conversations", message.conversations, LIMITS.conversations_per_call)
    for i, conversation in enumerate(message.conversations):
        checks.check_most(f"conversations[{i}].messages", conversation.messages, LIMITS.conversation_messages)
        for j, turn in enumerate(conversation.messages):
            checks.check_most(f"conversations[{i}].messages[{j}].parts", turn.parts, LIMITS.message_parts)
    conversations = conversations_from_proto(message.conversations)
    decoding = decoding_from_proto(message.decoding)
    checks.check_conversations(conversations, decoding)
    return conversations, decoding


# --- conversations -----------------------------------------------------------------------------------------------


def conversations_to_proto(conversations: Sequence[Conversation]) -> list[pb.Conversation]:
    return [
        pb.Conversation(messages=[_message_to_proto(message) for message in conversation])
        for conversation in conversations
    ]


def conversations_from_proto(messages: Iterable[pb.Conversation]) -> tuple[Conversation, ...]:
    """Raises `InvalidRequest` for an unknown role or an empty part."""
    return tuple(
        tuple(
            _message_from_proto(message, f"conversations[{i}].messages[{j}]")
            for j, message in enumerate(conversation.messages)
        )
        for i, conversation in enumerate(messages)
    )


def _message_to_proto(message: Message) -> pb.Message:
    parts = [_part_to_proto(part, f"parts[{i}]") for i, part in enumerate(message.parts)]
    return pb.Message(role=_ROLE_NUMBERS[message.role], parts=parts)


def _part_to_proto(part: str | bytes | ControlTokens, field: str) -> pb.MessagePart:
    match part:
        case str():
            return pb.MessagePart(text=part)
        case bytes():
            return pb.MessagePart(image=part)
        case ControlTokens():
            raise InvalidRequest.of(field, "is of the model's own tokens, which don't travel")


def _message_from_proto(message: pb.Message, field: str) -> Message:
    role = _ROLES.get(message.role)
    if role is None:
        raise InvalidRequest.of(f"{field}.role", f"must be one of {', '.join(_ROLE_NUMBERS)}")
    parts = tuple(_part_from_proto(part, f"{field}.parts[{i}]") for i, part in enumerate(message.parts))
    return Message(role=role, parts=parts)


def _part_from_proto(part: pb.MessagePart, field: str) -> str | bytes:
    match part.WhichOneof("part"):
        case "text":
            return part.text
        case "image":
            return part.image
        case _:
            raise InvalidRequest.of(field, "is empty, it must be a text or an image")


def decoding_to_proto(decoding: Decoding) -> pb.Decoding:
    return pb.Decoding(max_new_tokens=decoding.max_new_tokens, temperature=decoding.temperature, seed=decoding.seed)


def decoding_from_proto(message: pb.Decoding) -> Decoding:
    """0 new tokens stands for the default."""
    return Decoding(
        max_new_tokens=message.max_new_tokens or Decoding().max_new_tokens,
        temperature=message.temperature,
        seed=message.seed,
    )
