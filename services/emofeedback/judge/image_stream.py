"""The images of one AssessStream, read only while somebody sends them: a stream that is silent holds its place in vain.

Whoever has more to send later opens another stream then; the SDK does so by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from emofeedback import wire
from emofeedback.rpc.silence import FIRST_SECONDS, first_of, silent
from emofeedback.v1 import judge_pb2 as pb

IDLE_SECONDS = 30.0
"""Until the next image, counted from when all that have come are answered."""


class ImageStream:
    """What one caller sends."""

    def __init__(
        self,
        messages: AsyncIterator[pb.AssessStreamRequest],
        *,
        first_seconds: float = FIRST_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._messages = messages
        self._first_seconds = first_seconds
        self._idle_seconds = idle_seconds
        self._first: pb.AssessStreamRequest | None = None
        self._unanswered = 0
        self._idle_since = 0.0

    async def user(self) -> str | None:
        """The person whom the first message names, empty for none; None where there is no message.

        Raises:
            Unavailable: none came in time.
        """
        self._first = await first_of(self._messages, seconds=self._first_seconds)
        return None if self._first is None else self._first.user

    async def images(self) -> AsyncIterator[tuple[int, bytes]]:
        """The images under their keys, after `user`.

        Raises:
            InvalidRequest: one is empty, or for another person than the first.
            Unavailable: no further one came in time.
        """
        message = first = self._first
        while message is not None and first is not None:
            self._unanswered += 1
            yield wire.streamed_image_from_proto(message, first.user)
            message = await self._next()

    def answered(self) -> None:
        """An image is."""
        self._unanswered -= 1
        self._idle_since = time.monotonic()

    async def _next(self) -> pb.AssessStreamRequest | None:
        coming = asyncio.ensure_future(anext(self._messages, None))
        self._idle_since = time.monotonic()
        try:
            while True:
                left = self._idle_since + self._idle_seconds - time.monotonic()
                if self._unanswered:
                    left = self._idle_seconds
                elif left <= 0:
                    raise silent(self._idle_seconds)
                if (await asyncio.wait([coming], timeout=left))[0]:
                    return coming.result()
        finally:
            coming.cancel()
