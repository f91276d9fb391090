"""What is put around the streaming handlers of Serve's proxy, on a real gRPC server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from emofeedback.rpc import proxy
from emofeedback.rpc.proxy import ending_with_its_call, named_by_its_request
from emofeedback.v1 import judge_pb2

BIG = bytes(64 * 1024)


async def serving(handler: Callable[..., Any], ask: Callable[[Any], Any]) -> Any:
    """What `ask` makes of a call to a server that answers with the handler."""
    server = grpc.aio.server()
    method = grpc.unary_stream_rpc_method_handler(ending_with_its_call(handler))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", {"Stream": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        options = [("grpc.http2.bdp_probe", 0)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            return await ask(channel.unary_stream("/test.Service/Stream", None, None)(b"request"))
    finally:
        await server.stop(None)


@pytest.mark.parametrize("messages", [1, 100], ids=["waiting for more", "sending"])
async def test_a_handler_is_cancelled_where_it_waits_when_its_caller_leaves(messages: int) -> None:
    cancelled = asyncio.Event()
    peers = []

    async def handler(request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            for _ in range(messages):
                yield BIG
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.1)
            peers.append(context.peer())
            cancelled.set()
            raise

    async def read_one_and_leave(call: Any) -> None:
        await call.read()
        await asyncio.sleep(0.1)
        call.cancel()
        await asyncio.wait_for(cancelled.wait(), 60)

    await serving(handler, read_one_and_leave)
    assert peers[0].startswith("ipv4:127.0.0.1:")


async def test_all_messages_come_in_order_and_the_status_after_them() -> None:
    async def handler(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for index in range(20):
            yield request + b"%d" % index
        context.set_code(grpc.StatusCode.RESOURCE_EXHAUSTED)
        context.set_details("enough")

    async def read_all(call: Any) -> tuple[list[bytes], Any, str | None]:
        read = [await call.read() for _ in range(20)]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        return read, caught.value.code(), caught.value.details()

    told = await serving(handler, read_all)
    assert told == ([b"request%d" % index for index in range(20)], grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")


async def test_a_handler_that_fails_fails_its_call() -> None:
    async def handler(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"one"
        raise ValueError("no more")

    async def read_all(call: Any) -> Any:
        assert await call.read() == b"one"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        return caught.value.code()

    assert await serving(handler, read_all) is grpc.StatusCode.UNKNOWN


async def test_a_caller_who_reads_nothing_costs_a_few_messages_and_after_a_while_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proxy, "UNREAD_SECONDS", 0.3)
    made, ended = 0, asyncio.Event()

    async def handler(request: bytes, context: Any) -> AsyncIterator[bytes]:
        nonlocal made
        try:
            for _ in range(1000):
                made += 1
                await asyncio.sleep(0)
                yield bytes(2**20)
        finally:
            ended.set()

    async def read_nothing(call: Any) -> None:
        await asyncio.wait_for(ended.wait(), 60)
        call.cancel()

    await serving(handler, read_nothing)
    assert made * 2**20 < 2 * proxy.UNREAD_BYTES + 2**20


async def test_a_caller_who_reads_slowly_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "UNREAD_BYTES", 2 * len(BIG))

    async def handler(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for index in range(30):
            yield BIG + b"%d" % index

    async def read_slowly(call: Any) -> int:
        count = 0
        async for message in call:
            assert message.endswith(b"%d" % count)
            count += 1
            await asyncio.sleep(0.005)
        return count

    assert await serving(handler, read_slowly) == 30


@pytest.mark.parametrize("request_id", ["", "one"])
async def test_a_requests_id_is_the_calls_session_whatever_its_metadata_say(request_id: str) -> None:
    """Another's session is of no use to a caller without an id of their own, and does no harm."""
    seen: list[tuple[str, Any]] = []

    async def handler(request: judge_pb2.ScoreImagesRequest, context: Any) -> bytes:
        seen.extend(context.invocation_metadata())
        return b""

    class Context:
        def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
            return ("application", "judge"), ("session_id", "another's")

    await named_by_its_request(handler)(judge_pb2.ScoreImagesRequest(request_id=request_id), Context())
    assert ("application", "judge") in seen
    assert [value for key, value in seen if key == "session_id"] == [request_id or "another's"]
