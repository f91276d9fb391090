"""Chats with an engine, made of conversations and counted while they wait, whatever is asked in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from emofeedback.domain.assessment import Conversation, Decoding
from emofeedback.judge.decoding import read_in_turn
from emofeedback.judge.engines.base import Chat, VisionLanguageEngine, chat, expected_tokens, pictures
from emofeedback.judge.engines.completion import Completion
from emofeedback.observability.metrics import JUDGE_TOKENS, QUEUE_LENGTH


class Chats:
    """What a judge has under way with its engine."""

    def __init__(self, engine: VisionLanguageEngine, max_pixels: int) -> None:
        self._engine = engine
        self._max_pixels = max_pixels
        self._unanswered: Counter[str] = Counter()
        """By class."""
        self.pending_tokens = 0
        """Tokens that the chats which wait or are being answered cost at most (`expected_tokens`)."""

    async def prepared(self, conversation: Conversation, image_fields: Sequence[str]) -> Chat:
        """A conversation as the engine takes it.

        Args:
            image_fields: names, for errors, of the fields that hold its images, in reading order.

        Raises:
            InvalidRequest: an image is not a good one.
        """
        images = [
            await read_in_turn(data, field=field, max_pixels=self._max_pixels, then=lambda image: image)
            for data, field in zip(pictures(conversation), image_fields, strict=True)
        ]
        return chat(conversation, images)

    async def complete(
        self, kind: str, chats: Sequence[Chat], decoding: Decoding, *, top_logprobs: bool = False, pattern: str = ""
    ) -> list[Completion]:
        """The engine's replies to chats of a class, counted while they wait and when they are there."""
        with self.counted(kind, chats, decoding.max_new_tokens):
            replies = await self._engine.complete(chats, decoding, top_logprobs=top_logprobs, pattern=pattern)
        JUDGE_TOKENS.record(sum(reply.read for reply in replies), direction="read")
        JUDGE_TOKENS.record(sum(reply.written for reply in replies), direction="written")
        return replies

    @contextmanager
    def counted(self, kind: str, chats: Sequence[Chat], new_tokens: int) -> Iterator[None]:
        """Counts chats of a class as waiting, while they do."""
        tokens = sum(expected_tokens(chat, new_tokens) for chat in chats)
        self.pending_tokens += tokens
        self._unanswered[kind] += len(chats)
        QUEUE_LENGTH.record(self._unanswered[kind], kind=kind)
        try:
            yield
        finally:
            self.pending_tokens -= tokens
            self._unanswered[kind] -= len(chats)
            QUEUE_LENGTH.record(self._unanswered[kind], kind=kind)
