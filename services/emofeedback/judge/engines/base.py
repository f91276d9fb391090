"""What a vision-language engine is, and what every engine shares: chats in, completions out.

An engine takes the chats of many callers at once and batches them in its own way, so those who call it need not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from emofeedback.domain.assessment import ControlTokens, Conversation, Decoding
from emofeedback.judge.engines.completion import Completion, TokenChoice
from emofeedback.judge.images import read_image
from emofeedback.judge.prompts import reason_token, variation_token
from emofeedback.storage.checkpoints import fetch

CHECKPOINT_MARKER = "config.json"
"""The file that every vision-language checkpoint has."""
MODEL_TYPE = "qwen2_5_vl"
"""What it says there. Of another model transformers would load what fits and draw the rest at random."""
PROCESSOR_ADVICE = "save the processor that the model was made with beside its weights"
"""What to do where a checkpoint lacks what makes tokens of texts or pictures."""
CHECKPOINT_FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja")
"""What is fetched of it; nothing that would have to be unpickled."""

_PIXELS_PER_TOKEN = 28 * 28
"""What one image token of Qwen2.5-VL stands for: two by two patches of 14 pixels."""
_CHARACTERS_PER_TOKEN = 4
"""What one text token stands for in English, roughly."""


def fetch_checkpoint(checkpoint: str) -> Path:
    """The local folder of a vision-language checkpoint, by hub id or folder.

    Raises:
        FailedPrecondition: it can't be had, or is of another kind.
    """
    return fetch(checkpoint, CHECKPOINT_MARKER, CHECKPOINT_FILES, MODEL_TYPE)


@dataclass(frozen=True)
class Chat:
    """A conversation whose pictures are decoded."""

    messages: tuple[Mapping[str, Any], ...]
    """As chat templates read them: `{"role": ..., "content": [{"type": "image"}, {"type": "text", "text": ...}]}`."""
    images: tuple[Image, ...]
    """RGB, in reading order; one for each `{"type": "image"}`."""


@dataclass(frozen=True)
class OwnTokens:
    """Ids of the tokens that a judge reasons in: it reads them and never writes one."""

    reasons: tuple[int, ...] = ()
    """In order; none in a checkpoint that hasn't learned any."""
    variations: tuple[int, ...] = ()
    """Of the imaginations of one feeling that it has learned to tell apart, in order."""

    @classmethod
    def of(cls, tokenizer: Any) -> OwnTokens:
        """Those that a checkpoint's tokenizer knows."""
        vocabulary: Mapping[str, int] = tokenizer.get_added_vocab()

        def known(name: Callable[[int], str]) -> tuple[int, ...]:
            return tuple(vocabulary[token] for token in takewhile(vocabulary.__contains__, map(name, count())))

        return cls(known(reason_token), known(variation_token))

    @property
    def all(self) -> tuple[int, ...]:
        return self.reasons + self.variations


class VisionLanguageEngine(Protocol):
    """Completes chats about pictures."""

    own: OwnTokens
    """What the checkpoint reasons in; no reply holds one of them."""

    async def complete(
        self, chats: Sequence[Chat], decoding: Decoding, *, top_logprobs: bool = False, pattern: str = ""
    ) -> list[Completion]:
        """The reply to each chat, in their order; a cancelled call stops costing anything soon.

        Args:
            top_logprobs: fill `Completion.tokens`, with the likeliest alternatives at each position, whether the
                pattern allows them or not.
            pattern: a regular expression that the whole reply matches, where the engine can hold it to one; empty:
                any reply. Who asks reads the reply leniently all the same.

        Raises:
            InvalidRequest: a chat is longer than what the model reads.
        """
        ...

    async def states(self, chats: Sequence[Chat]) -> list[NDArray[np.float32]]:
        """What the model has in mind at its reasoning tokens, shape (tokens, width), of each chat in their order.

        Every chat ends its user's turn with all of them. A cancelled call stops costing anything soon.

        Raises:
            InvalidRequest: a chat is longer than what the model reads.
            FailedPrecondition: the engine keeps its model's states to itself.
        """
        ...

    def close(self) -> None:
        """Frees the model; calls that still wait are cancelled."""
        ...


def prepare(conversation: Conversation, image_fields: Sequence[str], max_pixels: int) -> Chat:
    """A conversation as an engine takes it.

    Args:
        image_fields: names, for errors, of the fields that hold its images, in reading order.
        max_pixels: larger pictures are scaled down to this.

    Raises:
        InvalidRequest: an image is not a good one.
    """
    named = zip(pictures(conversation), image_fields, strict=False)
    return chat(conversation, [read_image(data, field=field, max_pixels=max_pixels) for data, field in named])


def pictures(conversation: Conversation) -> list[bytes]:
    """The images of a conversation, encoded, in reading order."""
    return [part for message in conversation for part in message.parts if isinstance(part, bytes)]


def chat(conversation: Conversation, images: Sequence[Image]) -> Chat:
    """A conversation as an engine takes it, its images already decoded."""
    messages: list[Mapping[str, Any]] = [
        {"role": message.role, "content": [_content(part) for part in message.parts]} for message in conversation
    ]
    return Chat(tuple(messages), tuple(images))


def _content(part: str | bytes | ControlTokens) -> Mapping[str, str]:
    match part:
        case bytes():
            return {"type": "image"}
        case ControlTokens():
            return {"type": "text", "text": "".join(part.names)}
        case str():
            return {"type": "text", "text": _without_control_tokens(part)}


def expected_tokens(chat: Chat, new_tokens: int) -> int:
    """Tokens that a chat costs at most, near enough to weigh one against another before any tokenizer has seen it.

    Args:
        new_tokens: of its reply, at most.
    """
    pixels = sum(image.width * image.height for image in chat.images)
    characters = sum(len(part.get("text", "")) for message in chat.messages for part in message["content"])
    return pixels // _PIXELS_PER_TOKEN + characters // _CHARACTERS_PER_TOKEN + new_tokens


def _without_control_tokens(text: str) -> str:
    """Text that can't end its own turn or claim an image, as `<|im_end|>` and `<|image_pad|>` in a prompt would."""
    return text.replace("<|", "< |")


class Detokenizer:
    """Token ids as the texts that people and parsers read."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._texts: dict[int, str] = {}

    def completion(
        self, ids: Sequence[int], tops: Sequence[Mapping[int, float]], *, finished: bool, read: int, finite: bool
    ) -> Completion:
        """A reply.

        Args:
            ids: its tokens, without the one that ends it.
            tops: log-probabilities of the likeliest token ids at each position; empty where nobody asked.
            read: tokens of the chat that it answers.
            finite: whether the scores that its tokens were chosen from are numbers.
        """
        tokens = tuple(
            TokenChoice(text, {self._text(id): logprob for id, logprob in top.items()})
            for text, top in zip(self._pieces(ids), tops, strict=False)
        )
        return Completion(self._decode(ids), tokens, finished, read, len(ids), finite)

    def _pieces(self, ids: Sequence[int]) -> list[str]:
        """The text that each token adds; a character made of several tokens counts for its last one."""
        pieces: list[str] = []
        waiting: list[int] = []
        for id in ids:
            waiting.append(id)
            text = self._decode(waiting) if len(waiting) > 1 else self._text(id)
            if text.endswith("\ufffd"):
                pieces.append("")
            else:
                pieces.append(text)
                waiting.clear()
        return pieces

    def _text(self, id: int) -> str:
        if id not in self._texts:
            self._texts[id] = self._decode([id])
        return self._texts[id]

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def encode(tokenizer: Any, chat: Chat) -> list[int]:
    """The chat's token ids by the checkpoint's own chat template, with one placeholder for each image."""
    text = tokenizer.apply_chat_template(list(chat.messages), tokenize=False, add_generation_prompt=True)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids
