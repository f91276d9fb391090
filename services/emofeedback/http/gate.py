"""In front of every route: who may call, how often, and how much may be sent. What is refused is not read."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emofeedback.domain.errors import (
    EmoFeedbackError,
    InvalidRequest,
    MessageTooLarge,
    ResourceExhausted,
    Unauthenticated,
)
from emofeedback.domain.limits import LIMITS
from emofeedback.http.errors import error_response
from emofeedback.observability.metrics import CALL_SECONDS
from emofeedback.rpc.gate import check_token

_KNOWN = 4096
"""Callers that are remembered; the least recent one is forgotten."""


class RateLimit:
    """A bucket for each caller that fills evenly: `per_minute` calls a minute, as many at once."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> None:
        """One call of a caller.

        Raises:
            ResourceExhausted: its bucket is empty; `retry_after` says when it is not.
        """
        now = self._clock()
        left, since = self._buckets.get(caller, (self._size, now))
        left = min(self._size, left + (now - since) * self._size / 60)
        if left < 1:
            wait = (1 - left) * 60 / self._size
            raise ResourceExhausted(f"more than {self._size:g} calls a minute with this token", retry_after=wait)
        self._buckets[caller] = left - 1, now
        self._buckets.move_to_end(caller)
        if len(self._buckets) > _KNOWN:
            self._buckets.popitem(last=False)


@dataclass(frozen=True)
class Gate:
    """An ASGI middleware."""

    app: ASGIApp
    token: str
    """Empty: everybody may call."""
    open_paths: Collection[str]
    """What needs no token: the page itself, health."""
    open_folder: str
    """And all below."""
    hosts: Collection[str]
    """Names that it answers to; empty: any."""
    origins: Collection[str]
    """Other sites whose pages may call."""
    rate: RateLimit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.monotonic(), 499

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            try:
                self._check(scope)
            except EmoFeedbackError as error:
                await error_response(error)(scope, receive, watched)
                return
            await self.app(scope, _bounded(receive), watched)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            CALL_SECONDS.record(time.monotonic() - began, method=f"{scope['method']} {route}", code=str(status))

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if self.hosts and urlsplit(f"//{headers.get('host')}").hostname not in self.hosts:
            raise InvalidRequest.of("host", f"is {headers.get('host')!r}, this service answers to {min(self.hosts)}")
        origin = headers.get("origin")
        if origin and origin not in self.origins and urlsplit(origin).netloc != headers.get("host"):
            raise Unauthenticated(f"pages of {origin} may not call this service")
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > LIMITS.message_bytes:
            raise _too_large()
        if scope["path"] in self.open_paths or scope["path"].startswith(self.open_folder):
            return
        given = headers.get("authorization", "")
        address = (scope.get("client") or ("",))[0]
        try:
            check_token(self.token, [("authorization", given)])
        except Unauthenticated:
            self.rate.take(f"stranger {address}")
            raise
        self.rate.take(hashlib.sha256(given.encode()).hexdigest() if self.token else address)


def _bounded(receive: Receive) -> Receive:
    """What arrives, up to the limit: a body may come without its length."""
    size = 0

    async def bounded() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > LIMITS.message_bytes:
            raise _too_large()
        return message

    return bounded


def _too_large() -> MessageTooLarge:
    return MessageTooLarge(f"a request may have {LIMITS.message_bytes:,} bytes")
