"""A language model at an address: what is sent, what comes back, what is tried again and what is kept."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from emofeedback.client.retries import RetryPolicy
from emofeedback.domain.assessment import Conversation, Decoding, Message
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest, Unauthenticated, Unavailable
from emofeedback_trainer.cli import main
from emofeedback_trainer.evaluation.language_model import ChatModel, Remembering
from support.fakes import ScriptedJudge, paint

QUICKLY = RetryPolicy(attempts=3, initial_backoff=0.001)
DECODING = Decoding(max_new_tokens=7, temperature=0.5, seed=3)


def said(text: str) -> Conversation:
    return (Message(role="user", parts=(text,)),)


class Endpoint(ThreadingHTTPServer):
    """Answers with what a test has put into `answers`, in order; then it repeats what it was told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: list[tuple[str, str | None, dict[str, Any]]] = []
        self.answers: list[tuple[int, str]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Endpoint)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.calls.append((self.path, self.headers["Authorization"], body))
        reply = {"choices": [{"message": {"content": f"heard: {body['messages'][0]['content']}"}}]}
        status, content = server.answers.pop(0) if server.answers else (200, json.dumps(reply))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def model(endpoint: Endpoint, token: str = "") -> ChatModel:
    return ChatModel(address=endpoint.address, name="a-model", token=token, retries=QUICKLY)


async def test_every_conversation_has_its_reply_in_order(endpoint: Endpoint) -> None:
    replies = await model(endpoint, "secret").converse([said(f"number {n}") for n in range(12)], DECODING)
    assert replies == [f"heard: number {n}" for n in range(12)]
    path, authorization, body = endpoint.calls[0]
    assert (path, authorization) == ("/v1/chat/completions", "Bearer secret")
    assert {name: body[name] for name in ("model", "max_tokens", "temperature", "seed")} == {
        "model": "a-model",
        "max_tokens": 7,
        "temperature": 0.5,
        "seed": 3,
    }


async def test_pictures_go_along_as_data(endpoint: Endpoint) -> None:
    png = paint("a dog", 1)
    await model(endpoint).converse([(Message(role="user", parts=(png, "What is it?")),)], DECODING)
    picture, text = endpoint.calls[0][2]["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is it?"}
    kind, data = picture["image_url"]["url"].split(",")
    assert kind == "data:image/png;base64" and base64.b64decode(data) == png


async def test_a_busy_endpoint_is_asked_again(endpoint: Endpoint) -> None:
    endpoint.answers = [(503, "starting"), (429, "slowly")]
    assert await model(endpoint).converse([said("hello")], DECODING) == ["heard: hello"]
    assert len(endpoint.calls) == 3


@pytest.mark.parametrize(
    ("answer", "error", "problem", "calls"),
    [
        ((503, "down"), Unavailable, "answers 503: down", 3),
        ((401, "no"), Unauthenticated, "EMOFEEDBACK_LANGUAGE_MODEL_TOKEN", 1),
        ((404, "no such model"), FailedPrecondition, "answers 404: no such model", 1),
        ((302, ""), FailedPrecondition, "answers 302", 1),
        ((200, '{"choices": []}'), FailedPrecondition, "answers in another form", 1),
    ],
)
async def test_what_an_endpoint_refuses_is_told(
    answer: tuple[int, str], error: type[Exception], problem: str, calls: int, endpoint: Endpoint
) -> None:
    endpoint.answers = [answer] * 3
    with pytest.raises(error, match=problem):
        await model(endpoint).converse([said("hello")], DECODING)
    assert len(endpoint.calls) == calls


async def test_nobody_at_the_address_is_told(endpoint: Endpoint) -> None:
    nobody = ChatModel(address="http://127.0.0.1:9/v1", name="a-model", retries=RetryPolicy(attempts=1))
    with pytest.raises(Unavailable, match="can't be reached"):
        await nobody.converse([said("hello")], DECODING)


def test_a_token_is_in_no_message() -> None:
    assert "secret" not in repr(ChatModel(address="http://127.0.0.1:9/v1", name="a-model", token="secret"))


def test_answers_in_prose_are_read_and_a_description_is_marked_five_times_by_the_model_at_an_address(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = {"question_type": "Yes-or-No", "options": {"A": "No.", "B": "Yes."}, "correct_answer": "B"}
    opened = {"question_type": "Open_ended", "question": "How do they differ?", "correct_answer": "One is sad."}
    responses = tmp_path / "ours.json"
    rows = [
        {**closed, "response": "B"},
        {**closed, "response": "One might well say so."},
        {**opened, "response": "The second is sad."},
    ]
    responses.write_text(json.dumps(rows))
    said = ["B", *(json.dumps({"overall": mark}) for mark in (2, 2, 1, 2, 2))]
    endpoint.answers = [(200, json.dumps({"choices": [{"message": {"content": text}}]})) for text in said]
    words = ["--responses", str(responses), "--by", endpoint.address, "--by-model", "a-model", "--json"]
    assert main(["evaluate", "eemo-bench", *words]) == 0
    found = json.loads(capsys.readouterr().out)
    perception, description = found["perception"], found["description"]
    assert (perception["Yes-or-No"], perception["unparsed"]) == (50, 1)
    assert (perception["by_language_model"]["Yes-or-No"], perception["by_language_model"]["unparsed"]) == (100, 0)
    assert (description["score"]["value"], description["agreement"]["value"]) == (90, 60)
    assert [call[2]["seed"] for call in endpoint.calls[1:]] == [0, 1, 2, 3, 4]
    assert found["provenance"]["models"][1]["name"] == "a-model"


async def test_what_was_said_is_kept_and_asked_for_again_only_in_another_way(tmp_path: Path) -> None:
    judge = ScriptedJudge()
    first = await Remembering(judge, tmp_path / "kept.jsonl").converse([said("a"), said("b"), said("a")], DECODING)
    assert first[0] == first[2] != first[1] and len(judge.conversations) == 2
    kept = Remembering(judge, tmp_path / "kept.jsonl")
    assert await kept.converse([said("b"), said("a")], DECODING) == [first[1], first[0]]
    assert len(judge.conversations) == 2
    await kept.converse([said("a")], Decoding(max_new_tokens=7, temperature=0.5, seed=4))
    assert len(judge.conversations) == 3


def test_a_file_of_something_else_is_no_memory(tmp_path: Path) -> None:
    (tmp_path / "kept.jsonl").write_text('{"key": "k"}\n')
    with pytest.raises(InvalidRequest, match=r"kept\.jsonl line 1: is no kept reply"):
        Remembering(ScriptedJudge(), tmp_path / "kept.jsonl")
