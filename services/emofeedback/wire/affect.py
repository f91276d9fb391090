"""Points, emotions, targets and models, to the wire and back."""

from __future__ import annotations

from emofeedback.domain import validation as checks
from emofeedback.domain.affect import LEXICON, AffectPoint, Emotion
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import ModelInfo
from emofeedback.v1 import affect_pb2 as pb


def point_to_proto(point: AffectPoint) -> pb.AffectPoint:
    return pb.AffectPoint(valence=point.valence, arousal=point.arousal)


def emotion_to_proto(emotion: Emotion) -> pb.Emotion.ValueType:
    return pb.Emotion.Value(f"EMOTION_{emotion.name}")


_EMOTIONS: dict[int, Emotion] = {emotion_to_proto(emotion): emotion for emotion in Emotion}


def emotion_from_proto(number: int, field: str = "emotion") -> Emotion:
    """Raises `InvalidRequest` on `field` for the unspecified and for unknown values."""
    if number not in _EMOTIONS:
        what = "unspecified" if number == pb.EMOTION_UNSPECIFIED else str(number)
        raise InvalidRequest.of(field, f"is {what}, it must be one of {', '.join(Emotion)}")
    return _EMOTIONS[number]


def target_to_proto(target: AffectPoint | Emotion) -> pb.Target:
    if isinstance(target, Emotion):
        return pb.Target(emotion=emotion_to_proto(target))
    return pb.Target(point=point_to_proto(target))


def target_from_proto(message: pb.Target, field: str = "target") -> AffectPoint:
    """The point that is meant; an emotion stands for its lexicon mean.

    Raises:
        InvalidRequest: neither is set, the point is off the scale, the emotion is unknown. (Both can't be: it is a
            oneof, the last one written wins.)
    """
    match message.WhichOneof("target"):
        case "point":
            return checks.target_point(message.point.valence, message.point.arousal, field)
        case "emotion":
            return LEXICON[emotion_from_proto(message.emotion, f"{field}.emotion")].point
        case _:
            raise InvalidRequest.of(field, "is missing, it must be a point (valence and arousal) or an emotion")


def model_to_proto(model: ModelInfo) -> pb.ModelInfo:
    return pb.ModelInfo(name=model.name, digest=model.digest, policy=model.policy)


def model_from_proto(message: pb.ModelInfo) -> ModelInfo:
    return ModelInfo(name=message.name, digest=message.digest, policy=message.policy)
