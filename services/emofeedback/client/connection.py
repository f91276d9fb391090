"""One channel to the services, and how every call over it is made: metadata, deadlines, retries, errors."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Iterator, Sequence, Set
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import grpc
from google.protobuf.message import Message

from emofeedback.client.channel import TLS, open_channel, parse_address, require_no_fork
from emofeedback.client.failures import ended_early, error_from_rpc, timed_out, too_large
from emofeedback.client.retries import Deadlines, Keepalive, RetryBucket, RetryPolicy, Waiting
from emofeedback.domain.callers import CLIENT_KEY, PRIORITY_KEY, Priority, calling
from emofeedback.domain.errors import EmoFeedbackError, InternalError, InvalidRequest, NothingAnswers
from emofeedback.domain.limits import LIMITS
from emofeedback.observability.tracing import outgoing

Event = TypeVar("Event")
Reply = TypeVar("Reply")
P = ParamSpec("P")


@dataclass(frozen=True)
class Service:
    """One of the services: generator, judge, optimizer, or the trainer, which has a server of its own."""

    application: str
    """Name of its Ray Serve application: Serve routes by this metadata, others don't look at it."""
    stub: type
    """Made of a channel."""

    @property
    def name(self) -> str:
        """As traces call it: `GeneratorService`."""
        return self.stub.__name__.removesuffix("Stub")


class Connection:
    """A channel, opened by the first call, in the event loop of that call."""

    def __init__(
        self,
        address: str,
        *,
        token: str,
        tls: TLS | None,
        retry: RetryPolicy,
        deadlines: Deadlines,
        keepalive: Keepalive,
        priority: Priority | None,
    ) -> None:
        if not (token.isascii() and token.isprintable()):
            raise InvalidRequest.of("token", "holds characters other than printable ASCII, no metadata can carry it")
        self.address = address
        self._target, secure = parse_address(address)
        self._tls = tls or (TLS() if secure else None)
        self._token = token
        self._priority = priority
        self._client = secrets.token_hex(8)
        self._retry = retry
        self._on_wait = retry.listener()
        self._retries = RetryBucket(retry.retries_per_second)
        self._deadlines = deadlines
        self._options = [
            ("grpc.max_send_message_length", LIMITS.message_bytes),
            ("grpc.max_receive_message_length", LIMITS.message_bytes),
            ("grpc.keepalive_time_ms", round(keepalive.interval * 1000)),
            ("grpc.keepalive_timeout_ms", round(keepalive.timeout * 1000)),
            # gRPC's own pauses between looks for a server grow to two minutes: ours would not see one that is back.
            ("grpc.initial_reconnect_backoff_ms", round(retry.initial_backoff * 1000)),
            ("grpc.max_reconnect_backoff_ms", round(retry.maximum_backoff * 1000)),
        ]
        self._channel: grpc.aio.Channel | None = None

    async def close(self) -> None:
        """Ends all calls under way. A later call opens the channel anew."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close(None)

    async def unary(self, service: Service, method: str, request: Message, read: Callable[[Any], Reply]) -> Reply:
        """One request, one reply, by the retry policy. Raises `EmoFeedbackError`."""
        _check_size(method, request)
        effort = self.effort()
        while True:
            try:
                reply = await self._reply(service, method, request, effort.unary_timeout())
            except EmoFeedbackError as error:
                await effort.pause_after(error)
            else:
                return decoded(read, reply)

    async def stream(
        self,
        service: Service,
        method: str,
        request: Callable[[], Message],
        read: Callable[[Any], Event],
        identity: Callable[[Event], Hashable],
        complete: Callable[[Set[Hashable]], bool],
    ) -> AsyncGenerator[Event, None]:
        """The events of a call, each once, over as many tries as the policy allows. Raises `EmoFeedbackError`.

        `request` is asked before every try. A try after a break tells the first events again; `identity` is what two
        tellings of one event have in common. `complete` says, by the identities of what was told, whether that was
        all: a stream that ends before is taken up again.
        """
        effort = self.effort()
        delivered: set[Hashable] = set()
        while True:
            message = request()
            _check_size(method, message)
            try:
                async with aclosing(self.events(service, method, message, effort)) as responses:
                    async for response in responses:
                        event = decoded(read, response)
                        if identity(event) not in delivered:
                            delivered.add(identity(event))
                            effort.progress()
                            yield event
                if not complete(delivered):
                    raise ended_early(method, self.address)
                return
            except EmoFeedbackError as error:
                await effort.pause_after(error)

    async def events(
        self, service: Service, method: str, request: Message | AsyncIterator[Message], effort: Effort
    ) -> AsyncGenerator[Any, None]:
        """The messages of one try, empty ones left out: they only carry Ray's statuses. Raises `EmoFeedbackError`."""
        with outgoing(f"{service.name}/{method}") as carrier:
            call = self._start(service, method, request, effort.remaining(), carrier)
            responses = aiter(call)
            try:
                while True:
                    response = await asyncio.wait_for(anext(responses, None), self._deadlines.attempt)
                    if response is None:
                        return
                    if response.ByteSize():
                        yield response
            except TimeoutError:
                raise timed_out(method, self.address, self._deadlines.attempt or 0) from None
            except grpc.aio.AioRpcError as failure:
                raise error_from_rpc(failure, method, self.address) from None
            finally:
                call.cancel()

    async def _reply(self, service: Service, method: str, request: Message, timeout: float | None) -> Any:
        """The message of one try. Raises `EmoFeedbackError`."""
        with outgoing(f"{service.name}/{method}") as carrier:
            try:
                return await self._start(service, method, request, timeout, carrier)
            except grpc.aio.AioRpcError as failure:
                raise error_from_rpc(failure, method, self.address) from None

    def effort(self) -> Effort:
        """The tries of one call, from now on."""
        return Effort(self._retry, self._retries, self._deadlines, self._on_wait)

    def _start(
        self,
        service: Service,
        method: str,
        request: Message | AsyncIterator[Message],
        timeout: float | None,
        carrier: Sequence[tuple[str, str]],
    ) -> Any:
        require_no_fork()
        if self._channel is None:
            self._channel = open_channel(self._target, self._tls, self._options)
        metadata = [("application", service.application), (CLIENT_KEY, self._client), *carrier]
        if priority := calling().priority or self._priority:
            metadata.append((PRIORITY_KEY, priority))
        if self._token:
            metadata.append(("authorization", f"Bearer {self._token}"))
        call = getattr(service.stub(self._channel), method)
        return call(request, timeout=timeout, metadata=metadata)


class Effort:
    """The tries of one call: how many failed, how much time is left."""

    def __init__(
        self, retry: RetryPolicy, retries: RetryBucket, deadlines: Deadlines, on_wait: Callable[[Waiting], None]
    ) -> None:
        self._retry = retry
        self._on_wait = on_wait
        self._retries = retries
        self._attempt = deadlines.attempt
        self._clock = asyncio.get_running_loop().time
        self._end = None if deadlines.total is None else self._clock() + deadlines.total
        self._failures = 0
        """In a row, of whichever kind."""
        self._reached = 0
        """Of those, the ones that reached a service."""
        self._unanswered_since: float | None = None

    def remaining(self) -> float | None:
        """Seconds until the total deadline."""
        return None if self._end is None else max(self._end - self._clock(), 0.0)

    def unary_timeout(self) -> float | None:
        """Seconds that the next try may take."""
        limits = [limit for limit in (self.remaining(), self._attempt) if limit is not None]
        return min(limits) if limits else None

    def progress(self) -> None:
        """Something came through: the failures before it don't count any more."""
        self._failures = self._reached = 0
        self._unanswered_since = None

    async def pause_after(self, error: EmoFeedbackError) -> None:
        """Waits until the next try; raises the error where there is to be none."""
        waited = self._count(error)
        if not self._retry.allows(error, failures=self._reached, waited=waited):
            raise error
        pause = max(self._retry.pause(self._failures, error), self._retries.take())
        remaining = self.remaining()
        if remaining is not None and pause >= remaining:
            raise error
        self._on_wait(Waiting(error=error, seconds=pause, waited=waited))
        await asyncio.sleep(pause)

    def _count(self, error: EmoFeedbackError) -> float:
        """One more failure; returns the seconds for which nothing has answered."""
        self._failures += 1
        if not isinstance(error, NothingAnswers):
            self._reached += 1
            self._unanswered_since = None
            return 0.0
        now = self._clock()
        if self._unanswered_since is None:
            self._unanswered_since = now
        return now - self._unanswered_since


def _check_size(method: str, request: Message) -> None:
    if request.ByteSize() > LIMITS.message_bytes:
        raise too_large(method, request.ByteSize())


@contextmanager
def encoding(check: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> Iterator[None]:
    """Around the making of a request's message; `check` is called with the rest where that fails, to name the field.

    The service says what is out of its limits; here, only what a message can't even hold.

    Raises:
        InvalidRequest: a value doesn't fit its field, as a number past 64 bits or text that isn't Unicode.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        check(*args, **kwargs)
        raise InvalidRequest.of("request", f"can't be sent: {error}") from error


def decoded(read: Callable[[Any], Reply], message: Any) -> Reply:
    """A reply as a record; one that can't be read is the service's fault, not the caller's."""
    try:
        return read(message)
    except InvalidRequest as error:
        raise InternalError(f"the reply can't be read: {error}; is the service of another version?") from error
