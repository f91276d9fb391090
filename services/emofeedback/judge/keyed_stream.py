"""What comes in one AssessStream (or AskStream, or DescribeStream) under keys, read only while somebody sends it: a
stream that is silent holds its place in vain.

Whoever has more to send later opens another stream then; the SDK does so by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

from emofeedback.rpc.silence import FIRST_SECONDS, first_of, silent

Request = TypeVar("Request")
Item = TypeVar("Item")

IDLE_SECONDS = 30.0
"""Until the next item, counted from when all that have come are answered."""


class KeyedStream(Generic[Request]):
    """What one caller sends."""

    def __init__(
        self,
        messages: AsyncIterator[Request],
        *,
        first_seconds: float = FIRST_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._messages = messages
        self._first_seconds = first_seconds
        self._idle_seconds = idle_seconds
        self._first: Request | None = None
        self._unanswered = 0
        self._idle_since = 0.0

    async def first(self) -> Request | None:
        """The first message, which stays the first of `items`; None where there is none.

        Raises:
            Unavailable: none came in time.
        """
        self._first = await first_of(self._messages, seconds=self._first_seconds)
        return self._first

    async def items(self, read: Callable[[Request], tuple[int, Item]]) -> AsyncIterator[tuple[int, Item]]:
        """The items under their keys, after `first`.

        Raises:
            InvalidRequest: `read` refuses one.
            Unavailable: no further one came in time.
        """
        message = self._first
        while message is not None:
            self._unanswered += 1
            yield read(message)
            message = await self._next()

    def answered(self) -> None:
        """An item is."""
        self._unanswered -= 1
        self._idle_since = time.monotonic()

    async def _next(self) -> Request | None:
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
