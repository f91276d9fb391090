"""What every Generator does, whoever it is: the engine in process, the client of a service, the scripted one."""

import io
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from PIL import Image

from emofeedback.client import AsyncClient
from emofeedback.errors import InvalidRequest, NotFound
from emofeedback.generator.engine import GeneratorEngine
from emofeedback.generator.service import GeneratorServicer
from emofeedback.interfaces import GeneratedImage, GenerationQueued, GenerationRequest, GenerationStep, Generator
from emofeedback.v1.generator_pb2_grpc import add_GeneratorServiceServicer_to_server
from fakes import ScriptedGenerator
from tiny_checkpoints import save_tiny_policy, tiny_sd3_settings


@pytest.fixture(scope="module")
def engine(tiny_sd3: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GeneratorEngine]:
    policies = tmp_path_factory.mktemp("policies")
    save_tiny_policy(policies / "warm", tiny_sd3)
    engine = GeneratorEngine.load(tiny_sd3_settings(tiny_sd3, steps=3, max_batch=2, policies=str(policies)))
    yield engine
    engine.close()


@pytest_asyncio.fixture(params=["engine", "client", "scripted"])
async def generator(request: pytest.FixtureRequest, engine: GeneratorEngine) -> AsyncIterator[Generator]:
    if request.param == "engine":
        yield engine
    elif request.param == "scripted":
        yield ScriptedGenerator(known_policies=("warm",))
    else:
        server = grpc.aio.server()
        add_GeneratorServiceServicer_to_server(GeneratorServicer(engine, "secret"), server)  # type: ignore[arg-type]
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with AsyncClient(f"127.0.0.1:{port}", token="secret") as client:
            yield client.generator
        await server.stop(None)


def ask(**changes: Any) -> GenerationRequest:
    return GenerationRequest(**{"prompt": "a dog in the rain", "seeds": (3, 1, 4), **changes})


async def images(generator: Generator, request: GenerationRequest) -> list[GeneratedImage]:
    """In the order of the seeds."""
    painted = [event async for event in generator.generate(request) if isinstance(event, GeneratedImage)]
    return sorted(painted, key=lambda image: image.index)


async def test_first_it_is_queued_then_every_seed_becomes_one_image(generator: Generator) -> None:
    queued, *rest = [event async for event in generator.generate(ask())]
    assert isinstance(queued, GenerationQueued)
    assert (queued.images_ahead, queued.unknown_words, queued.shortened_prompt) == (0, (), "")
    painted = [event for event in rest if isinstance(event, GeneratedImage)]
    assert sorted((image.index, image.seed) for image in painted) == [(0, 3), (1, 1), (2, 4)]
    assert isinstance(rest[-1], GeneratedImage)


async def test_steps_rise_until_the_image_comes(generator: Generator) -> None:
    done: dict[int, int] = {}
    finished: set[int] = set()
    async for event in generator.generate(ask(steps=4)):
        if isinstance(event, GenerationStep):
            assert done.get(event.index, 0) < event.step <= event.steps and event.index not in finished
            done[event.index] = event.step
        elif isinstance(event, GeneratedImage):
            finished.add(event.index)
    assert done and finished == {0, 1, 2}


async def test_images_are_pngs_of_the_size_they_say(generator: Generator) -> None:
    for image in await images(generator, ask()):
        picture = Image.open(io.BytesIO(image.data))
        assert (picture.format, picture.size, picture.mode) == ("PNG", (image.width, image.height), "RGB")


async def test_prompt_and_seed_decide_the_pixels(generator: Generator) -> None:
    three, one, four = await images(generator, ask())
    [again] = await images(generator, ask(seeds=(1,)))
    [other] = await images(generator, ask(seeds=(1,), prompt="a cat"))
    assert again.data == one.data
    assert len({three.data, one.data, four.data, other.data}) == 4


async def test_every_image_names_its_model_and_policy(generator: Generator) -> None:
    model = await generator.model()
    assert model.name and model.digest.startswith("sha256:") and len(model.digest) == 71 and model.policy == ""
    assert [image.model for image in await images(generator, ask())] == [model] * 3
    [adapted] = await images(generator, ask(seeds=(1,), policy="warm"))
    assert (adapted.model.name, adapted.model.digest, adapted.model.policy) == (model.name, model.digest, "warm")


async def test_policies_are_listed_and_others_not_found(generator: Generator) -> None:
    assert list(await generator.policies()) == ["warm"]
    with pytest.raises(NotFound, match="hot"):
        await images(generator, ask(policy="hot"))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"prompt": "  "}, "prompt"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (0, -1)}, "seeds[1]"),
        ({"steps": 0}, "steps"),
        ({"guidance": float("nan")}, "guidance"),
    ],
)
async def test_a_field_out_of_its_limits_is_named(generator: Generator, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await images(generator, ask(**changes))
    assert [violation.field for violation in refused.value.violations] == [field]


async def test_closed_early_it_serves_the_next_call(generator: Generator) -> None:
    async with aclosing(generator.generate(ask(steps=200))) as events:  # type: ignore[type-var]
        assert isinstance(await anext(events), GenerationQueued)
    assert len(await images(generator, ask())) == 3
