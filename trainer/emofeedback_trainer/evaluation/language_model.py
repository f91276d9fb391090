"""A language model that gives its opinion: any at an address that speaks OpenAI's chat completions, or our own judge.

Both converse, so a measurement never asks which it has. What was said is kept in a file as it comes, a line each, and
is not asked for again: matching and adjudicating take thousands of replies.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from emofeedback.client.retries import RetryPolicy
from emofeedback.domain.assessment import Conversation, Decoding, Message
from emofeedback.domain.errors import (
    EmoFeedbackError,
    FailedPrecondition,
    InvalidRequest,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from emofeedback.domain.generation import ModelInfo
from emofeedback.judge.images import opened
from emofeedback.storage.texts import read_lines
from emofeedback_trainer.core.jsonl import add_line, drop_cut_line

LANGUAGE_MODEL_TOKEN = "EMOFEEDBACK_LANGUAGE_MODEL_TOKEN"
"""Environment variable that holds the bearer token of a language model at an address."""

_SECONDS = 300.0
"""Within which a reply must come."""
_BYTES = 1 << 22
"""Of an answer that are read: a reply is a few kilobytes."""
_AT_ONCE = 8
_TOLD = 200
"""Characters of a server's refusal that a message repeats."""


class Converses(Protocol):
    """What replies to conversations; every `Judge` does."""

    async def converse(self, conversations: Sequence[Conversation], decoding: Decoding) -> list[str]:
        """The model's reply to each conversation."""
        ...

    async def model(self) -> ModelInfo:
        """Which model that is."""
        ...


@dataclass(frozen=True, kw_only=True)
class ChatModel:
    """A model behind an HTTP endpoint of OpenAI's form, such as vLLM, Ollama or a provider has.

    Raises:
        InvalidRequest: the address is none, or the model has no name.
    """

    address: str
    """Up to the version, without the call: `http://127.0.0.1:8000/v1`."""
    name: str
    """Of the model, as the endpoint knows it."""
    token: str = field(default="", repr=False)
    retries: RetryPolicy = field(default_factory=lambda: RetryPolicy(initial_backoff=1.0, maximum_backoff=60.0))

    def __post_init__(self) -> None:
        parts = urlsplit(self.address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidRequest.of(
                "by", f"is {self.address!r}, it must be an address such as http://127.0.0.1:8000/v1"
            )
        if not self.name:
            raise InvalidRequest.of("by_model", "is missing: which of the models at the address is to be asked?")

    async def converse(self, conversations: Sequence[Conversation], decoding: Decoding) -> list[str]:
        """The model's reply to each conversation, eight at a time.

        Raises:
            Unauthenticated: the token is missing or wrong.
            FailedPrecondition: the endpoint refuses the call, or answers in another form.
            Unavailable, ResourceExhausted: it can't be reached or has too much to do, after as many tries as `retries`
                allows.
        """
        turns = asyncio.Semaphore(_AT_ONCE)

        async def one(conversation: Conversation) -> str:
            async with turns:
                return await self._asked(self._body(conversation, decoding))

        return await asyncio.gather(*map(one, conversations))

    async def model(self) -> ModelInfo:
        """Its name; nobody knows its weights."""
        return ModelInfo(name=self.name, digest="")

    def _body(self, conversation: Conversation, decoding: Decoding) -> bytes:
        return json.dumps(
            {
                "model": self.name,
                "messages": [{"role": message.role, "content": _content(message)} for message in conversation],
                "max_tokens": decoding.max_new_tokens,
                "temperature": decoding.temperature,
                "seed": decoding.seed,
            }
        ).encode()

    async def _asked(self, body: bytes) -> str:
        failures = 0
        while True:
            try:
                return await asyncio.to_thread(self._post, body)
            except EmoFeedbackError as error:
                failures += 1
                if not self.retries.allows(error, failures=failures, waited=0):
                    raise
                await asyncio.sleep(self.retries.pause(failures, error))

    def _post(self, body: bytes) -> str:
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self.token}"} if self.token else {}
        )
        request = urllib.request.Request(f"{self.address.rstrip('/')}/chat/completions", body, headers)
        try:
            with _OPENER.open(request, timeout=_SECONDS) as answer:
                return _reply(answer.read(_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error) from error
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"{self.address} can't be reached: {error}") from error

    def _refused(self, error: urllib.error.HTTPError) -> EmoFeedbackError:
        said = error.read(_BYTES).decode(errors="replace")[:_TOLD]
        message = f"{self.address} answers {error.code}: {said or error.reason}"
        if error.code in (401, 403):
            return Unauthenticated(f"{message} (the token is read from {LANGUAGE_MODEL_TOKEN})")
        if error.code == 429:
            seconds = error.headers.get("Retry-After", "")
            return ResourceExhausted(message, retry_after=float(seconds) if seconds.isdecimal() else None)
        return Unavailable(message) if error.code >= 500 else FailedPrecondition(message)


class Remembering:
    """A model whose replies are kept in a file, so that the same question is asked once."""

    def __init__(self, model: Converses, path: Path) -> None:
        """Takes up a file of earlier replies; a last line that was cut off is taken out of it.

        Raises:
            InvalidRequest: a line of the file is no reply.
            FailedPrecondition: the file can't be written.
        """
        self._model, self._path = model, path
        drop_cut_line(path)
        self._known: dict[str, str] = {}
        for number, line in read_lines(path) if path.exists() else ():
            try:
                entry = json.loads(line)
                self._known[str(entry["key"])] = str(entry["reply"])
            except (LookupError, TypeError, ValueError) as error:
                raise InvalidRequest.of(f"{path} line {number}", "is no kept reply: name another file") from error

    async def converse(self, conversations: Sequence[Conversation], decoding: Decoding) -> list[str]:
        """As the model's own, for those that were not asked before; each batch is kept before the next is asked."""
        info = await self._model.model()
        keys = [_key(info, conversation, decoding) for conversation in conversations]
        new = {key: one for key, one in zip(keys, conversations, strict=True) if key not in self._known}
        for start in range(0, len(new), _AT_ONCE):
            some = list(new.items())[start : start + _AT_ONCE]
            replies = await self._model.converse([conversation for _, conversation in some], decoding)
            self._keep({key: reply for (key, _), reply in zip(some, replies, strict=True)})
        return [self._known[key] for key in keys]

    async def model(self) -> ModelInfo:
        """The model's own."""
        return await self._model.model()

    def _keep(self, replies: dict[str, str]) -> None:
        self._known |= replies
        self._path.parent.mkdir(parents=True, exist_ok=True)
        for key, reply in replies.items():
            add_line(self._path, {"key": key, "reply": reply})


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected call would carry the token to wherever the first address says."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def _content(message: Message) -> str | list[dict[str, Any]]:
    """A message's parts; as one text where there is no picture, which every endpoint takes."""
    if all(isinstance(part, str) for part in message.parts):
        return "\n".join(str(part) for part in message.parts)
    return [
        {"type": "image_url", "image_url": {"url": _data_url(part)}}
        if isinstance(part, bytes)
        else {"type": "text", "text": str(part)}
        for part in message.parts
    ]


def _data_url(image: bytes) -> str:
    kind = opened(image, field="image").format or "PNG"
    return f"data:image/{kind.lower()};base64,{base64.b64encode(image).decode()}"


def _reply(body: bytes) -> str:
    try:
        reply = json.loads(body)["choices"][0]["message"]["content"]
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        said = body[:_TOLD].decode(errors="replace")
        raise FailedPrecondition(f"the language model's endpoint answers in another form: {said}") from error
    return reply if isinstance(reply, str) else ""


def _key(info: ModelInfo, conversation: Conversation, decoding: Decoding) -> str:
    """What a reply belongs to: the model, all that was said to it, and how its reply was sampled."""
    said = [
        (
            message.role,
            [hashlib.sha256(part).hexdigest() if isinstance(part, bytes) else str(part) for part in message.parts],
        )
        for message in conversation
    ]
    content = (info.name, info.digest, info.policy, said, decoding.max_new_tokens, decoding.temperature, decoding.seed)
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
