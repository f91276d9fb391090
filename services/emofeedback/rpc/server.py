"""Decorators for servicer methods: bearer token in, typed errors out, nothing else escapes; each call is a span of
its caller's trace, and its time and status code are counted.

A decorated method serves under a bare `grpc.aio` server and under Ray Serve alike. Ray dictates three things: the
context parameter is called `grpc_context`; an error is set on the context and the method then *returns*, because
a raised one loses its trailing metadata and shows the client a stack; and the context reaches the client only
together with a message, so a failed call still returns one, an empty one.
"""

from __future__ import annotations

import functools
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Protocol, TypeVar, cast

import grpc
from google.protobuf.empty_pb2 import Empty

from emofeedback.domain.callers import PRIORITY_KEY, Caller, called_by, priority_from
from emofeedback.domain.errors import EmoFeedbackError, InternalError
from emofeedback.observability import tracing
from emofeedback.observability.metrics import CALL_SECONDS
from emofeedback.rpc.gate import check_token, metadata_value, set_error
from emofeedback.rpc.places import peer_name

log = logging.getLogger(__name__)

Method = TypeVar("Method", bound=Callable[..., Any])


class Context(Protocol):
    """What the contexts of `grpc.aio` and of Ray Serve (`RayServegRPCContext`) have in common."""

    def invocation_metadata(self) -> Any: ...
    def peer(self) -> str: ...
    def set_code(self, code: grpc.StatusCode) -> None: ...
    def set_details(self, details: str) -> None: ...
    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, str | bytes]]) -> None: ...


class Guarded(Protocol):
    """A servicer."""

    @property
    def token(self) -> str | None:
        """The bearer token that every call must bring; none lets everybody in."""
        ...


def unary_rpc(method: Method) -> Method:
    """For `async def Method(self, request, context) -> Response`; the request may be a stream.

    The method raises `EmoFeedbackError`s; the client gets them as `google.rpc.Status`. Any other exception is
    logged under a reference, and the client gets INTERNAL with that reference only. Cancellation passes through.
    """

    async def call(self: Guarded, request: Any, grpc_context: Context) -> Any:
        with _answering(method, grpc_context):
            _admit(self, grpc_context)
            return await method(self, request, grpc_context)
        return Empty()

    return _as(method, call)


def stream_rpc(method: Method) -> Method:
    """As `unary_rpc`, for an async generator `async def Method(self, request, context) -> AsyncIterator[Response]`.

    Closing or cancelling the call closes the generator before the call ends.
    """

    async def call(self: Guarded, request: Any, grpc_context: Context) -> AsyncIterator[Any]:
        with _answering(method, grpc_context):
            _admit(self, grpc_context)
            async with aclosing(method(self, request, grpc_context)) as responses:
                async for response in responses:
                    yield response
            return
        if not hasattr(grpc_context, "write"):  # Ray's: the status needs a message to travel with
            yield Empty()

    return _as(method, call)


def _as(method: Method, call: Callable[..., Any]) -> Method:
    """`call` under the method's name; without `__wrapped__`, where Ray would look for `grpc_context`."""
    named = functools.update_wrapper(call, method)
    del named.__wrapped__
    return cast(Method, named)


@contextmanager
def _answering(method: Callable[..., Any], context: Context) -> Iterator[None]:
    """Around one call: its errors end here, on the context; its span and its time are recorded on every way out."""
    name = method.__qualname__.replace("Servicer.", "Service/")
    began, code = time.monotonic(), "CANCELLED"
    try:
        with tracing.incoming(name, context.invocation_metadata() or ()) as span:
            try:
                yield
                code = "OK"
            except Exception as error:
                failure = _fail(context, error, method)
                code = failure.code
                tracing.mark_failed(span, code, str(failure))
    finally:
        CALL_SECONDS.record(time.monotonic() - began, method=name, code=code)


def _admit(servicer: Guarded, context: Context) -> None:
    """Looks at the token, and remembers who calls: the peer without its port, of which one may have many.

    Raises:
        Unauthenticated: as `check_token`.
        InvalidRequest: the metadata's priority is none.
    """
    metadata = context.invocation_metadata() or ()
    check_token(servicer.token, metadata)
    priority = priority_from(metadata_value(metadata, PRIORITY_KEY))
    called_by(Caller(name=peer_name(context), call=secrets.token_hex(8), priority=priority))


def _fail(context: Context, error: Exception, method: Callable[..., Any]) -> EmoFeedbackError:
    """Puts the error on the context, as a status that clients of every language can read; returns what they get."""
    if not isinstance(error, EmoFeedbackError):
        reference = secrets.token_hex(4)
        log.error(
            "%s failed, reference %s, traceparent %s",
            method.__qualname__,
            reference,
            metadata_value(context.invocation_metadata() or (), "traceparent") or "none",
            exc_info=error,
        )
        error = InternalError(f"the service failed; its log says more under reference {reference}")
    set_error(context, error)
    return error
