"""What Serve's proxy answers, and to whom: our servicer function on Ray's own gRPC server, with scripted routing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from ray.serve._private.grpc_util import enable_server_reflection, gRPCGenericServer, set_grpc_code_and_details
from ray.serve._private.proxy_request_response import ResponseStatus, gRPCStreamingType
from ray.serve.generated.serve_pb2 import ListApplicationsRequest, ListApplicationsResponse
from ray.serve.generated.serve_pb2_grpc import RayServeAPIServiceStub, add_RayServeAPIServiceServicer_to_server

from emofeedback import AsyncClient, InternalError, NothingAnswers, ResourceExhausted, RetryPolicy, Unavailable
from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.limits import LIMITS, TOKEN_VARIABLE
from emofeedback.rpc.gate import APPLICATIONS, HEALTH_VARIABLE
from emofeedback.rpc.places import CALLS_VARIABLE, MEBIBYTES_VARIABLE, CallerLimits, Places
from emofeedback.rpc.proxy import add_services
from emofeedback.rpc.silence import first_of
from emofeedback.v1 import generator_pb2, judge_pb2
from emofeedback.v1.generator_pb2_grpc import GeneratorServiceStub
from emofeedback.v1.judge_pb2_grpc import JudgeServiceStub
from emofeedback.wire.status import STATUS_KEY, error_from_status

TOKEN = "let-me-in"
BEARER = ("authorization", f"Bearer {TOKEN}")
TRACE = 'ray::ServeReplica ip=10.1.2.3 pid=77\n  File "/opt/app/serve.py", line 3, in handle'
LIST_APPLICATIONS = "/ray.serve.RayServeAPIService/ListApplications"


class Routing:
    """What Ray does behind its handlers."""

    def __init__(self) -> None:
        self.reached: list[str] = []
        self.parsed = 0
        self.running = ["generator", "judge", "optimizer"]
        self.code: grpc.StatusCode | None = None
        self.raises = False
        self.go_on = asyncio.Event()
        self.go_on.set()

    def make(self, service_method: str, streaming_type: gRPCStreamingType) -> Callable[..., Any]:
        async def unary(request: Any, context: Any) -> bytes:
            if service_method == LIST_APPLICATIONS:
                code = grpc.StatusCode.OK if self.running else grpc.StatusCode.UNAVAILABLE
                set_grpc_code_and_details(context, ResponseStatus(code=code, message="as Ray says it"))
                return bytes(ListApplicationsResponse(application_names=self.running).SerializeToString())
            self._reach(service_method, context)
            await self.go_on.wait()
            if self.code is None:
                set_grpc_code_and_details(context, ResponseStatus(code=grpc.StatusCode.OK))
            return judge_pb2.JudgeServiceGetModelResponse().SerializeToString() if self.code is None else b""

        async def stream(request: Any, context: Any) -> AsyncIterator[bytes]:
            self._reach(service_method, context)
            if self.code is None:
                yield b""

        return stream if streaming_type.name.endswith("_STREAM") else unary

    def _reach(self, method: str, context: Any) -> None:
        self.reached.append(method)
        if self.raises:
            raise RuntimeError(TRACE)
        if self.code is not None:
            set_grpc_code_and_details(context, ResponseStatus(code=self.code, is_error=True, message=TRACE))


class Nobody:
    """A servicer whose methods Ray puts its own in the place of."""

    def __getattr__(self, name: str) -> None:
        return None


@asynccontextmanager
async def serving(routing: Routing) -> AsyncIterator[str]:
    """Ray's server, filled as Ray's proxy fills it."""
    server = gRPCGenericServer(
        routing.make,
        extra_options=[("grpc.max_receive_message_length", LIMITS.message_bytes)],
    )
    port = server.add_insecure_port("127.0.0.1:0")
    add_RayServeAPIServiceServicer_to_server(Nobody(), server)
    add_services(Nobody(), server)
    enable_server_reflection(server)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@pytest.fixture
def routing(monkeypatch: pytest.MonkeyPatch) -> Routing:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    monkeypatch.delenv(HEALTH_VARIABLE, raising=False)
    return Routing()


async def failure(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


@pytest.mark.parametrize("metadata", [(), (("authorization", "Bearer wrong"),)], ids=["no token", "wrong token"])
async def test_a_large_message_without_the_token_is_neither_parsed_nor_passed_on(
    routing: Routing, metadata: tuple[tuple[str, str], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[bytes] = []
    monkeypatch.setattr(judge_pb2.AssessImagesRequest, "FromString", staticmethod(parsed.append), raising=False)
    large = judge_pb2.AssessImagesRequest(images=[bytes(LIMITS.message_bytes - 100)])
    async with serving(routing) as address:
        options = [("grpc.max_send_message_length", LIMITS.message_bytes)]
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            call = JudgeServiceStub(channel).AssessImages(large, metadata=(("application", "judge"), *metadata))
            error = await failure(call)
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "token" in (error.details() or "")
    assert not parsed and not routing.reached


@pytest.mark.parametrize("method", ["ListApplications", "Healthz"])
async def test_serves_own_api_is_behind_the_token(routing: Routing, method: str) -> None:
    async with serving(routing) as address, grpc.aio.insecure_channel(address) as channel:
        ask = getattr(RayServeAPIServiceStub(channel), method)
        assert (await failure(ask(ListApplicationsRequest()))).code() is grpc.StatusCode.UNAUTHENTICATED
        if method == "ListApplications":
            reply = await ask(ListApplicationsRequest(), metadata=(BEARER,))
            assert list(reply.application_names) == routing.running


async def test_reflection_is_behind_the_token_and_names_the_services(routing: Routing) -> None:
    async with serving(routing) as address, grpc.aio.insecure_channel(address) as channel:
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        reflect = ServerReflectionStub(channel).ServerReflectionInfo
        assert (await failure(reflect(iter([request])).read())).code() is grpc.StatusCode.UNAUTHENTICATED
        reply = await reflect(iter([request]), metadata=(BEARER,)).read()
        names = {service.name for service in reply.list_services_response.service}
        assert set(APPLICATIONS) | {"grpc.health.v1.Health"} <= names


async def test_a_call_without_its_application_is_told_which_metadata_it_lacks(routing: Routing) -> None:
    async with serving(routing) as address, grpc.aio.insecure_channel(address) as channel:
        request = judge_pb2.JudgeServiceGetModelRequest()
        error = await failure(JudgeServiceStub(channel).GetModel(request, metadata=(BEARER,)))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert error.details() == (
            "application: is missing in the call's metadata; emofeedback.v1.JudgeService is in 'judge'"
        )
        other = (BEARER, ("application", "generator"))
        error = await failure(JudgeServiceStub(channel).GetModel(request, metadata=other))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert "'generator'" in (error.details() or "") and "'judge'" in (error.details() or "")
    assert not routing.reached


async def test_a_stream_on_which_nothing_is_sent_takes_no_place_in_a_replica(
    routing: Routing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(first_of.__kwdefaults__ or {}, "seconds", 0.2)
    metadata = (BEARER, ("application", "judge"))
    async with serving(routing) as address, grpc.aio.insecure_channel(address) as channel:
        error = await failure(JudgeServiceStub(channel).AssessStream(None, metadata=metadata).read())
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert "nothing was sent for 0.2 s" in (error.details() or "")
        assert not routing.reached
        call = JudgeServiceStub(channel).AssessStream(None, metadata=metadata)
        await call.write(judge_pb2.AssessStreamRequest())
        await call.read()
        assert routing.reached


GENERATOR, JUDGE = ((BEARER, ("application", name)) for name in ("generator", "judge"))


async def until_reached(routing: Routing, calls: int) -> None:
    while len(routing.reached) < calls:
        await asyncio.sleep(0.01)


def told_to_wait(error: grpc.aio.AioRpcError) -> float:
    """Seconds until the next try, by RetryInfo."""
    trailers: Any = error.trailing_metadata()
    found = error_from_status(dict(trailers)[STATUS_KEY])
    assert found is not None and found.retry_after is not None
    return found.retry_after


async def test_a_caller_has_so_many_calls_under_way_and_the_next_is_told_when_to_come_back(
    routing: Routing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CALLS_VARIABLE, "2")
    routing.go_on.clear()
    async with serving(routing) as address, grpc.aio.insecure_channel(address) as channel:
        model = JudgeServiceStub(channel).GetModel
        under_way = [model(judge_pb2.JudgeServiceGetModelRequest(), metadata=JUDGE) for _ in range(2)]
        await until_reached(routing, 2)
        pauses = set()
        for _ in range(5):
            error = await failure(model(judge_pb2.JudgeServiceGetModelRequest(), metadata=JUDGE))
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "2 calls of this caller are under way" in (error.details() or "")
            pauses.add(told_to_wait(error))
        assert len(pauses) == 5 and all(1.0 <= pause <= 1.5 for pause in pauses)
        generators = GeneratorServiceStub(channel).GetModel
        elsewhere = generators(generator_pb2.GeneratorServiceGetModelRequest(), metadata=GENERATOR)
        await until_reached(routing, 3)
        assert (await HealthStub(channel).Check(health_pb2.HealthCheckRequest())).status
        routing.go_on.set()
        await asyncio.gather(*under_way, elsewhere)


async def test_who_is_refused_goes_before_other_clients_at_its_address(
    routing: Routing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CALLS_VARIABLE, "4")
    monkeypatch.setattr("emofeedback.rpc.line._GRACE", 600.0)
    once = RetryPolicy(attempts=1)
    async with serving(routing) as address, AsyncExitStack() as stack:
        ada, bob, *others = [
            await stack.enter_async_context(AsyncClient(address, token=TOKEN, retry=once)) for _ in range(6)
        ]
        routing.go_on.clear()
        under_way = [asyncio.create_task(client.judge.model()) for client in others]
        await until_reached(routing, 4)
        with pytest.raises(ResourceExhausted) as refused:
            await ada.judge.model()
        under_way.pop().cancel()
        while True:  # until the server has heard of it, after which one place is free and kept
            with pytest.raises(ResourceExhausted) as kept:
                await bob.judge.model()
            if "3 calls of this caller" in str(kept.value):
                break
        await asyncio.sleep(refused.value.retry_after or 0)
        served = asyncio.create_task(ada.judge.model())
        await until_reached(routing, 5)
        routing.go_on.set()
        await asyncio.gather(served, *under_way)


async def test_a_call_that_is_over_gives_its_place_back() -> None:
    places = Places(CallerLimits(calls=1, message_bytes=10))
    for _ in range(3):
        with places.taken("ada", "judge", ""), places.taken("bob", "judge", ""), places.weighed("ada", 100):
            with pytest.raises(ResourceExhausted), places.taken("ada", "judge", ""):
                pass
            with pytest.raises(ResourceExhausted), places.weighed("ada", 1):
                pass


async def test_a_caller_has_so_many_bytes_under_way(routing: Routing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MEBIBYTES_VARIABLE, "1")
    routing.go_on.clear()
    large = judge_pb2.AssessImagesRequest(images=[bytes(2**21)])
    small = judge_pb2.AssessImagesRequest(images=[bytes(2**19)])
    async with serving(routing) as address, grpc.aio.insecure_channel(address) as channel:
        assess = JudgeServiceStub(channel).AssessImages
        alone = assess(large, metadata=JUDGE)
        await until_reached(routing, 1)
        error = await failure(assess(small, metadata=JUDGE))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "bytes of this caller's requests are under way, 1,048,576 may be" in (error.details() or "")
        assert told_to_wait(error) > 0
        routing.go_on.set()
        await alone


async def test_a_caller_who_leaves_gives_its_place_back(routing: Routing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CALLS_VARIABLE, "1")
    async with serving(routing) as address, grpc.aio.insecure_channel(address) as channel:
        stub = JudgeServiceStub(channel)
        call = stub.AssessStream(None, metadata=JUDGE)
        await call.write(judge_pb2.AssessStreamRequest())
        await until_reached(routing, 1)
        call.cancel()
        while True:  # until the server has heard of it
            try:
                await stub.GetModel(judge_pb2.JudgeServiceGetModelRequest(), metadata=JUDGE)
                break
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("method", ["AssessImages", "AssessStream", "GetModel"])
async def test_bytes_that_are_no_message_are_the_caller_s_error(routing: Routing, method: str) -> None:
    path = f"/emofeedback.v1.JudgeService/{method}"
    async with serving(routing) as address, grpc.aio.insecure_channel(address) as channel:
        if method == "AssessStream":
            error = await failure(channel.stream_stream(path, None, None)(iter([b"\xff\xff"]), metadata=JUDGE).read())
        else:
            error = await failure(channel.unary_unary(path, None, None)(b"\xff\xff", metadata=JUDGE))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "request: can't be read as a message of this method"
    assert not routing.reached


def test_limits_that_are_no_numbers_are_named() -> None:
    with pytest.raises(FailedPrecondition, match=rf"^{CALLS_VARIABLE} is 'many' in the environment, it must be a w"):
        CallerLimits.of({CALLS_VARIABLE: "many"})
    assert CallerLimits.of({MEBIBYTES_VARIABLE: "3"}) == CallerLimits(message_bytes=3 * 2**20)


async def test_a_method_that_is_none_is_unimplemented(routing: Routing) -> None:
    async with serving(routing) as address, grpc.aio.insecure_channel(address) as channel:
        error = await failure(
            channel.unary_unary("/emofeedback.v1.JudgeService/Nonsense", None, None)(b"", metadata=(BEARER,))
        )
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("code", [c for c in grpc.StatusCode if c.name not in ("OK", "CANCELLED", "DEADLINE_EXCEEDED")])
@pytest.mark.parametrize("streams", [False, True], ids=["unary", "stream"])
async def test_no_traceback_path_or_address_leaves(routing: Routing, code: grpc.StatusCode, streams: bool) -> None:
    routing.code = code
    assert_nothing_told(await told(routing, streams))


@pytest.mark.parametrize("streams", [False, True], ids=["unary", "stream"])
async def test_what_breaks_in_the_proxy_itself_is_not_told_either(routing: Routing, streams: bool) -> None:
    routing.raises = True
    error = await told(routing, streams)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert_nothing_told(error)


async def told(routing: Routing, streams: bool) -> grpc.aio.AioRpcError:
    metadata = (BEARER, ("application", "judge"))
    async with serving(routing) as address, grpc.aio.insecure_channel(address) as channel:
        stub = JudgeServiceStub(channel)
        if streams:
            return await failure(stub.AssessStream(iter([]), metadata=metadata).read())
        return await failure(stub.GetModel(judge_pb2.JudgeServiceGetModelRequest(), metadata=metadata))


def assert_nothing_told(error: grpc.aio.AioRpcError) -> None:
    everything = f"{error.details()} {error.trailing_metadata()}"
    assert not any(secret in everything for secret in ("10.1.2.3", "pid", "File", "/opt", "ServeReplica"))
    assert "judge" in everything


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.NOT_FOUND, NothingAnswers),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ResourceExhausted),
        (grpc.StatusCode.UNAVAILABLE, Unavailable),
        (grpc.StatusCode.INTERNAL, InternalError),
    ],
)
async def test_the_sdk_knows_what_the_proxy_means(
    routing: Routing, code: grpc.StatusCode, kind: type[Exception]
) -> None:
    routing.code = code
    retry = RetryPolicy(attempts=1)
    async with serving(routing) as address, AsyncClient(address, token=TOKEN, retry=retry) as client:
        with pytest.raises(kind) as caught:
            await client.judge.model()
    assert type(caught.value) is kind
    assert caught.value.retryable  # type: ignore[attr-defined]
    if kind is ResourceExhausted:
        assert 0 < (caught.value.retry_after or 0) <= 1.5  # type: ignore[attr-defined]


async def test_a_call_waits_for_an_application_that_is_being_started(routing: Routing) -> None:
    routing.code = grpc.StatusCode.NOT_FOUND

    async def comes_up() -> None:
        await until_reached(routing, 5)
        routing.code = None

    retry = RetryPolicy(initial_backoff=0.05, maximum_backoff=0.1)
    async with serving(routing) as address, AsyncClient(address, token=TOKEN, retry=retry) as client:
        await asyncio.gather(client.judge.model(), comes_up())
    assert len(routing.reached) > 5


async def test_health_is_told_without_the_token_for_all_for_each_and_for_none(routing: Routing) -> None:
    routing.running = ["generator", "judge"]
    async with serving(routing) as address, grpc.aio.insecure_channel(address) as channel:
        check = HealthStub(channel).Check

        async def status(service: str) -> str:
            reply = await check(health_pb2.HealthCheckRequest(service=service))
            return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))

        assert await status("judge") == await status("emofeedback.v1.JudgeService") == "SERVING"
        assert await status("optimizer") == await status("") == "NOT_SERVING"
        routing.running.append("optimizer")
        assert await status("") == "SERVING"
        routing.running = []
        assert await status("") == await status("judge") == "NOT_SERVING"
        error = await failure(check(health_pb2.HealthCheckRequest(service="painter")))
        assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_who_watches_health_is_told_of_each_change(routing: Routing) -> None:
    async with serving(routing) as address, grpc.aio.insecure_channel(address) as channel:
        watch = HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="judge"))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        routing.running = []
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()


async def test_health_is_behind_the_token_where_the_environment_says_so(
    routing: Routing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HEALTH_VARIABLE, "guarded")
    async with serving(routing) as address, grpc.aio.insecure_channel(address) as channel:
        check = HealthStub(channel).Check
        request = health_pb2.HealthCheckRequest()
        assert (await failure(check(request))).code() is grpc.StatusCode.UNAUTHENTICATED
        assert (await check(request, metadata=(BEARER,))).status == health_pb2.HealthCheckResponse.SERVING
