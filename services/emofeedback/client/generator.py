"""The generator behind an address."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import AsyncGenerator, Hashable, Sequence

from emofeedback import wire
from emofeedback.checks import check_generation_request
from emofeedback.client.connection import Connection
from emofeedback.client.encoding import encoded
from emofeedback.client.services import GENERATOR
from emofeedback.interfaces import (
    GeneratedImage,
    GenerationEvent,
    GenerationQueued,
    GenerationRequest,
    GenerationStep,
    ModelInfo,
)
from emofeedback.v1 import generator_pb2 as pb


class GeneratorClient:
    """`interfaces.Generator` over gRPC."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """As `Generator.generate`. A broken call goes on by the retry policy, each event is told once."""
        identified = dataclasses.replace(request, request_id=request.request_id or str(uuid.uuid4()))
        message = encoded(wire.generation_request_to_proto, identified, check_generation_request)
        async for event in self._connection.stream(
            GENERATOR, "Generate", lambda: message, wire.generation_event_from_proto, _identity
        ):
            yield event

    async def model(self) -> ModelInfo:
        """The base model behind it."""
        request = pb.GeneratorServiceGetModelRequest()
        return await self._connection.unary(
            GENERATOR, "GetModel", request, lambda reply: wire.model_from_proto(reply.model)
        )

    async def policies(self) -> Sequence[str]:
        """Names of the adapters that it can paint with."""
        return await self._connection.unary(
            GENERATOR, "ListPolicies", pb.ListPoliciesRequest(), lambda reply: tuple(reply.policies)
        )


def _identity(event: GenerationEvent) -> Hashable:
    match event:
        case GenerationQueued():
            return "queued"
        case GenerationStep():
            return event.index, event.step
        case GeneratedImage():
            return event.index
