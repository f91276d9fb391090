"""PromptOptimizerService on the wire: the whole loop as a stream of events, and its three steps on their own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from emofeedback import wire
from emofeedback.domain.assessment import Judge
from emofeedback.domain.errors import FieldViolation, InternalError, InvalidRequest
from emofeedback.domain.generation import Generator
from emofeedback.optimizer.loop import optimize
from emofeedback.optimizer.loss import compute_losses
from emofeedback.optimizer.steps import estimate_gradient, update_prompt
from emofeedback.profiles.profile import OptimizerSettings
from emofeedback.rpc import RequestWindow, stream_rpc, unary_rpc
from emofeedback.rpc.server import Context
from emofeedback.v1 import optimizer_pb2 as pb


class PromptOptimizerServicer:
    """Serves the loop over any generator and judge; the same class under `grpc.aio` and under Ray Serve."""

    def __init__(self, generator: Generator, judge: Judge, settings: OptimizerSettings, token: str | None) -> None:
        self.token = token
        self._generator = generator
        self._judge = judge
        self._settings = settings
        self._window = RequestWindow()

    @stream_rpc
    async def Optimize(self, request: pb.OptimizeRequest, context: Context) -> AsyncIterator[pb.OptimizeResponse]:
        async with aclosing(self._window.stream(request, lambda: self._optimize(request))) as responses:
            async for response in responses:
                yield response

    @unary_rpc
    async def ComputeLoss(self, request: pb.ComputeLossRequest, context: Context) -> pb.ComputeLossResponse:
        return wire.losses_to_proto(compute_losses(wire.loss_request_from_proto(request)))

    @unary_rpc
    async def EstimateGradient(
        self, request: pb.EstimateGradientRequest, context: Context
    ) -> pb.EstimateGradientResponse:
        step = wire.gradient_request_from_proto(request)
        try:
            found = await estimate_gradient(step, judge=self._judge, settings=self._settings)
        except InvalidRequest as error:
            raise _in_this_requests_words(error) from error
        if not found.analysis:
            raise InternalError(f"the judge gave no analysis: {found.rejected[-1].reason}")
        return wire.gradient_to_proto(found)

    @unary_rpc
    async def UpdatePrompt(self, request: pb.UpdatePromptRequest, context: Context) -> pb.UpdatePromptResponse:
        step = wire.update_request_from_proto(request)
        return wire.rewrite_to_proto(await update_prompt(step, judge=self._judge, settings=self._settings))

    async def _optimize(self, message: pb.OptimizeRequest) -> AsyncGenerator[pb.OptimizeResponse, None]:
        request = wire.optimization_request_from_proto(message)
        async with aclosing(
            optimize(request, generator=self._generator, judge=self._judge, settings=self._settings)
        ) as events:
            async for event in events:
                yield wire.optimization_event_to_proto(event)


_SHOWN_AS = {
    f"conversations[0].messages[0].parts[{part}].image": f"{name}_image" for part, name in enumerate(("best", "worst"))
}


def _in_this_requests_words(error: InvalidRequest) -> InvalidRequest:
    """The judge names the images by their places in the conversation, the caller knows them by other names."""
    return InvalidRequest(
        *(
            FieldViolation(_SHOWN_AS.get(violation.field, violation.field), violation.problem)
            for violation in error.violations
        )
    )
