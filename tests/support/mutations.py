"""Messages that nobody means: valid ones of every RPC, and what is left of them after some accidents."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from emofeedback.v1 import generator_pb2, judge_pb2, optimizer_pb2, trainer_pb2
from support.pictures import encoded, red

PICTURE = encoded(red())
TEXTS = ("", " ", "a park", "x" * 2000, "x" * 2001, "\x00\x1b[2J", "awe", "nano", "../..", "a.b", "\u2028", "🌊" * 400)
NUMBERS = (0, 1, -1, 2, 64, 65, 200, 2**31 - 1, -(2**31))
LARGE_NUMBERS = (*NUMBERS, 2**63 - 1, -(2**63))
REALS = (0.0, 1.0, 5.0, -1.0, 9.0, 1e308, -1e308, float("nan"), float("inf"), 5e-324)
_DEEPEST = 4


def rpcs() -> Iterator[tuple[str, type[Message], bool]]:
    """Path, request and whether the request is a stream, of every RPC."""
    for module in (generator_pb2, judge_pb2, optimizer_pb2, trainer_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                path = f"/{service.full_name}/{method.name}"
                yield path, GetMessageClass(method.input_type), bool(method.client_streaming)


def message(kind: type[Message], chance: random.Random, depth: int = 0) -> Message:
    """One of the kind, with values of the right type and hardly ever of the right size."""
    made = kind()
    fields: list[Any] = list(made.DESCRIPTOR.fields)
    for field in fields:
        if chance.random() < 0.2 or (depth > _DEEPEST and field.message_type):
            continue
        if field.is_repeated and field.message_type and field.message_type.GetOptions().map_entry:
            continue
        if field.is_repeated:
            count = chance.choice((0, 1, 1, 2, 3, 65))
            if field.message_type:
                for _ in range(min(count, 3)):
                    getattr(made, field.name).add().CopyFrom(_inner(field, chance, depth))
            else:
                getattr(made, field.name).extend(_value(field, chance) for _ in range(count))
        elif field.message_type:
            getattr(made, field.name).CopyFrom(_inner(field, chance, depth))
        else:
            setattr(made, field.name, _value(field, chance))
    return made


def _inner(field: FieldDescriptor, chance: random.Random, depth: int) -> Message:
    assert field.message_type is not None
    return message(GetMessageClass(field.message_type), chance, depth + 1)


def _value(field: FieldDescriptor, chance: random.Random) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return chance.choice((b"", PICTURE, PICTURE[:40], b"\xff\xd8\xff"))
        case FieldDescriptor.CPPTYPE_STRING:
            return chance.choice(TEXTS)
        case FieldDescriptor.CPPTYPE_BOOL:
            return chance.random() < 0.5
        case FieldDescriptor.CPPTYPE_ENUM:
            return chance.choice((0, 1, 2, 3, 99))
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return chance.choice(REALS)
        case FieldDescriptor.CPPTYPE_INT64:
            return chance.choice(LARGE_NUMBERS)
        case FieldDescriptor.CPPTYPE_UINT32 | FieldDescriptor.CPPTYPE_UINT64:
            return chance.choice((0, 1, 2**31 - 1))
        case _:
            return chance.choice(NUMBERS)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The bytes after up to five accidents."""
    bytes_ = bytearray(data)
    for _ in range(chance.randrange(6)):
        place = chance.randrange(len(bytes_) + 1)
        match chance.randrange(5):
            case 0 if place < len(bytes_):
                bytes_[place] ^= 1 << chance.randrange(8)
            case 1:
                bytes_[place:place] = chance.randbytes(chance.choice((1, 2, 8)))
            case 2:
                del bytes_[place : place + chance.choice((1, 4, 50))]
            case 3:
                bytes_[place:place] = bytes_[place : place + chance.choice((2, 30))] * chance.choice((1, 3))
            case _:
                bytes_[place:place] = b"\xff" * chance.choice((1, 5, 10))
    return bytes(bytes_)
