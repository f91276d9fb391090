"""The generators that one suite runs against: the engine in process, the client of a service, the scripted one."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from emofeedback.client import AsyncClient
from emofeedback.domain.generation import Generator
from emofeedback.generator.local import LocalGenerator
from emofeedback.generator.servicer import GeneratorServicer
from emofeedback.v1.generator_pb2_grpc import add_GeneratorServiceServicer_to_server
from support.fakes import ScriptedGenerator
from support.tiny_checkpoints import TINY_JUDGE, save_tiny_policy, tiny_fused, tiny_sd3_settings


@pytest.fixture(scope="module")
def engine(tiny_sd3: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGenerator]:
    policies = tmp_path_factory.mktemp("policies")
    save_tiny_policy(policies / "warm", tiny_sd3)
    save_tiny_policy(policies / "felt", tiny_sd3, fused=tiny_fused(tiny_sd3))
    engine = LocalGenerator.load(tiny_sd3_settings(tiny_sd3, steps=3, max_batch=2, policies=str(policies)))
    yield engine
    engine.close()


@pytest_asyncio.fixture
async def served(engine: LocalGenerator) -> AsyncIterator[Generator]:
    """The same engine behind an address."""
    server = grpc.aio.server()
    add_GeneratorServiceServicer_to_server(GeneratorServicer(engine, "secret"), server)  # type: ignore[arg-type]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with AsyncClient(f"127.0.0.1:{port}", token="secret") as client:
        yield client.generator
    await server.stop(None)


@pytest.fixture(params=["engine", "client", "scripted"])
def generator(request: pytest.FixtureRequest, engine: LocalGenerator, served: Generator) -> Generator:
    scripted = ScriptedGenerator(known_policies=("felt", "warm"), fused={"felt": TINY_JUDGE})
    return {"engine": engine, "client": served, "scripted": scripted}[request.param]
