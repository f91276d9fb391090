"""GeneratorService on the wire."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from emofeedback import wire
from emofeedback.domain.generation import Generator
from emofeedback.rpc import RequestWindow, stream_rpc, unary_rpc
from emofeedback.rpc.server import Context
from emofeedback.v1 import generator_pb2 as pb


class GeneratorServicer:
    """Serves any generator; the same class under `grpc.aio` and under Ray Serve."""

    def __init__(self, generator: Generator, token: str | None) -> None:
        self.token = token
        self._generator = generator
        self._window = RequestWindow()

    @stream_rpc
    async def Generate(self, request: pb.GenerateRequest, context: Context) -> AsyncIterator[pb.GenerateResponse]:
        async with aclosing(self._window.stream(request, lambda: self._generate(request))) as responses:
            async for response in responses:
                yield response

    @stream_rpc
    async def SampleTrajectories(
        self, request: pb.SampleTrajectoriesRequest, context: Context
    ) -> AsyncIterator[pb.SampleTrajectoriesResponse]:
        async with aclosing(self._window.stream(request, lambda: self._sample(request))) as responses:
            async for response in responses:
                yield response

    @unary_rpc
    async def GetModel(
        self, request: pb.GeneratorServiceGetModelRequest, context: Context
    ) -> pb.GeneratorServiceGetModelResponse:
        return pb.GeneratorServiceGetModelResponse(model=wire.model_to_proto(await self._generator.model()))

    @unary_rpc
    async def ListPolicies(self, request: pb.ListPoliciesRequest, context: Context) -> pb.ListPoliciesResponse:
        return pb.ListPoliciesResponse(policies=await self._generator.policies())

    async def _generate(self, message: pb.GenerateRequest) -> AsyncGenerator[pb.GenerateResponse, None]:
        request = wire.generation_request_from_proto(message)
        async with aclosing(self._generator.generate(request)) as events:
            async for event in events:
                yield wire.generation_event_to_proto(event)

    async def _sample(
        self, message: pb.SampleTrajectoriesRequest
    ) -> AsyncGenerator[pb.SampleTrajectoriesResponse, None]:
        request = wire.trajectory_request_from_proto(message)
        async with aclosing(self._generator.sample_trajectories(request)) as events:
            async for event in events:
                yield wire.trajectory_event_to_proto(event)
