"""What Serve's gRPC proxy answers to: the three services and `grpc.health.v1`, behind a gate.

Three things are put around Ray's handlers. The gate looks at a call's metadata before its message is read. What Ray
itself says of a failed call (tracebacks, addresses, names of its own) stays in the log. And streams end when their
caller leaves, or neither sends nor reads:

Ray's handler of a stream hears of a caller who left only while it waits for the replica. While it sends (the caller
reads slowly, or the machine is busy), gRPC ends the handler between two messages, and the replica works on for
nobody. So the handler is read in a task of its own here: that one always waits, and is cancelled by the call's end.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Set
from typing import Any

import grpc
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from emofeedback.domain.errors import DeadlineExceeded, EmoFeedbackError, NothingAnswers, ResourceExhausted, Unavailable
from emofeedback.rpc.gate import APPLICATIONS, HEALTH, Gate, set_error
from emofeedback.rpc.health import Health
from emofeedback.rpc.silence import first_of
from emofeedback.v1.generator_pb2_grpc import add_GeneratorServiceServicer_to_server
from emofeedback.v1.judge_pb2_grpc import add_JudgeServiceServicer_to_server
from emofeedback.v1.optimizer_pb2_grpc import add_PromptOptimizerServiceServicer_to_server
from emofeedback.wire.status import STATUS_KEY

log = logging.getLogger(__name__)

Handler = Callable[..., Any]
_CODES = {code.value[0]: code for code in grpc.StatusCode}
UNREAD_BYTES = 4 * 1024 * 1024
"""Of a call's messages that its caller has not read; with more, Ray's handler isn't asked for the next one."""
UNREAD_SECONDS = 60.0
"""So long a caller with as much unread may read nothing."""
_UNSET: Any = 0
"""What a context says before a code is set: Ray sets its own only then."""


def add_services(servicer: Any, server: Any) -> None:
    """A servicer function of Serve's `grpc_options`.

    Args:
        servicer: Ray's; its methods are never called.
        server: Ray's `gRPCGenericServer`, which puts what its `service_handler_factory` makes in the methods' place.
    """
    make_handler: Handler = server.service_handler_factory

    def make(*, service_method: str, **kind: Any) -> Handler:
        handler = make_handler(service_method=service_method, **kind)
        if kind["streaming_type"].name == "STREAM_STREAM":
            handler = once_something_is_sent(handler)
        else:
            handler = named_by_its_request(handler)
        application = APPLICATIONS.get(service_method.strip("/").partition("/")[0], "service")
        return in_our_words(handler, application)

    server.service_handler_factory = make
    _put_behind(Gate.of_environment(), server)
    add_GeneratorServiceServicer_to_server(servicer, server)
    add_JudgeServiceServicer_to_server(servicer, server)
    add_PromptOptimizerServiceServicer_to_server(servicer, server)
    server.add_passthrough_service(HEALTH)
    add_HealthServicer_to_server(Health(_running_applications(make_handler)), server)


def _put_behind(gate: Gate, server: Any) -> None:
    """Guards what the server has (Serve's own API) and what is added later (ours, health, reflection)."""
    for (added,) in server.generic_rpc_handlers:
        gate.guard(added)
    gate.stand_before(server)


def _running_applications(make_handler: Handler) -> Callable[[Any], Any]:
    """Asks Ray's own API which applications take calls; none do while the proxy drains."""
    from ray.serve._private.proxy_request_response import gRPCStreamingType
    from ray.serve.generated.serve_pb2 import ListApplicationsRequest, ListApplicationsResponse

    method = "/ray.serve.RayServeAPIService/ListApplications"
    list_applications = make_handler(service_method=method, streaming_type=gRPCStreamingType.UNARY_UNARY)

    async def running(context: Any) -> Set[str]:
        reply = await list_applications(ListApplicationsRequest(), context)
        healthy = _code(context) is grpc.StatusCode.OK
        context.set_code(_UNSET)  # it was the question's, not the health call's
        context.set_details("")
        return set(ListApplicationsResponse.FromString(reply).application_names) if healthy else set()

    return running


def in_our_words(handler: Handler, application: str) -> Handler:
    """A handler `(request, context)` of `grpc.aio` whose failed calls say what a caller of the application can use."""
    if not inspect.isasyncgenfunction(handler):

        async def unary(request: Any, context: Any) -> Any:
            try:
                reply = await handler(request, context)
            except Exception:
                log.exception("Serve's proxy failed in a call of the %s", application)
                context.set_code(grpc.StatusCode.INTERNAL)
                reply = b""
            _reword(context, application)
            return reply

        return unary

    following = ending_with_its_call(handler)

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async for message in following(request, context):
                yield message
        except EmoFeedbackError as error:
            set_error(context, error)
        except Exception:
            log.exception("Serve's proxy failed in a call of the %s", application)
            context.set_code(grpc.StatusCode.INTERNAL)
        _reword(context, application)

    return stream


def _code(context: Any) -> grpc.StatusCode:
    code: grpc.StatusCode | int = context.code() or 0
    return _CODES[code] if isinstance(code, int) else code


def _reword(context: Any, application: str) -> None:
    """Puts our status in the place of Serve's, on a failed call that brings none of a service's own."""
    code = _code(context)
    if code is grpc.StatusCode.OK or any(key == STATUS_KEY for key, _ in context.trailing_metadata() or ()):
        return
    error: EmoFeedbackError
    match code:
        case grpc.StatusCode.NOT_FOUND:
            error = NothingAnswers(f"the {application} is not up here, or not yet")
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            error = ResourceExhausted(f"as many calls as may wait for the {application} are waiting")
        case grpc.StatusCode.UNAVAILABLE:
            error = Unavailable(f"no replica of the {application} takes calls just now")
        case grpc.StatusCode.CANCELLED | grpc.StatusCode.DEADLINE_EXCEEDED:
            return
        case _:  # bare, unlike a service's own defects: another try may meet another replica
            reference = secrets.token_hex(4)
            log.error("a call of the %s failed, reference %s: %s", application, reference, context.details())
            context.set_details(f"a replica of the {application} died or failed; the proxy's log has {reference}")
            return
    set_error(context, error)


def ending_with_its_call(handler: Handler) -> Handler:
    """A streaming handler `(request, context)` of `grpc.aio` that is cancelled where it waits, whenever the call ends.

    What it has yielded and gRPC has not sent yet is kept, up to `UNREAD_BYTES`.
    """

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        remembered = _Context(context)
        unread = _Unread()
        loop = asyncio.get_running_loop()

        async def read() -> None:
            async for message in handler(request, remembered):
                unread.add(message)
                if not await unread.room():
                    stop()

        def stop() -> None:
            if unread.wanted:
                unread.forget()
                loop.call_soon(reading.cancel)  # by then it waits for the handler again, which hears of it there

        reading = asyncio.create_task(read())
        reading.add_done_callback(lambda _: unread.end())
        context.add_done_callback(lambda _: stop())
        async for message in unread:
            yield message
        if not unread.wanted:
            raise DeadlineExceeded(f"nothing of the reply was read for {UNREAD_SECONDS:g} s")
        await reading  # its failure is the call's

    return stream


def named_by_its_request(handler: Handler) -> Handler:
    """A handler of single requests whose `request_id`, where it has one, is the session by which Serve chooses a
    replica (`serving.router`)."""

    def named(request: Any, context: Any) -> Any:
        request_id = getattr(request, "request_id", "")
        return handler(request, _InSession(context, request_id) if request_id else context)

    if not inspect.isasyncgenfunction(handler):

        async def unary(request: Any, context: Any) -> Any:
            return await named(request, context)

        return unary

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        async for message in named(request, context):
            yield message

    return stream


def once_something_is_sent(handler: Handler) -> Handler:
    """A handler of streams both ways that takes a place in a replica with the first message, and not before."""

    async def stream(requests: Any, context: Any) -> AsyncIterator[Any]:
        messages = aiter(requests)
        first = await first_of(messages)

        async def all_messages() -> AsyncIterator[Any]:
            if first is not None:
                yield first
                async for message in messages:
                    yield message

        async for reply in handler(all_messages(), context):
            yield reply

    return stream


class _Unread:
    """Messages that a caller has not read yet; none where the caller is gone, or has read nothing for long."""

    def __init__(self) -> None:
        self.wanted = True
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._ended = False
        self._changed = asyncio.Event()

    def add(self, message: bytes) -> None:
        """One more."""
        if self.wanted:
            self._messages.append(message)
            self._bytes += len(message)
            self._changed.set()

    async def room(self) -> bool:
        """Waits until there is room for another; False where no more are wanted, or none was read for too long."""
        while self._bytes > UNREAD_BYTES:
            self._changed.clear()
            try:
                async with asyncio.timeout(UNREAD_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                return False
        return self.wanted

    def forget(self) -> None:
        """No more are wanted, nor those that are there."""
        self.wanted = False
        self._messages.clear()
        self._bytes = 0
        self._changed.set()

    def end(self) -> None:
        """No more will come."""
        self._ended = True
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._messages or not self._ended:
            if self._messages:
                message = self._messages.popleft()
                self._bytes -= len(message)
                self._changed.set()
                yield message
            else:
                self._changed.clear()
                await self._changed.wait()


class _InSession:
    """A call's context whose metadata names a session, and no other one."""

    def __init__(self, context: Any, session: str) -> None:
        self._context = context
        self._session = session

    def invocation_metadata(self) -> tuple[tuple[str, Any], ...]:
        sent = ((key, value) for key, value in self._context.invocation_metadata() if key != "session_id")
        return (*sent, ("session_id", self._session))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


class _Context:
    """A call's context that can still be asked who called when the call is over; of gRPC's own that is a crash."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._peer = context.peer()

    def peer(self) -> Any:
        return self._peer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)
