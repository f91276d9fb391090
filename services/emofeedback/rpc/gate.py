"""Who may call what, decided by a call's metadata alone: nothing of a refused call is read, parsed or passed on."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import grpc

from emofeedback.domain.errors import EmoFeedbackError, InvalidRequest, NotFound, Unauthenticated
from emofeedback.domain.limits import TOKEN_VARIABLE
from emofeedback.v1 import generator_pb2, judge_pb2, optimizer_pb2
from emofeedback.wire.status import MAX_DETAILS, STATUS_KEY, status_from_error

HEALTH_VARIABLE = "EMOFEEDBACK_HEALTH"
"""Environment variable; `guarded`: health checks bring the token too. Else they may come without, as probes do."""
HEALTH = "grpc.health.v1.Health"
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

    def __init__(self, token: str, *, health_guarded: bool = False) -> None:
        """`token` empty: everybody may call."""
        self._token = token
        self._health_guarded = health_guarded

    @classmethod
    def of_environment(cls) -> Gate:
        """As this process's environment says."""
        guarded = os.environ.get(HEALTH_VARIABLE) == "guarded"
        return cls(os.environ.get(TOKEN_VARIABLE, ""), health_guarded=guarded)

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
            try:
                self.check(call.method, call.invocation_metadata or ())
            except EmoFeedbackError as error:
                return _refusing(error)
            return found

        handler.service = find_behind_the_gate


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
    context.set_code(grpc.StatusCode[error.code])
    context.set_details(str(error)[:MAX_DETAILS])
    context.set_trailing_metadata([(STATUS_KEY, status_from_error(error).SerializeToString())])


def _refusing(error: EmoFeedbackError) -> MethodHandler:
    """Ends a call of any kind without reading it: as a stream, since a stream's messages are read on demand."""

    async def refuse(requests: Any, context: Any) -> None:
        set_error(context, error)

    return grpc.stream_stream_rpc_method_handler(refuse)
