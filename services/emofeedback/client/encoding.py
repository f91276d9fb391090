"""Requests as messages. The service says what is out of its limits; here, only what a message can't even hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import Message

from emofeedback.domain.errors import InvalidRequest

Request = TypeVar("Request")
Encoded = TypeVar("Encoded", bound=Message)


def encoded(encode: Callable[[Request], Encoded], request: Request, check: Callable[[Request], None]) -> Encoded:
    """The request's message.

    Raises:
        InvalidRequest: a value doesn't fit its field, as a number past 64 bits or text that isn't Unicode.
    """
    try:
        return encode(request)
    except (TypeError, ValueError) as error:
        check(request)
        raise InvalidRequest.of("request", f"can't be sent: {error}") from error
