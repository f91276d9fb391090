"""Tensors, to the wire and back."""

from __future__ import annotations

from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.tensors import ElementType, Tensor
from emofeedback.v1 import tensor_pb2 as pb

_TO_PROTO: dict[ElementType, pb.ElementType.ValueType] = {
    "float32": pb.ELEMENT_TYPE_FLOAT32,
    "float16": pb.ELEMENT_TYPE_FLOAT16,
    "bfloat16": pb.ELEMENT_TYPE_BFLOAT16,
}
_FROM_PROTO: dict[int, ElementType] = {number: name for name, number in _TO_PROTO.items()}


def tensor_to_proto(tensor: Tensor) -> pb.Tensor:
    return pb.Tensor(element_type=_TO_PROTO[tensor.element_type], shape=tensor.shape, data=tensor.data)


def tensor_from_proto(message: pb.Tensor, field: str) -> Tensor:
    """Raises `InvalidRequest` on `field` for an unknown element type, and where shape and data don't fit."""
    if message.element_type not in _FROM_PROTO:
        what = "unspecified" if message.element_type == pb.ELEMENT_TYPE_UNSPECIFIED else str(message.element_type)
        raise InvalidRequest.of(f"{field}.element_type", f"is {what}, it must be one of {', '.join(_TO_PROTO)}")
    if any(size < 0 for size in message.shape):
        raise InvalidRequest.of(f"{field}.shape", f"is {list(message.shape)}, no size may be negative")
    try:
        return Tensor(element_type=_FROM_PROTO[message.element_type], shape=tuple(message.shape), data=message.data)
    except ValueError as error:
        raise InvalidRequest.of(f"{field}.data", str(error)) from error
