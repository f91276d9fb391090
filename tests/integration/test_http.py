"""The HTTP door, as OpenAI's client, curl and plain sockets come through it."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from emofeedback.domain.limits import LIMITS
from emofeedback.domain.recipe import read_recipe
from emofeedback.http.gate import RateLimit
from support.fakes import GENERATOR_MODEL, JUDGE_MODEL, ScriptedGenerator, ScriptedJudge, look, paint
from support.http_door import open_door
from support.scripted_services import ScriptedServices

LOOP = {"prompt": "a quiet harbor", "valence": 7, "arousal": 3, "rounds": 2, "images": 2}


@pytest.fixture
def services() -> ScriptedServices:
    return ScriptedServices(ScriptedGenerator(known_policies=("warm",), recipes=True), ScriptedJudge())


@pytest.fixture
def door(services: ScriptedServices) -> Iterator[str]:
    with open_door(services) as address:
        yield address


@pytest.fixture
def client(door: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{door}/v1", api_key="none", max_retries=0)


def events_of(text: str) -> list[tuple[str, dict[str, Any]]]:
    blocks = [dict(line.split(": ", 1) for line in block.split("\n")) for block in text.strip().split("\n\n")]
    return [(block["event"], json.loads(block["data"])) for block in blocks]


def within_60_s(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass within 60 s"
        time.sleep(0.01)


def test_openais_client_paints_a_prompt(client: openai.OpenAI) -> None:
    reply = client.images.generate(prompt="a quiet harbor", n=2, response_format="b64_json", extra_body={"seed": 5})
    assert reply.data is not None
    seen = [look(base64.b64decode(image.b64_json or "")) for image in reply.data]
    assert [(picture.prompt, picture.seed) for picture in seen] == [("a quiet harbor", 5), ("a quiet harbor", 6)]


def test_openais_client_asks_for_a_feeling_and_gets_the_best_of_the_run(client: openai.OpenAI) -> None:
    feeling = {"valence": 8, "arousal": 6, "rounds": 2, "images": 4}
    reply = client.images.generate(prompt="a quiet harbor", n=3, extra_body=feeling)
    assert reply.data is not None
    losses = [image.loss for image in reply.data]  # type: ignore[attr-defined]
    assert losses == sorted(losses) and len(losses) == 3
    recipe = read_recipe(base64.b64decode(reply.data[0].b64_json or ""))
    assert recipe and recipe.wish and recipe.reading
    assert (recipe.wish.target.valence, recipe.reading.judge, recipe.generator) == (8, JUDGE_MODEL, GENERATOR_MODEL)


def test_a_feeling_is_imagined_where_that_is_asked_for(client: openai.OpenAI, services: ScriptedServices) -> None:
    services.generator.known_policies, services.generator.fused = ("felt",), {"felt": JUDGE_MODEL}
    asked = {**LOOP, "policy": "felt", "imagine": True}
    del asked["prompt"]
    reply = client.images.generate(prompt="a quiet harbor", extra_body=asked)
    assert reply.data is not None
    assert look(base64.b64decode(reply.data[0].b64_json or "")).felt


def test_a_url_is_the_picture_itself(client: openai.OpenAI) -> None:
    reply = client.images.generate(prompt="a quiet harbor", response_format="url", size="auto")
    assert reply.data is not None and (reply.data[0].url or "").startswith("data:image/png;base64,")


def test_openais_client_lists_models_and_hears_that_pictures_cannot_be_edited(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [GENERATOR_MODEL.name, JUDGE_MODEL.name]
    with pytest.raises(openai.APIStatusError) as refused:
        client.images.edit(image=("a.png", paint("a", 1)), prompt="a cat")
    assert refused.value.status_code == 501 and "can't be edited" in refused.value.message


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"valence": 12, "arousal": 3}, "valence"),
        ({"valence": 5}, "arousal"),
        ({"valence": 5, "arousal": 5, "dominance": 0}, "dominance"),
        ({"dominance": 5}, "target"),
        ({"emotion": "joi"}, "emotion"),
        ({"emotion": "awe", "rounds": 99}, "rounds"),
        ({"valance": 5}, "valance"),
        ({"seed": "many"}, "seed"),
        ({"n": 65}, "n"),
        ({"n": 9, "emotion": "awe", "images": 4}, "n"),
        ({"size": "1024x1024"}, "size"),
        ({"steps": 0}, "steps"),
        ({"prompt": " "}, "prompt"),
    ],
)
def test_a_refused_field_is_named(client: openai.OpenAI, extra: dict[str, Any], field: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(prompt="a harbor", extra_body=extra)
    assert refused.value.param == field
    assert refused.value.code == "INVALID_ARGUMENT" and refused.value.type == "invalid_request_error"


def test_an_unknown_policy_and_an_unknown_path_are_not_found_in_the_same_form(client: openai.OpenAI, door: str) -> None:
    with pytest.raises(openai.NotFoundError, match="cold"):
        client.images.generate(prompt="a harbor", extra_body={"policy": "cold"})
    reply = httpx2.get(f"{door}/v1/nothing")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "NOT_FOUND")
    assert httpx2.post(f"{door}/v1/models").status_code == 405


def test_a_failure_is_told_by_a_reference_alone(client: openai.OpenAI, services: ScriptedServices) -> None:
    services.generator.failures = {(0, 0): RuntimeError("secret detail")}
    with pytest.raises(openai.InternalServerError, match="reference") as failed:
        client.images.generate(prompt="a harbor")
    assert "secret" not in failed.value.message


def test_curl_has_pictures_judged_from_files_and_from_base64(door: str, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    for seed in (1, 2):
        (tmp_path / f"{seed}.png").write_bytes(paint("a harbor", seed))
    files = [part for seed in (1, 2) for part in ("-F", f"images=@{tmp_path / f'{seed}.png'}")]
    by_form = json.loads(subprocess.check_output(["curl", "-sS", *files, f"{door}/v1/assessments"]))
    body = {"images": [base64.b64encode(paint("a harbor", seed)).decode() for seed in (1, 2)]}
    by_json = httpx2.post(f"{door}/v1/assessments", json=body).json()
    assert by_form == by_json and [found["index"] for found in by_json["data"]] == [0, 1]
    assert by_json["judge"]["digest"] == JUDGE_MODEL.digest


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"images": ["no base64!"]}, "images[0]"),
        ({"images": []}, "images"),
        ({"images": ["aGk="] * 65}, "images"),
        ({"pictures": []}, "images"),
        ({"images": ["aGk="], "person": "../ada"}, "person"),
        ({"images": ["aGk="], "reasoning": "loudly"}, "reasoning"),
        ({"images": ["aGk="], "reasoning": 2}, "reasoning"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_it_is_decoded(door: str, body: dict[str, Any], field: str) -> None:
    reply = httpx2.post(f"{door}/v1/assessments", json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, field)


@pytest.mark.parametrize(
    ("asked", "way"), [(False, "none"), (True, "aloud"), ("none", "none"), ("latent", "latent"), ("aloud", "aloud")]
)
def test_the_judge_reasons_as_it_is_asked_to_in_json_and_in_a_form(
    door: str, services: ScriptedServices, asked: bool | str, way: str
) -> None:
    picture = paint("a harbor", 1)
    body = {"images": [base64.b64encode(picture).decode()], "reasoning": asked}
    by_json = httpx2.post(f"{door}/v1/assessments", json=body).json()
    form = {"reasoning": str(asked).lower()}
    by_form = httpx2.post(f"{door}/v1/assessments", files={"images": ("1.png", picture)}, data=form).json()
    assert by_form == by_json and bool(by_json["data"][0]["reasoning"]) == (way == "aloud")
    assert services.judge.ways == [way, way]


def test_a_form_that_asks_for_an_unknown_way_to_reason_is_refused(door: str) -> None:
    files = {"images": ("1.png", paint("a harbor", 1))}
    reply = httpx2.post(f"{door}/v1/assessments", files=files, data={"reasoning": "loudly"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "reasoning")


def in_base64(*prompts: str) -> list[str]:
    return [base64.b64encode(paint(prompt, 1)).decode() for prompt in prompts]


def test_questions_are_answered_and_pictures_described(door: str) -> None:
    asked = [
        {"images": in_base64("a harbor", "a fox"), "text": "Which is calmer?", "options": ["first", "second"]},
        {"images": in_base64("a boat"), "text": "What is it?"},
    ]
    reply = httpx2.post(f"{door}/v1/questions", json={"questions": asked}).json()
    unknown = {"domain_score": None, "in_domain": None}
    assert reply["data"] == [
        {
            "index": 0,
            "text": "second",
            "option": 1,
            "confidence": 0.75,
            "reasoning": "It is the last.",
            **unknown,
        },
        {"index": 1, "text": "a boat", "option": None, "confidence": None, "reasoning": "", **unknown},
    ]
    assert reply["judge"]["digest"] == JUDGE_MODEL.digest
    pictures = [in_base64("a boat"), in_base64("a harbor", "a fox")]
    described = httpx2.post(f"{door}/v1/descriptions", json={"pictures": pictures}).json()
    assert [found["text"] for found in described["data"]] == ["a boat", "a harbor and then a fox"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("questions", {"questions": []}, "questions"),
        ("questions", {"questions": [{"images": ["aGk="], "text": "?", "options": []}]}, "questions[0].options"),
        ("questions", {"questions": [{"images": ["aGk="] * 3, "text": "?"}]}, "questions[0].images"),
        ("questions", {"questions": [{"images": ["no base64!"], "text": "?"}]}, "questions[0].images[0]"),
        ("questions", {"questions": [{"images": ["aGk="], "text": ""}]}, "questions[0].text"),
        ("descriptions", {"pictures": [[]]}, "pictures[0].images"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(door: str, path: str, body: dict[str, Any], field: str) -> None:
    reply = httpx2.post(f"{door}/v1/{path}", json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, field)


def test_the_loop_is_told_as_it_happens(door: str) -> None:
    reply = httpx2.post(f"{door}/v1/optimizations", json=LOOP, timeout=60)
    told = events_of(reply.text)
    names = [name for name, _ in told]
    assert names[0] == "round_started" and names[-1] == "optimization_finished"
    painted = [content["image"] for name, content in told if name == "image_painted"]
    assert [look(base64.b64decode(image["b64_json"])).seed for image in painted] == [0, 1, 0, 1]
    assert names.count("image_judged") == 4 and names.count("prompt_updated") == 1


def test_a_run_that_fails_says_so_in_its_last_event(door: str, services: ScriptedServices) -> None:
    services.generator.failures = {(1, 0): RuntimeError("secret detail")}
    told = events_of(httpx2.post(f"{door}/v1/optimizations", json=LOOP, timeout=60).text)
    assert told[-1][0] == "error" and told[-1][1]["error"]["code"] == "INTERNAL"
    assert "secret" not in str(told[-1])


@pytest.mark.parametrize("path", ["optimizations", "images/generations"])
def test_whoever_hangs_up_stops_the_painting(door: str, services: ScriptedServices, path: str) -> None:
    services.generator.delay = 0.2
    asked = {**LOOP, "images": 64}
    with (
        httpx2.Client(timeout=2) as caller,
        pytest.raises(httpx2.TimeoutException),
        caller.stream("POST", f"{door}/v1/{path}", json=asked) as reply,
    ):
        for _ in reply.iter_bytes():
            time.sleep(0.3)
            raise httpx2.ReadTimeout("gone")
    within_60_s(lambda: services.generator.closed_early == 1)
    assert services.generator.images_done < 64


def test_policies_health_metrics_and_the_description_of_all_of_it(door: str) -> None:
    assert httpx2.get(f"{door}/v1/policies").json() == {"data": ["warm", "base"]}
    assert httpx2.get(f"{door}/healthz").json() == {"status": "ok"}
    assert "emofeedback_images_total" in httpx2.get(f"{door}/metrics").text
    described = httpx2.get(f"{door}/openapi.json").json()
    assert described["components"]["schemas"]["ImagesBody"]["examples"]
    assert {"/v1/images/generations", "/v1/assessments", "/v1/optimizations"} <= described["paths"].keys()


def test_without_the_token_nobody_gets_in(services: ScriptedServices) -> None:
    with open_door(services, token="secret") as door:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "secret"}):
            reply = httpx2.get(f"{door}/v1/models", headers=headers)
            assert (reply.status_code, reply.json()["error"]["code"]) == (401, "UNAUTHENTICATED")
        assert httpx2.get(f"{door}/v1/models", headers={"authorization": "Bearer secret"}).status_code == 200
        assert httpx2.get(f"{door}/healthz").status_code == 200 and httpx2.get(f"{door}/metrics").status_code == 401


def test_pages_of_other_sites_and_foreign_names_are_kept_out(services: ScriptedServices) -> None:
    with open_door(services, hosts=("127.0.0.1",), origins=("https://friend.example",)) as door:
        assert httpx2.get(f"{door}/v1/models", headers={"origin": "https://evil.example"}).status_code == 401
        assert httpx2.get(f"{door}/v1/models", headers={"host": "evil.example"}).status_code == 400
        friend = httpx2.get(f"{door}/v1/models", headers={"origin": "https://friend.example"})
        assert friend.headers["access-control-allow-origin"] == "https://friend.example"
        own = httpx2.get(f"{door}/v1/models", headers={"origin": door})
        assert own.status_code == 200 and "access-control-allow-origin" not in own.headers


def test_a_body_over_the_limit_is_refused_whether_it_says_its_length_or_not(door: str) -> None:
    host, port = door.removeprefix("http://").split(":")
    start = f"POST /v1/assessments HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as said:
        said.sendall(f"{start}content-length: {LIMITS.message_bytes + 1}\r\n\r\n".encode())
        assert said.recv(1000).startswith(b"HTTP/1.1 413")
    mebibyte = b"100000\r\n" + bytes(2**20) + b"\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as unsaid:
        unsaid.sendall(f"{start}transfer-encoding: chunked\r\n\r\n".encode())
        with suppress(ConnectionError):
            for _ in range(LIMITS.message_bytes // 2**20 + 1):
                unsaid.sendall(mebibyte)
        assert unsaid.recv(1000).startswith(b"HTTP/1.1 413")


def test_a_token_has_so_many_calls_a_minute(services: ScriptedServices) -> None:
    with open_door(services, calls_per_minute=3) as door:
        replies = [httpx2.get(f"{door}/v1/policies") for _ in range(4)]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429]
    assert 0 < int(replies[-1].headers["retry-after"]) <= 20


def test_a_bucket_fills_again_evenly() -> None:
    now = 0.0
    rate = RateLimit(60, lambda: now)
    for _ in range(60):
        rate.take("ada")
    rate.take("ben")
    now = 1.0
    rate.take("ada")
    with pytest.raises(Exception, match="more than 60 calls"):
        rate.take("ada")


def test_of_a_hundred_generations_at_once_none_is_lost(door: str) -> None:
    with (
        httpx2.Client(timeout=60, limits=httpx2.Limits(max_connections=100)) as client,
        ThreadPoolExecutor(100) as callers,
    ):

        def paint_one(seed: int) -> int:
            reply = client.post(f"{door}/v1/images/generations", json={"prompt": "a harbor", "seed": seed}).json()
            return look(base64.b64decode(reply["data"][0]["b64_json"])).seed

        assert list(callers.map(paint_one, range(100))) == list(range(100))
