"""The generator behind an address."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import AsyncGenerator, Callable, Hashable, Sequence, Set
from contextlib import aclosing

from emofeedback import wire
from emofeedback.client.connection import Connection, Service, encoding
from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.generation import (
    GeneratedImage,
    GenerationEvent,
    GenerationQueued,
    GenerationRequest,
    GenerationStep,
    GroupStarted,
    ModelInfo,
    Trajectory,
    TrajectoryEvent,
    TrajectoryRequest,
)
from emofeedback.domain.validation import check_generation_request, check_trajectory_request
from emofeedback.v1 import generator_pb2 as pb
from emofeedback.v1.generator_pb2_grpc import GeneratorServiceStub

GENERATOR = Service("generator", GeneratorServiceStub)


class GeneratorClient:
    """Paints pictures from prompts: a `Generator` over gRPC."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """`GenerationQueued`, then steps and images as they are done, until there is an image for every seed.

        A broken call goes on by the retry policy; each event comes once.

        Raises:
            InvalidRequest: a field is out of its limits.
            NotFound: no such policy.
            ResourceExhausted: the queue is full.
        """
        identified = dataclasses.replace(request, request_id=request.request_id or str(uuid.uuid4()))
        with encoding(check_generation_request, identified):
            message = wire.generation_request_to_proto(identified)
        async for event in self._connection.stream(
            GENERATOR,
            "Generate",
            lambda: message,
            wire.generation_event_from_proto,
            _identity,
            _one_for_each(request.seeds),
        ):
            yield event

    async def sample_trajectories(self, request: TrajectoryRequest) -> AsyncGenerator[TrajectoryEvent, None]:
        """`GenerationQueued`, `GroupStarted`, then the group's trajectories as they are finished, all by one policy.

        A broken call goes on by the retry policy; each event comes once.

        Raises:
            InvalidRequest: a field is out of its limits.
            NotFound: no such policy.
            ResourceExhausted: the queue is full.
            FailedPrecondition: after a break the service samples from another model or policy; a group mixes none.
        """
        identified = dataclasses.replace(request, request_id=request.request_id or str(uuid.uuid4()))
        with encoding(check_trajectory_request, identified):
            message = wire.trajectory_request_to_proto(identified)
        group: GroupStarted | None = None
        stream = self._connection.stream(
            GENERATOR,
            "SampleTrajectories",
            lambda: message,
            wire.trajectory_event_from_proto,
            _trajectory_identity,
            _one_for_each(request.seeds),
        )
        async with aclosing(stream) as events:
            async for event in events:
                if isinstance(event, GroupStarted):
                    if group is not None:
                        raise FailedPrecondition(
                            f"the group began with {_version(group)} and would go on with {_version(event)}"
                        )
                    group = event
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


def _trajectory_identity(event: TrajectoryEvent) -> Hashable:
    match event:
        case GenerationQueued():
            return "queued"
        case GroupStarted():
            return event.model, event.policy_digest
        case Trajectory():
            return event.index


def _one_for_each(seeds: Sequence[int]) -> Callable[[Set[Hashable]], bool]:
    """Whether what was delivered has the image or the trajectory of every seed: both are known by their index."""
    return lambda delivered: delivered >= set(range(len(seeds)))


def _version(group: GroupStarted) -> str:
    policy = f"policy {group.model.policy!r} ({group.policy_digest})" if group.model.policy else "base weights"
    return f"{policy} of {group.model.name} ({group.model.digest})"
