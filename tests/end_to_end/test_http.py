"""The HTTP door of the real services, through Ray Serve: OpenAI's client, curl, callers that hang up, and a crowd."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import openai
import pytest

from emofeedback import AsyncClient, Client, GenerationRequest
from emofeedback.cli.recipes import painted_again
from emofeedback.domain.generation import GeneratedImage
from emofeedback.domain.recipe import PictureRecipe, read_recipe
from emofeedback.in_process import local
from emofeedback.profiles.builtin import NANO_PROFILE
from support.running_services import TOKEN, Services, command, images_still_ahead

BEARER = {"authorization": f"Bearer {TOKEN}"}
FEELING = {"valence": 8, "arousal": 6, "rounds": 1, "images": 2, "steps": 2}


@pytest.fixture
def door(services: Services) -> str:
    return f"http://127.0.0.1:{services.http_port}"


@pytest.fixture
def client(door: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{door}/v1", api_key=TOKEN, max_retries=0)


def recipe_in(png: bytes) -> PictureRecipe:
    recipe = read_recipe(png)
    assert recipe is not None
    return recipe


def test_openais_client_gets_a_picture_for_a_feeling(client: openai.OpenAI) -> None:
    reply = client.images.generate(prompt="a dog in a meadow", extra_body=FEELING)
    assert reply.data is not None
    recipe = recipe_in(base64.b64decode(reply.data[0].b64_json or ""))
    assert recipe.wish is not None and recipe.reading is not None
    assert (recipe.wish.target.valence, recipe.steps) == (8, 2)


def test_curl_gets_a_picture_for_a_feeling_and_has_it_judged(door: str, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    curl = ["curl", "-sS", "-H", f"authorization: Bearer {TOKEN}"]
    body = json.dumps({**FEELING, "prompt": "a castle at night"})
    asked = [*curl, "-H", "content-type: application/json", "-d", body, f"{door}/v1/images/generations"]
    painted = json.loads(subprocess.check_output(asked))["data"][0]
    picture = tmp_path / "castle.png"
    picture.write_bytes(base64.b64decode(painted["b64_json"]))
    judged = json.loads(subprocess.check_output([*curl, "-F", f"images=@{picture}", f"{door}/v1/assessments"]))
    (seen,) = judged["data"]
    assert (seen["emotion"], seen["valence"]) == (painted["assessment"]["emotion"], painted["assessment"]["valence"])
    assert seen["recipe"]["wish"]["prompt"] == "a castle at night"


def test_whoever_hangs_up_the_stream_stops_the_painting(services: Services, door: str) -> None:
    asked = {"prompt": "a house on a hill", "emotion": "awe", "rounds": 1, "images": 8, "steps": 200}

    async def hang_up_then_ask_again() -> int:
        async with (
            httpx2.AsyncClient(timeout=60, headers=BEARER) as web,
            web.stream("POST", f"{door}/v1/optimizations", json=asked) as told,
        ):
            async for line in told.aiter_lines():
                if line == "event: painting_step":
                    break
        async with AsyncClient(services.address, token=TOKEN) as client:
            return await images_still_ahead(client)

    assert asyncio.run(hang_up_then_ask_again()) == 0


def test_of_a_hundred_generations_at_once_none_is_lost(door: str) -> None:
    with (
        httpx2.Client(timeout=300, headers=BEARER, limits=httpx2.Limits(max_connections=100)) as web,
        ThreadPoolExecutor(100) as callers,
    ):

        def paint(seed: int) -> int:
            body = {"prompt": "a boat", "seed": seed, "steps": 1}
            reply = web.post(f"{door}/v1/images/generations", json=body)
            assert reply.status_code == 200, reply.text
            return recipe_in(base64.b64decode(reply.json()["data"][0]["b64_json"])).seed

        assert list(callers.map(paint, range(100))) == list(range(100))


def test_the_door_is_as_closed_as_grpc_is_and_says_no_in_one_form(door: str) -> None:
    refusals = [
        httpx2.get(f"{door}/v1/models"),
        httpx2.get(f"{door}/v1/models", headers={**BEARER, "origin": "https://elsewhere.example"}),
        httpx2.get(f"{door}/v1/models", headers={**BEARER, "host": "elsewhere.example"}),
        httpx2.post(f"{door}/v1/images/generations", headers=BEARER, json={"prompt": "a boat", "steps": 0}),
        httpx2.get(f"{door}/v1/nothing", headers=BEARER),
    ]
    assert [reply.status_code for reply in refusals] == [401, 401, 400, 400, 404]
    for reply in refusals:
        assert reply.json()["error"].keys() == {"message", "type", "param", "code", "violations"}
        assert "access-control-allow-origin" not in reply.headers
    assert [reply.json()["error"]["param"] for reply in refusals] == [None, None, "host", "steps", None]


def test_health_and_metrics_are_there(door: str) -> None:
    assert httpx2.get(f"{door}/healthz").json() == {"status": "ok"}
    httpx2.get(f"{door}/v1/models", headers=BEARER)
    assert "emofeedback_call_seconds" in httpx2.get(f"{door}/metrics", headers=BEARER).text


def test_twenty_pictures_of_five_doors_are_painted_again_to_the_bit(
    services: Services, client: openai.OpenAI, door: str, tmp_path: Path
) -> None:
    """By engines of this process, from what each picture says of itself alone."""
    pictures = [*by_the_command(services, tmp_path), *by_the_sdk(services)]
    pictures += [*by_the_images_api(client), *by_the_loop(door)]
    assert len(pictures) == 20
    recipes = [recipe_in(png) for png in pictures]
    assert len({recipe.pixels for recipe in recipes}) == 20

    async def again() -> list[str]:
        async with local(NANO_PROFILE) as engines:
            images = await asyncio.gather(*(painted_again(recipe, engines) for recipe in recipes))
        return [recipe_in(image.data).pixels for image in images]

    assert asyncio.run(again()) == [recipe.pixels for recipe in recipes]


def by_the_command(services: Services, folder: Path) -> list[bytes]:
    """Two rounds of two pictures, and a sweep of four cells."""
    loop = ("--address", services.address, "--rounds")
    runs = [
        command("create", "a boat", "--emotion", "awe", *loop, "2", "--images", "2", "--out", str(folder / "run"),
                EMOFEEDBACK_TOKEN=TOKEN),
        command("sweep", "a tree", "--grid", "2", *loop, "1", "--images", "1", "--out", str(folder / "sweep"),
                EMOFEEDBACK_TOKEN=TOKEN),
    ]  # fmt: skip
    for run in runs:
        _, problems = run.communicate(timeout=300)
        assert run.returncode == 0, problems
    return [path.read_bytes() for path in sorted(folder.rglob("image-*.png"))]


def by_the_sdk(services: Services) -> list[bytes]:
    """One plain, one by the base weights with guidance and words to avoid, two of fewer steps."""
    requests = [
        GenerationRequest(prompt="a dog in a meadow", seeds=(3,)),
        GenerationRequest(
            prompt="a car in the city", seeds=(4,), policy="base", steps=3, guidance=3.5, negative_prompt="night"
        ),
        GenerationRequest(prompt="an owl in a forest", seeds=(2**40, 5), steps=2),
    ]
    with Client(services.address, token=TOKEN) as client:
        events = [event for request in requests for event in client.generator.generate(request)]
    return [event.data for event in events if isinstance(event, GeneratedImage)]


def by_the_images_api(client: openai.OpenAI) -> list[bytes]:
    """Two of a prompt, two of a feeling."""
    plain = client.images.generate(prompt="a kettle on the beach", n=2, extra_body={"seed": 7, "policy": "nano-final"})
    felt = client.images.generate(prompt="a rabbit in the snow", n=2, extra_body={**FEELING, "images": 2})
    return [base64.b64decode(image.b64_json or "") for reply in (plain, felt) for image in reply.data or ()]


def by_the_loop(door: str) -> list[bytes]:
    """Two rounds of two pictures, as server-sent events."""
    asked = {"prompt": "a house by the lake", "emotion": "sadness", "rounds": 2, "images": 2}
    told = httpx2.post(f"{door}/v1/optimizations", json=asked, headers=BEARER, timeout=300).text
    contents = [json.loads(line.removeprefix("data: ")) for line in told.splitlines() if line.startswith("data: ")]
    return [base64.b64decode(c["image"]["b64_json"]) for c in contents if "b64_json" in c.get("image", {})]
