"""Every RPC is guarded: token, typed errors, nothing else escapes; work is not done twice."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from emofeedback.domain.callers import Caller, calling
from emofeedback.domain.errors import (
    Cancelled,
    EmoFeedbackError,
    FieldViolation,
    InvalidRequest,
    NotFound,
    ResourceExhausted,
)
from emofeedback.rpc import RequestWindow, stream_rpc, unary_rpc
from emofeedback.v1 import generator_pb2 as pb
from emofeedback.wire.status import ERRORS, STATUS_KEY, error_from_status, status_from_error


class ServeContext:
    """Behaves as Ray's `RayServegRPCContext`: trailing metadata must be a list, a status needs a message."""

    def __init__(self, **metadata: str) -> None:
        self.metadata = metadata
        self.code: grpc.StatusCode | None = None
        self.details = ""
        self.trailing: list[tuple[str, str | bytes]] = []

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return list(self.metadata.items())

    def peer(self) -> str:
        return "ipv4:10.1.2.3:4567"

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details

    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, str | bytes]]) -> None:
        self.trailing = [("request_id", "1"), *trailing_metadata] if isinstance(trailing_metadata, list) else []

    def error(self) -> EmoFeedbackError | None:
        status = dict(self.trailing)[STATUS_KEY]
        assert isinstance(status, bytes)
        return error_from_status(status)


class Servicer:
    """Does what the test says."""

    def __init__(self, *, token: str | None = None, error: BaseException | None = None) -> None:
        self.token = token
        self.error = error
        self.closed = False

    @unary_rpc
    async def Unary(self, request: Any, context: Any) -> Any:
        """One reply."""
        if self.error is not None:
            raise self.error
        return pb.ListPoliciesResponse(policies=["warm"])

    @stream_rpc
    async def Stream(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """One event, then perhaps an error."""
        try:
            yield _step(0)
            if self.error is not None:
                raise self.error
            yield _step(1)
        finally:
            self.closed = True


async def test_who_calls_and_how_urgently_is_known_to_what_serves_the_call() -> None:
    heard: list[Caller] = []

    class Listening(Servicer):
        @unary_rpc
        async def Unary(self, request: Any, context: Any) -> Any:
            heard.append(calling())

    for metadata in ({}, {"priority": "batch"}):
        await asyncio.create_task(Listening().Unary(None, ServeContext(**metadata)))
    assert [(caller.name, caller.priority) for caller in heard] == [("ipv4:10.1.2.3", None), ("ipv4:10.1.2.3", "batch")]
    assert heard[0].call != heard[1].call
    assert calling() == Caller()


async def test_a_priority_that_is_none_is_refused() -> None:
    context = ServeContext(priority="first please")
    await asyncio.create_task(Servicer().Unary(None, context))
    assert context.code is grpc.StatusCode.INVALID_ARGUMENT
    assert context.details == ("priority: is 'first please', it must be one of interactive, batch, trajectories")


def _step(index: int) -> pb.GenerateResponse:
    return pb.GenerateResponse(step=pb.GenerationStep(index=index, step=1, steps=9))


def _request(prompt: str = "a park", request_id: str = "") -> pb.GenerateRequest:
    return pb.GenerateRequest(prompt=prompt, request_id=request_id)


async def _all(events: Any) -> list[Any]:
    return [event async for event in events]


# --- the guard ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, ""])
async def test_without_a_token_everybody_may_call(token: str | None) -> None:
    context = ServeContext()
    assert (await Servicer(token=token).Unary(_request(), context)).policies == ["warm"]
    assert context.code is None


@pytest.mark.parametrize("given", [{}, {"authorization": "Bearer wrong"}, {"authorization": "secret"}])
async def test_without_the_right_token_neither_kind_of_call_gets_in(given: dict[str, str]) -> None:
    for call in ("Unary", "Stream"):
        context = ServeContext(**given)
        servicer = Servicer(token="secret")
        result = getattr(servicer, call)(_request(), context)
        replies = [await result] if call == "Unary" else await _all(result)
        assert [reply.ByteSize() for reply in replies] == [0]
        assert context.code == grpc.StatusCode.UNAUTHENTICATED
        assert "secret" not in context.details


async def test_the_right_token_gets_in() -> None:
    context = ServeContext(authorization="Bearer secret")
    assert len(await _all(Servicer(token="secret").Stream(_request(), context))) == 2
    assert context.code is None


async def test_an_error_is_set_on_the_context_and_the_call_returns() -> None:
    error = InvalidRequest(FieldViolation("prompt", "is empty"), FieldViolation("seeds", "is empty"))
    context = ServeContext()
    await Servicer(error=error).Unary(_request(), context)
    assert context.code == grpc.StatusCode.INVALID_ARGUMENT
    assert context.details == "prompt: is empty; seeds: is empty"
    returned = context.error()
    assert isinstance(returned, InvalidRequest)
    assert returned.violations == error.violations


async def test_a_stream_that_fails_under_ray_ends_with_a_message_of_its_status() -> None:
    context = ServeContext()
    replies = await _all(Servicer(error=NotFound("no such policy")).Stream(_request(), context))
    assert [reply.ByteSize() > 0 for reply in replies] == [True, False]
    assert context.code == grpc.StatusCode.NOT_FOUND


async def test_unknown_errors_leave_a_reference_with_the_client_and_the_rest_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    context = ServeContext(traceparent="00-trace-span-01")
    with caplog.at_level(logging.ERROR):
        await Servicer(error=RuntimeError("/secret/path")).Unary(_request(), context)
    assert context.code == grpc.StatusCode.INTERNAL
    assert "secret" not in context.details
    reference = context.details.rsplit(" ", 1)[1]
    assert reference in caplog.text
    assert "/secret/path" in caplog.text
    assert "00-trace-span-01" in caplog.text


async def test_cancellation_passes_through() -> None:
    for error in (asyncio.CancelledError(), KeyboardInterrupt()):
        context = ServeContext()
        with pytest.raises(type(error)):
            await Servicer(error=error).Unary(_request(), context)
        with pytest.raises(type(error)):
            await _all(Servicer(error=error).Stream(_request(), context))
        assert context.code is None


async def test_leaving_a_stream_closes_the_work_behind_it() -> None:
    servicer = Servicer()
    async with aclosing(servicer.Stream(_request(), ServeContext())) as events:  # type: ignore[type-var]
        await anext(events)
        assert not servicer.closed
    assert servicer.closed


def test_guarded_methods_look_as_ray_wants_them() -> None:
    for method in (Servicer().Unary, Servicer().Stream):
        assert "grpc_context" in inspect.signature(method).parameters
        assert method.__name__ in ("Unary", "Stream")
        assert method.__doc__
    assert inspect.iscoroutinefunction(Servicer().Unary)
    assert inspect.isasyncgenfunction(Servicer().Stream)


# --- errors on the wire ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ERRORS.values(), ids=ERRORS)
def test_every_error_survives_the_wire_as_its_own_class(kind: type[EmoFeedbackError]) -> None:
    error = kind(FieldViolation("prompt", "is empty")) if issubclass(kind, InvalidRequest) else kind("it broke")
    returned = error_from_status(status_from_error(error).SerializeToString())
    assert type(returned) is kind
    assert str(returned) == str(error)


def test_a_status_speaks_to_clients_of_any_language() -> None:
    status = status_from_error(ResourceExhausted("full", retry_after=1.5))
    info, retry = ErrorInfo(), RetryInfo()
    assert status.details[0].Unpack(info) and status.details[1].Unpack(retry)
    assert (status.code, info.domain, info.reason) == (8, "emofeedback", "ResourceExhausted")
    assert retry.retry_delay.ToTimedelta().total_seconds() == 1.5
    bad = BadRequest()
    assert status_from_error(InvalidRequest.of("target.valence", "is 11")).details[1].Unpack(bad)
    assert bad.field_violations[0].field == "target.valence"


def test_a_status_stays_small_enough_for_a_trailer() -> None:
    many = InvalidRequest(*(FieldViolation("x" * 500, "ü" * 5000) for _ in range(64)))
    assert status_from_error(many).ByteSize() < 7000


@pytest.mark.parametrize("data", [b"\xff\xff", b"", Status(code=3, message="foreign").SerializeToString()])
def test_statuses_of_others_are_left_alone(data: bytes) -> None:
    assert error_from_status(data) is None


# --- the window --------------------------------------------------------------------------------------------------


class Work:
    """Counts how often it is begun, finished and stopped."""

    def __init__(self, events: int = 3, error: Exception | None = None) -> None:
        self.events = events
        self.error = error
        self.begun = self.stopped = self.finished = 0
        self.go = asyncio.Event()
        self.go.set()

    async def stream(self) -> AsyncGenerator[pb.GenerateResponse, None]:
        self.begun += 1
        try:
            for index in range(self.events):
                await self.go.wait()
                yield _step(index)
            if self.error is not None:
                raise self.error
            self.finished += 1
        finally:
            self.stopped += 1

    async def unary(self) -> pb.GenerateResponse:
        self.begun += 1
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return _step(7)


async def test_a_repeated_call_gets_the_reply_again_without_the_work() -> None:
    window, work = RequestWindow(), Work()
    assert await window.unary(_request(request_id="1"), work.unary) == _step(7)
    assert await window.unary(_request(request_id="1"), work.unary) == _step(7)
    assert work.begun == 1


async def test_calls_at_the_same_time_share_the_work() -> None:
    window, work = RequestWindow(), Work()
    calls = [window.unary(_request(request_id="1"), work.unary) for _ in range(5)]
    assert await asyncio.gather(*calls) == [_step(7)] * 5
    assert work.begun == 1


async def test_a_repeated_stream_tells_the_events_again_and_then_the_live_rest() -> None:
    window, work = RequestWindow(), Work()
    request = _request(request_id="1")
    async with aclosing(window.stream(request, work.stream)) as first:
        assert await anext(first) == _step(0)
        second = asyncio.create_task(_all(window.stream(request, work.stream)))
        await asyncio.sleep(0.01)
        assert [event async for event in first] == [_step(1), _step(2)]
        assert await second == [_step(0), _step(1), _step(2)]
    assert await _all(window.stream(request, work.stream)) == [_step(0), _step(1), _step(2)]
    assert (work.begun, work.finished) == (1, 1)


async def test_the_work_outlives_the_call_that_began_it_while_another_waits() -> None:
    window, work = RequestWindow(), Work()
    work.go.clear()
    request = _request(request_id="1")
    first = asyncio.create_task(_all(window.stream(request, work.stream)))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(_all(window.stream(request, work.stream)))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.wait([first])
    work.go.set()
    assert len(await second) == 3
    assert work.begun == 1


async def test_the_work_has_stopped_when_its_last_call_is_gone() -> None:
    window, work = RequestWindow(), Work()
    request = _request(request_id="1")
    async with aclosing(window.stream(request, work.stream)) as events:
        await anext(events)
    assert (work.stopped, work.finished) == (1, 0)
    assert len(await _all(window.stream(request, work.stream))) == 3, "what was cut is begun anew"
    assert work.begun == 2


async def test_a_call_that_comes_while_the_work_is_being_stopped_begins_it_anew() -> None:
    window, work = RequestWindow(), Work()
    request = _request(request_id="1")

    async def slow_to_stop() -> AsyncGenerator[pb.GenerateResponse, None]:
        try:
            async for event in work.stream():
                yield event
        finally:
            await asyncio.sleep(0.02)

    first = window.stream(request, slow_to_stop)
    await anext(first)
    leaving = asyncio.create_task(first.aclose())
    await asyncio.sleep(0.01)
    async with asyncio.timeout(60):
        assert len(await _all(window.stream(request, slow_to_stop))) == 3
    await leaving


async def test_work_runs_no_faster_than_it_is_read() -> None:
    window, work = RequestWindow(), Work(events=1000)
    produced = 0

    async def counted() -> AsyncGenerator[pb.GenerateResponse, None]:
        nonlocal produced
        async for event in work.stream():
            produced += 1
            yield event

    async with aclosing(window.stream(_request(request_id="1"), counted)) as events:
        await anext(events)
        await asyncio.sleep(0.02)
        assert produced <= 2


async def test_failures_are_not_remembered() -> None:
    window, work = RequestWindow(), Work(error=NotFound("not yet"))
    request = _request(request_id="1")
    for kind in (work.unary, work.unary):
        with pytest.raises(NotFound):
            await window.unary(request, kind)
    work.error = None
    assert await window.unary(request, work.unary) == _step(7)
    assert work.begun == 3


async def test_one_id_cannot_stand_for_two_requests() -> None:
    window, work = RequestWindow(), Work()
    await window.unary(_request("a park", "1"), work.unary)
    with pytest.raises(InvalidRequest, match="request_id: was used for another request") as error:
        await window.unary(_request("a harbor", "1"), work.unary)
    assert error.value.violations[0].field == "request_id"
    assert work.begun == 1


async def test_without_an_id_nothing_is_shared() -> None:
    window, work = RequestWindow(), Work()
    for _ in range(2):
        await window.unary(_request(), work.unary)
        assert len(await _all(window.stream(_request(), work.stream))) == 3
    assert work.begun == 4


async def test_replies_are_forgotten_after_their_time() -> None:
    window, work = RequestWindow(seconds=0.01), Work()
    await window.unary(_request(request_id="1"), work.unary)
    await asyncio.sleep(0.02)
    await window.unary(_request(request_id="1"), work.unary)
    assert work.begun == 2


async def test_the_oldest_replies_are_forgotten_where_they_grow_too_much() -> None:
    window, work = RequestWindow(max_bytes=2 * _step(7).ByteSize()), Work()
    for request_id in "123":
        await window.unary(_request(request_id=request_id), work.unary)
    await window.unary(_request(request_id="3"), work.unary)
    assert work.begun == 3
    await window.unary(_request(request_id="1"), work.unary)
    assert work.begun == 4


async def test_a_stream_larger_than_the_window_is_told_in_full_but_not_remembered() -> None:
    window, work = RequestWindow(max_bytes=2 * _step(7).ByteSize()), Work(events=9)
    for _ in range(2):
        assert len(await _all(window.stream(_request(request_id="1"), work.stream))) == 9
    assert work.begun == 2


async def test_work_that_is_cancelled_from_within_does_not_leave_its_callers_waiting() -> None:
    async def cancelled() -> pb.GenerateResponse:
        raise asyncio.CancelledError

    async with asyncio.timeout(60):
        with pytest.raises(Cancelled):
            await RequestWindow().unary(_request(request_id="1"), cancelled)
