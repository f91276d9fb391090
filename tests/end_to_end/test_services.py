"""The three real services behind one loopback port, as `emofeedback serve` starts them."""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import subprocess
import sys
import time
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import grpc
import psutil
import pytest
from PIL import Image

from emofeedback import AffectPoint, AsyncClient, Client
from emofeedback.domain.assessment import Assessment
from emofeedback.domain.errors import InvalidRequest, NotFound, Unauthenticated
from emofeedback.domain.generation import (
    GeneratedImage,
    GenerationRequest,
    GenerationStep,
    NoiseWindow,
    Trajectory,
    TrajectoryEvent,
    TrajectoryRequest,
)
from emofeedback.domain.optimization import ImageJudged, OptimizationFinished, OptimizationRequest
from emofeedback.judge.calibration_store import CalibrationStore
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.v1 import generator_pb2, generator_pb2_grpc, judge_pb2, optimizer_pb2
from support.fakes import known_of
from support.running_services import TOKEN, Services, command, free_port, images_still_ahead, interrupt
from support.sockets import beyond_loopback, listening


def every_method() -> list[tuple[str, str, bool, bool]]:
    """(application, full method name, client streams, server streams) of all RPCs of the three services."""
    return [
        (application, f"/{service.full_name}/{method.name}", method.client_streaming, method.server_streaming)
        for module, application in (
            (generator_pb2, "generator"),
            (judge_pb2, "judge"),
            (optimizer_pb2, "optimizer"),
        )
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]


@pytest.mark.parametrize(
    ("application", "method", "client_streams", "server_streams"),
    every_method(),
    ids=lambda value: str(value),
)
@pytest.mark.parametrize("metadata", [(), (("authorization", "Bearer wrong"),)], ids=["no token", "wrong token"])
def test_every_rpc_refuses_a_caller_without_the_token(
    services: Services,
    application: str,
    method: str,
    client_streams: bool,
    server_streams: bool,
    metadata: tuple[tuple[str, str], ...],
) -> None:
    with grpc.insecure_channel(services.address) as channel:
        raw = {"request_serializer": None, "response_deserializer": None}
        headers = (("application", application), *metadata)
        with pytest.raises(grpc.RpcError) as caught:
            if client_streams:
                list(channel.stream_stream(method, **raw)(iter([b""]), metadata=headers, timeout=30))
            elif server_streams:
                list(channel.unary_stream(method, **raw)(b"", metadata=headers, timeout=30))
            else:
                channel.unary_unary(method, **raw)(b"", metadata=headers, timeout=30)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_every_port_of_the_services_and_of_ray_is_on_loopback(services: Services) -> None:
    assert beyond_loopback(services.process.pid) == {}
    assert len(listening(services.process.pid)) > 0


def test_no_worker_of_rays_is_kept_for_nobody(services: Services) -> None:
    deadline = time.monotonic() + 60  # it goes a little after what it was started for
    while idle := [
        process
        for process in psutil.Process(services.process.pid).children(recursive=True)
        if process.is_running() and "ray::IDLE" in " ".join(process.cmdline())
    ]:
        assert time.monotonic() < deadline, f"{len(idle)} idle workers"
        time.sleep(0.5)


def test_rays_own_port_refuses_a_driver_without_its_token(services: Services) -> None:
    family = psutil.Process(services.process.pid).children(recursive=True)
    gcs = next(process for process in family if process.name() == "gcs_server")
    port = next(c.laddr.port for c in gcs.net_connections("tcp") if c.status == psutil.CONN_LISTEN)
    stranger = subprocess.run(
        [sys.executable, "-c", f"import ray; ray.init(address='127.0.0.1:{port}'); print(ray.nodes())"],
        capture_output=True,
        text=True,
        timeout=120,
        env={
            **os.environ,
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else Ray looks for it at the machine's outside address
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "0" * 64,
            "RAY_NUM_REDIS_GET_RETRIES": "1",  # else it tries for 20 seconds
        },
    )
    assert stranger.returncode != 0
    assert "uthenticat" in stranger.stderr


def test_the_services_paint_the_same_pixels_as_the_engines_in_process(services: Services) -> None:
    from emofeedback.generator.local import LocalGenerator

    request = GenerationRequest(prompt="a cat in a forest at night", seeds=(3, 4, 5))

    async def in_process() -> list[bytes]:
        engine = LocalGenerator.load(NANO_PROFILE.generator)
        try:
            events = [event async for event in engine.generate(request)]
        finally:
            engine.close()
        images = [event for event in events if isinstance(event, GeneratedImage)]
        return [image.data for image in sorted(images, key=lambda image: image.index)]

    with Client(services.address, token=TOKEN) as client:
        served = [event for event in client.generator.generate(request) if isinstance(event, GeneratedImage)]
    served.sort(key=lambda image: image.index)
    assert [image.data for image in served] == asyncio.run(in_process())


def test_the_services_sample_the_same_trajectories_as_the_engine_in_process(services: Services) -> None:
    from emofeedback.generator.local import LocalGenerator

    window = NoiseWindow(kind="sde", level=0.7, first=1, length=2)
    request = TrajectoryRequest(prompt="a cat in a forest at night", seeds=(3, 4, 5), window=window, steps=6)

    async def in_process() -> list[TrajectoryEvent]:
        engine = LocalGenerator.load(NANO_PROFILE.generator)
        try:
            return [event async for event in engine.sample_trajectories(request)]
        finally:
            engine.close()

    with Client(services.address, token=TOKEN) as client:
        served = list(client.generator.sample_trajectories(request))
    assert served == asyncio.run(in_process())
    assert [type(event) for event in served[2:]] == [Trajectory] * 3


def test_the_loop_runs_through_the_three_services(services: Services) -> None:
    request = OptimizationRequest(prompt="a dog in a meadow", target=AffectPoint(7.5, 6.5), rounds=2, images=3, seed=11)
    with Client(services.address, token=TOKEN) as client:
        events = list(client.optimize(request))
    finished = events[-1]
    assert isinstance(finished, OptimizationFinished)
    assert finished.answer is not None
    assert finished.generator.digest.startswith("sha256:")
    kinds = [type(event).__name__ for event in events]
    assert kinds.count("ImagePainted") == 6
    steps = [kind for kind in kinds if kind in ("LossComputed", "GradientEstimated", "PromptUpdated")]
    assert steps[:3] == ["LossComputed", "GradientEstimated", "PromptUpdated"]


def test_the_loop_and_a_stream_see_through_a_persons_eyes(services: Services, people: Path, scene: bytes) -> None:
    request = OptimizationRequest(prompt="a dog in a meadow", target=AffectPoint(4, 5), rounds=2, images=2, user="ada")
    with Client(services.address, token=TOKEN) as client:
        CalibrationStore(str(people)).write(known_of("ada", client.judge.model()))  # nothing but 3 to 5
        outcomes = dict(client.judge.assess_stream([(1, scene), (2, scene)], user="ada"))
        (hers,), (anyones,) = client.judge.assess([scene], user="ada"), client.judge.assess([scene])
        assert isinstance(hers, Assessment) and isinstance(anyones, Assessment)
        for seen in outcomes.values():  # in whatever batches they came together, which moves the last digits
            assert isinstance(seen, Assessment)
            assert (seen.valence, seen.arousal) == pytest.approx((hers.valence, hers.arousal), abs=1e-3)
        assert len(outcomes) == 2 and abs(hers.arousal - anyones.arousal) + abs(hers.valence - anyones.valence) > 0.1
        with pytest.raises(NotFound, match="no calibration for user 'nobody'"):
            list(client.judge.assess_stream([(1, scene)], user="nobody"))
        events = list(client.optimize(request))
        with pytest.raises(NotFound, match="no calibration for user 'nobody'"):
            list(client.optimize(replace(request, user="nobody")))
    judged = [event.candidate.outcome for event in events if isinstance(event, ImageJudged)]
    assert len(judged) == 4
    assert all(isinstance(outcome, Assessment) and 3 <= outcome.valence <= 5 for outcome in judged)


def test_create_against_the_services_writes_a_whole_run(services: Services, out: Path) -> None:
    process = command(
        *("create", "a bird in a city", "--emotion", "sadness", "--rounds", "2", "--images", "2"),
        *("--address", services.address, "--out", str(out)),
        EMOFEEDBACK_TOKEN=TOKEN,
    )
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert "report.html" in stdout
    result = json.loads((out / "result.json").read_text())
    assert result["request"]["target"] == {"valence": 2.40, "arousal": 2.81}
    assert all((out / image["path"]).is_file() for turn in result["rounds"] for image in turn["candidates"])
    assert (out / "report.html").stat().st_size > 10_000


def test_a_caller_that_hangs_up_stops_the_painting(services: Services) -> None:
    """Long before the half minute that the painting takes; how soon depends on what else the machine does."""

    async def hang_up_then_ask_again() -> int:
        async with AsyncClient(services.address, token=TOKEN) as client:
            long = GenerationRequest(prompt="a house on a hill", seeds=tuple(range(8)), steps=200)
            async with aclosing(client.generator.generate(long)) as events:
                async for event in events:
                    if isinstance(event, GenerationStep):
                        break
            return await images_still_ahead(client)

    assert asyncio.run(hang_up_then_ask_again()) == 0


def test_a_caller_that_hangs_up_without_having_read_stops_the_painting(services: Services) -> None:
    """The proxy is sending then, not waiting for the generator."""
    patience = [("grpc.http2.bdp_probe", 0), ("grpc.max_receive_message_length", -1)]  # 64 kB ahead, no more
    long = generator_pb2.SampleTrajectoriesRequest(
        prompt="a house on a hill",
        seeds=range(32),
        steps=100,
        window=generator_pb2.NoiseWindow(kind=generator_pb2.NOISE_KIND_CPS, level=0.5, length=99),
    )
    metadata = (("application", "generator"), ("authorization", f"Bearer {TOKEN}"))

    async def hang_up_then_ask_again() -> int:
        async with grpc.aio.insecure_channel(services.address, options=patience) as channel:
            call = generator_pb2_grpc.GeneratorServiceStub(channel).SampleTrajectories(long, metadata=metadata)
            async for response in call:
                if response.HasField("trajectory"):
                    break
            await asyncio.sleep(1)  # the rest of the first batch is on its way
            call.cancel()
        async with AsyncClient(services.address, token=TOKEN) as client:
            return await images_still_ahead(client)

    assert asyncio.run(hang_up_then_ask_again()) == 0


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (GenerationRequest(prompt="  ", seeds=(1,)), InvalidRequest, "prompt"),
        (GenerationRequest(prompt="x" * 2001, seeds=(1,)), InvalidRequest, "2000"),
        (GenerationRequest(prompt="a dog", seeds=()), InvalidRequest, "seeds"),
        (GenerationRequest(prompt="a dog", seeds=tuple(range(65))), InvalidRequest, "64"),
        (GenerationRequest(prompt="a dog", seeds=(1,), policy="nobody"), NotFound, "nobody"),
    ],
)
def test_bad_requests_name_the_field_and_the_service_goes_on(
    services: Services, request_: GenerationRequest, error: type[Exception], words: str
) -> None:
    with Client(services.address, token=TOKEN) as client:
        with pytest.raises(error, match=words):
            list(client.generator.generate(request_))
        good = GenerationRequest(prompt="a dog", seeds=(1,), steps=1)
        assert any(isinstance(event, GeneratedImage) for event in client.generator.generate(good))


def test_bad_images_are_refused_by_name_and_good_ones_judged(services: Services, scene: bytes) -> None:
    with Client(services.address, token=TOKEN) as client:
        with pytest.raises(InvalidRequest, match=r"images\[1\]"):
            client.judge.assess([scene, scene[: len(scene) // 2]])
        (outcome,) = client.judge.assess([scene])
        assert isinstance(outcome, Assessment) and 1 <= outcome.valence <= 9


def test_a_picture_larger_than_grpcs_usual_limit_gets_to_the_judge(services: Services) -> None:
    side = 1300
    noise = Image.frombytes("RGB", (side, side), random.Random(0).randbytes(3 * side * side))
    noise.save(large := io.BytesIO(), "PNG")
    assert len(large.getvalue()) > 4 * 2**20
    with Client(services.address, token=TOKEN) as client:
        (outcome,) = client.judge.assess([large.getvalue()])
        assert isinstance(outcome, Assessment)


def test_a_message_over_the_limit_is_refused_and_the_service_goes_on(services: Services, scene: bytes) -> None:
    from emofeedback.domain.errors import ResourceExhausted
    from emofeedback.domain.limits import LIMITS

    with Client(services.address, token=TOKEN) as client:
        with pytest.raises(ResourceExhausted):
            client.judge.assess([bytes(LIMITS.message_bytes + 1)])
        assert len(client.judge.assess([scene])) == 1


def test_a_wrong_token_is_a_typed_error(services: Services) -> None:
    with Client(services.address, token="wrong") as client, pytest.raises(Unauthenticated):
        client.judge.model()


def test_a_taken_port_is_said_so_with_the_option_that_changes_it(services: Services) -> None:
    process = command("serve", "--port", str(services.port), "--http-port", str(free_port()))
    _, stderr = process.communicate(timeout=300)
    assert process.returncode != 0
    assert str(services.port) in stderr and "--port" in stderr


def test_interrupting_serve_while_it_starts_leaves_no_process_behind() -> None:
    process = command("serve", "--port", str(free_port()), "--http-port", str(free_port()))
    family = psutil.Process(process.pid)
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and not any(
        child.name() == "raylet" for child in family.children(recursive=True)
    ):
        time.sleep(0.2)
    assert interrupt(process) == []
