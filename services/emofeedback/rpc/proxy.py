"""What Serve's gRPC proxy answers to: the three services, with streams that end when their caller leaves.

Ray's handler of a stream hears of a caller who left only while it waits for the replica. While it sends (the caller
reads slowly, or the machine is busy), gRPC ends the handler between two messages, and the replica works on for
nobody. So the handler is read in a task of its own here: that one always waits, and is cancelled by the call's end.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

from emofeedback.v1.generator_pb2_grpc import add_GeneratorServiceServicer_to_server
from emofeedback.v1.judge_pb2_grpc import add_JudgeServiceServicer_to_server
from emofeedback.v1.optimizer_pb2_grpc import add_PromptOptimizerServiceServicer_to_server

Handler = Callable[..., Any]


def add_services(servicer: Any, server: Any) -> None:
    """A servicer function of Serve's `grpc_options`.

    Args:
        servicer: Ray's; its methods are never called.
        server: Ray's `gRPCGenericServer`, which puts what its `service_handler_factory` makes in the methods' place.
    """
    make_handler: Handler = server.service_handler_factory

    def make(**method: Any) -> Handler:
        handler = make_handler(**method)
        return ending_with_its_call(handler) if inspect.isasyncgenfunction(handler) else handler

    server.service_handler_factory = make
    add_GeneratorServiceServicer_to_server(servicer, server)
    add_JudgeServiceServicer_to_server(servicer, server)
    add_PromptOptimizerServiceServicer_to_server(servicer, server)


def ending_with_its_call(handler: Handler) -> Handler:
    """A streaming handler `(request, context)` of `grpc.aio` that is cancelled where it waits, whenever the call ends.

    What it has yielded and gRPC has not sent yet is kept: Ray has received it by then, and would keep it otherwise.
    """

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        remembered = _Context(context)
        messages: asyncio.Queue[Any] = asyncio.Queue()

        async def read() -> None:
            async for message in handler(request, remembered):
                messages.put_nowait(message)

        reading = asyncio.create_task(read())
        reading.add_done_callback(lambda _: messages.put_nowait(None))
        context.add_done_callback(lambda _: reading.cancel())
        while (message := await messages.get()) is not None:
            yield message
        await reading  # its failure is the call's

    return stream


class _Context:
    """A call's context that can still be asked who called when the call is over; of gRPC's own that is a crash."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._peer = context.peer()

    def peer(self) -> Any:
        return self._peer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)
