"""Who may call what, decided by a call's metadata and its peer alone: nothing of a refused call is read or passed on.

So every method is served as a stream both ways, which on the wire is the same: a stream's messages are read on demand.
What is read then is weighed before it is parsed, and what can't be parsed is the caller's error.
"""

from __future__ import annotations

import hmac
import os
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import ExitStack, aclosing
from typing import Any, TypeAlias

import grpc

from emofeedback.domain.callers import CLIENT_KEY
from emofeedback.domain.errors import (
    EmoFeedbackError,
    InvalidRequest,
    NotFound,
    ResourceExhausted,
    Unauthenticated,
)
from emofeedback.domain.limits import TOKEN_VARIABLE
from emofeedback.rpc.line import LONGEST_PAUSE, MOST_LATE, SHORTEST_PAUSE
from emofeedback.rpc.places import CallerLimits, Places, peer_name
from emofeedback.v1 import generator_pb2, judge_pb2, optimizer_pb2
from emofeedback.wire.status import MAX_DETAILS, STATUS_KEY, status_from_error

HEALTH_VARIABLE = "EMOFEEDBACK_HEALTH"
"""Environment variable; `guarded`: health checks bring the token too. Else they may come without, as probes do."""
HEALTH = "grpc.health.v1.Health"
OURS = "/emofeedback."
"""Beginning of the names of our methods; others (health, reflection, Serve's own) ask for next to nothing."""
_CLIENT_CHARACTERS = 64
"""Of a client's name that are looked at."""
APPLICATIONS = {
    service.full_name: application
    for application, module in (("generator", generator_pb2), ("judge", judge_pb2), ("optimizer", optimizer_pb2))
    for service in module.DESCRIPTOR.services_by_name.values()
}
"""The Serve application that each service is in, by the service's full name."""

Metadata = Iterable[tuple[str, str | bytes]]
MethodHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Gate:
    """In front of the handlers of a `grpc.aio` server."""

    def __init__(
        self,
        token: str,
        *,
        health_guarded: bool = False,
        limits: CallerLimits = CallerLimits(),  # noqa: B008 - frozen
    ) -> None:
        """`token` empty: everybody may call."""
        self._token = token
        self._health_guarded = health_guarded
        self._places = Places(limits)

    @classmethod
    def of_environment(cls) -> Gate:
        """As this process's environment says. Raises `FailedPrecondition` where it can't be understood."""
        guarded = os.environ.get(HEALTH_VARIABLE) == "guarded"
        return cls(os.environ.get(TOKEN_VARIABLE, ""), health_guarded=guarded, limits=CallerLimits.of())

    def check(self, method: str, metadata: Metadata) -> None:
        """Looks at a call of `/SERVICE/METHOD`.

        Raises:
            Unauthenticated: the token is missing or wrong.
            InvalidRequest: the metadata names no application, as Ray Serve needs it for the services.
            NotFound: the service is in another application than the one that is named.
        """
        metadata = list(metadata)
        service = method.strip("/").partition("/")[0]
        if service != HEALTH or self._health_guarded:
            check_token(self._token, metadata)
        application = APPLICATIONS.get(service)
        named = metadata_value(metadata, "application")
        if application is None or named == application:
            return
        if not named:
            raise InvalidRequest.of(
                "application", f"is missing in the call's metadata; {service} is in {application!r}"
            )
        raise NotFound(f"application {named!r} (by the call's metadata) has no {service}, which is in {application!r}")

    def guard(self, handler: Any) -> None:
        """Puts the gate before a `grpc.GenericRpcHandler`: what it refuses doesn't reach the handler's methods."""
        find: Callable[[Any], MethodHandler | None] = handler.service

        def find_behind_the_gate(call: Any) -> MethodHandler | None:
            found = find(call)
            if found is None:
                return None
            metadata = call.invocation_metadata or ()
            try:
                self.check(call.method, metadata)
            except EmoFeedbackError as error:
                return _refusing(error)
            if not call.method.startswith(OURS):
                return found
            application, client = (metadata_value(metadata, key) for key in ("application", CLIENT_KEY))
            return self._admitting(found, application, client[:_CLIENT_CHARACTERS])

        handler.service = find_behind_the_gate

    def stand_before(self, server: Any) -> None:
        """Guards all that is added to a server from now on."""
        add: Callable[[Any], None] = server.add_generic_rpc_handlers

        def add_guarded(handlers: Any) -> None:
            add(handlers)
            for handler in handlers:
                self.guard(handler)

        server.add_generic_rpc_handlers = add_guarded
        # gRPC's other table of the same methods is looked at first, by name alone: the gate would never be asked.
        server.add_registered_method_handlers = lambda service, handlers: None

    def _admitting(self, method: MethodHandler, application: str, client: str) -> MethodHandler:
        """Serves a method within the limits of its caller. A client without a name goes by its connection."""

        async def serve(requests: Any, context: Any) -> AsyncIterator[Any]:
            caller = peer_name(context)
            try:
                with self._places.taken(caller, application, client or context.peer()), ExitStack() as held:
                    given: Any
                    if method.request_streaming:
                        given = self._messages(aiter(requests), method, caller)
                    else:
                        message = await _only(aiter(requests))
                        held.enter_context(self._places.weighed(caller, len(message)))
                        given = _parsed(message, method)
                    async with aclosing(_replies(method, given, context)) as replies:
                        async for reply in replies:
                            yield reply
            except EmoFeedbackError as error:
                set_error(context, error)

        return grpc.stream_stream_rpc_method_handler(serve, None, method.response_serializer)

    async def _messages(self, messages: AsyncIterator[bytes], method: MethodHandler, caller: str) -> AsyncIterator[Any]:
        async for message in messages:
            with self._places.weighed(caller, len(message)):
                yield _parsed(message, method)


def check_token(token: str | None, metadata: Metadata) -> None:
    """Raises `Unauthenticated` where there is a token and the call's metadata doesn't bring it."""
    if not token:
        return
    given = metadata_value(metadata, "authorization")
    if not given:
        raise Unauthenticated("the call brings no token; send metadata `authorization: Bearer TOKEN`")
    if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        raise Unauthenticated("the token is wrong")


def metadata_value(metadata: Metadata, name: str) -> str:
    """A call's metadata by name; empty where it has none of it."""
    for key, value in metadata:
        if key == name:
            return value if isinstance(value, str) else value.decode(errors="replace")
    return ""


def set_error(context: Any, error: EmoFeedbackError) -> None:
    """Puts an error on a call's context, as a status that clients of every language can read."""
    if isinstance(error, ResourceExhausted) and error.retryable:
        error.retry_after = _when_to_return(error.retry_after)
    context.set_code(grpc.StatusCode[error.code])
    context.set_details(str(error)[:MAX_DETAILS])
    context.set_trailing_metadata([(STATUS_KEY, status_from_error(error).SerializeToString())])


def _when_to_return(seconds: float | None) -> float:
    """What a refused caller is told to wait: not the same for all, or they would all come back at once."""
    return min(SHORTEST_PAUSE if seconds is None else seconds, LONGEST_PAUSE) * random.uniform(1.0, 1.0 + MOST_LATE)


async def _only(messages: AsyncIterator[bytes]) -> bytes:
    """The message of a call that has one."""
    message = await anext(messages, None)
    if message is None:
        raise InvalidRequest.of("request", "is missing: the call ended without one")
    return message


def _parsed(message: bytes, method: MethodHandler) -> Any:
    """Raises `InvalidRequest` for bytes that are no message of the method's kind."""
    if method.request_deserializer is None:
        return message
    try:
        return method.request_deserializer(message)
    except Exception as error:  # protobuf's DecodeError has several homes, by implementation
        raise InvalidRequest.of("request", "can't be read as a message of this method") from error


async def _replies(method: MethodHandler, request: Any, context: Any) -> AsyncGenerator[Any, None]:
    """What the method answers, whichever kind it is of."""
    call: Any
    if not method.response_streaming:
        call = method.stream_unary if method.request_streaming else method.unary_unary
        reply = await call(request, context)
        if context.code() in (None, 0, grpc.StatusCode.OK):  # beside a status of failure, a message is of no use
            yield reply
        return
    call = method.stream_stream if method.request_streaming else method.unary_stream
    async with aclosing(call(request, context)) as replies:
        async for reply in replies:
            yield reply


def _refusing(error: EmoFeedbackError) -> MethodHandler:
    """Ends a call of any kind without reading it: as a stream, since a stream's messages are read on demand."""

    async def refuse(requests: Any, context: Any) -> None:
        set_error(context, error)

    return grpc.stream_stream_rpc_method_handler(refuse)
