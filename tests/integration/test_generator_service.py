"""GeneratorService over a real gRPC server: bad input, calls that break off, retries with the same id."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import grpc
import pytest
import pytest_asyncio

from emofeedback.client.failures import error_from_rpc
from emofeedback.domain.errors import EmoFeedbackError, InvalidRequest, NotFound, ResourceExhausted, Unauthenticated
from emofeedback.domain.limits import LIMITS
from emofeedback.generator import sampler_thread
from emofeedback.generator.local import LocalGenerator
from emofeedback.generator.servicer import GeneratorServicer
from emofeedback.v1 import generator_pb2 as pb
from emofeedback.v1 import generator_pb2_grpc as pb_grpc

TOKEN = "let-me-in"
AUTHORIZED = (("authorization", f"Bearer {TOKEN}"),)


@pytest_asyncio.fixture
async def stub(engine: LocalGenerator) -> AsyncIterator[pb_grpc.GeneratorServiceStub]:
    server = grpc.aio.server()
    pb_grpc.add_GeneratorServiceServicer_to_server(GeneratorServicer(engine, TOKEN), server)  # type: ignore[arg-type]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield pb_grpc.GeneratorServiceStub(channel)
    await server.stop(None)


def ask(**changes: Any) -> pb.GenerateRequest:
    return pb.GenerateRequest(**{"prompt": "a dog", "seeds": [1, 2], **changes})


async def generate(stub: Any, request: pb.GenerateRequest, token: str = TOKEN) -> list[pb.GenerateResponse]:
    call = stub.Generate(request, metadata=[("authorization", f"Bearer {token}")])
    try:
        return [response async for response in call]
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error, "Generate", "the test") from error


def kinds(responses: Sequence[Any]) -> list[str | None]:
    return [response.WhichOneof("event") for response in responses]


async def test_images_come_over_the_wire_with_their_model(stub: Any) -> None:
    responses = await generate(stub, ask())
    assert kinds(responses)[0] == "queued" and kinds(responses).count("image") == 2
    image = responses[-1].image
    assert image.data.startswith(b"\x89PNG") and (image.width, image.height) == (32, 48)
    model = (await stub.GetModel(pb.GeneratorServiceGetModelRequest(), metadata=AUTHORIZED)).model
    assert image.model == model and model.name == "tiny-sd3" and len(model.digest) == 71


BAD_REQUESTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "empty prompt": ({"prompt": ""}, "prompt", "empty"),
    "only white space": ({"prompt": " \n\t"}, "prompt", "white space"),
    "over-long prompt": ({"prompt": "a " * 1001}, "prompt", "2000"),
    "over-long negative prompt": ({"negative_prompt": "a " * 1001}, "negative_prompt", "2000"),
    "no seeds": ({"seeds": []}, "seeds", "64"),
    "too many seeds": ({"seeds": range(65)}, "seeds", "64"),
    "negative seed": ({"seeds": [4, -1]}, "seeds[1]", "0"),
    "no steps": ({"steps": 0}, "steps", "200"),
    "negative steps": ({"steps": -3}, "steps", "200"),
    "too many steps": ({"steps": 201}, "steps", "200"),
    "guidance below 1": ({"guidance": 0.0}, "guidance", "50"),
    "guidance too strong": ({"guidance": 50.5}, "guidance", "50"),
    "guidance not a number": ({"guidance": math.nan}, "guidance", "50"),
    "guidance without end": ({"guidance": math.inf}, "guidance", "50"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
async def test_a_bad_request_names_field_and_limit_and_the_next_one_is_served(stub: Any, name: str) -> None:
    changes, field, limit = BAD_REQUESTS[name]
    with pytest.raises(InvalidRequest) as refused:
        await generate(stub, ask(**changes))
    [violation] = refused.value.violations
    assert violation.field == field and limit in violation.problem
    assert kinds(await generate(stub, ask(steps=1)))[-1] == "image"


async def test_an_unknown_policy_is_not_found_and_the_known_ones_are_listed(stub: Any) -> None:
    with pytest.raises(NotFound, match="'hot' is unknown, known are: broken, cold, warm"):
        await generate(stub, ask(policy="hot"))
    reply = await stub.ListPolicies(pb.ListPoliciesRequest(), metadata=AUTHORIZED)
    assert list(reply.policies) == ["broken", "cold", "warm"]
    assert (await generate(stub, ask(policy="warm")))[-1].image.model.policy == "warm"


@pytest.mark.parametrize("token", ["", "wrong"])
async def test_without_the_token_nothing_is_painted(stub: Any, forwards: list[int], token: str) -> None:
    with pytest.raises(Unauthenticated):
        await generate(stub, ask(), token)
    for method, request in ((stub.GetModel, pb.GeneratorServiceGetModelRequest()), (stub.ListPolicies, None)):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await method(request or pb.ListPoliciesRequest())
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert not forwards


async def test_a_full_queue_says_when_to_come_back(stub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler_thread, "LIMITS", replace(LIMITS, queued_images=8))
    with pytest.raises(ResourceExhausted) as refused:
        await generate(stub, ask(seeds=range(9)))
    assert refused.value.retry_after is not None and refused.value.retry_after >= 1


async def stopped(forwards: list[int]) -> bool:
    """Whether the 200 steps of a painting have come to a rest before their end."""
    done = -1
    while len(forwards) > done:
        done = len(forwards)
        await asyncio.sleep(0.5)
    return done < 200


async def test_a_client_that_goes_away_stops_the_painting(stub: Any, forwards: list[int]) -> None:
    call = stub.Generate(ask(steps=200), metadata=AUTHORIZED)
    async for response in call:
        if response.WhichOneof("event") == "step":
            break
    call.cancel()
    assert await stopped(forwards)
    assert kinds(await generate(stub, ask(steps=1)))[-1] == "image"


async def test_a_deadline_stops_the_painting(stub: Any, forwards: list[int]) -> None:
    call = stub.Generate(ask(steps=200), metadata=AUTHORIZED, timeout=0.5)
    with pytest.raises(grpc.aio.AioRpcError) as late:
        async for _ in call:
            pass
    assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert await stopped(forwards)


async def test_a_call_with_an_id_stops_too_when_its_client_goes_away(stub: Any, forwards: list[int]) -> None:
    call = stub.Generate(ask(steps=200, request_id="once"), metadata=AUTHORIZED)
    async for response in call:
        if response.WhichOneof("event") == "step":
            break
    call.cancel()
    assert await stopped(forwards)


async def test_a_retry_with_the_same_id_is_not_painted_twice(stub: Any, forwards: list[int]) -> None:
    first = await generate(stub, ask(request_id="again"))
    painted = len(forwards)
    assert await generate(stub, ask(request_id="again")) == first
    assert len(forwards) == painted
    with pytest.raises(InvalidRequest, match="request_id"):
        await generate(stub, ask(request_id="again", prompt="a cat"))


async def test_a_defect_leaves_a_reference_and_no_stack(stub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("secret of the house")

    with monkeypatch.context() as patched:
        patched.setattr(sampler_thread, "advance", fail)
        with pytest.raises(EmoFeedbackError, match="reference") as failed:
            await generate(stub, ask())
    assert failed.value.code == "INTERNAL" and "secret" not in str(failed.value)
    assert kinds(await generate(stub, ask()))[-1] == "image"


def group(**changes: Any) -> pb.SampleTrajectoriesRequest:
    window = pb.NoiseWindow(kind=pb.NOISE_KIND_SDE, level=0.7, first=0, length=2)
    return pb.SampleTrajectoriesRequest(**{"prompt": "a dog", "seeds": [1, 2], "window": window, "steps": 4, **changes})


async def sample(stub: Any, request: pb.SampleTrajectoriesRequest, token: str = TOKEN) -> list[Any]:
    call = stub.SampleTrajectories(request, metadata=[("authorization", f"Bearer {token}")])
    try:
        return [response async for response in call]
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error, "SampleTrajectories", "the test") from error


async def test_a_group_comes_over_the_wire_with_its_model_before_its_trajectories(stub: Any) -> None:
    responses = await sample(stub, group())
    assert kinds(responses) == ["queued", "started", "trajectory", "trajectory"]
    started, trajectory = responses[1].started, responses[2].trajectory
    assert started.model.name == "tiny-sd3" and not started.HasField("negative")
    assert list(trajectory.latents.shape) == [3, 4, 12, 8] and trajectory.image.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("window", "field"),
    [
        (pb.NoiseWindow(), "window.kind"),
        (pb.NoiseWindow(kind=pb.NOISE_KIND_CPS, level=1.5, length=1), "window.level"),
        (pb.NoiseWindow(kind=pb.NOISE_KIND_SDE, level=0.7, first=3, length=1), "window"),
    ],
)
async def test_a_bad_window_is_named_and_nothing_is_sampled(
    stub: Any, forwards: list[int], window: pb.NoiseWindow, field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await sample(stub, group(window=window))
    assert [violation.field for violation in refused.value.violations] == [field]
    assert not forwards


async def test_a_group_with_the_same_id_is_not_sampled_twice(stub: Any, forwards: list[int]) -> None:
    first = await sample(stub, group(request_id="group"))
    steps = len(forwards)
    assert await sample(stub, group(request_id="group")) == first
    assert len(forwards) == steps
    with pytest.raises(InvalidRequest, match="request_id"):
        await sample(stub, group(request_id="group", seeds=[3]))


@pytest.mark.parametrize("request_id", ["", "left"])
async def test_a_learner_that_goes_away_stops_the_sampling(stub: Any, forwards: list[int], request_id: str) -> None:
    call = stub.SampleTrajectories(group(steps=200, request_id=request_id), metadata=AUTHORIZED)
    async for response in call:
        if response.WhichOneof("event") == "started":
            break
    while not forwards:
        await asyncio.sleep(0.01)
    call.cancel()
    assert await stopped(forwards)
    assert kinds(await sample(stub, group()))[-1] == "trajectory"


async def test_without_the_token_nothing_is_sampled(stub: Any, forwards: list[int]) -> None:
    with pytest.raises(Unauthenticated):
        await sample(stub, group(), "wrong")
    assert not forwards
