"""Calls whose caller sends a stream, and sends nothing: they must not hold a place for work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from emofeedback.domain.errors import Unavailable

Message = TypeVar("Message")

FIRST_SECONDS = 10.0
"""Until a stream's first message."""


async def first_of(messages: AsyncIterator[Message], *, seconds: float = FIRST_SECONDS) -> Message | None:
    """The first message; None where the stream ends without one.

    Raises:
        Unavailable: none came in time.
    """
    try:
        async with asyncio.timeout(seconds):
            return await anext(messages, None)
    except TimeoutError:
        raise silent(seconds) from None


def silent(seconds: float) -> Unavailable:
    """How a stream ends that nobody sends anything on."""
    return Unavailable(f"nothing was sent for {seconds:g} s; open another stream when there is something to send")
