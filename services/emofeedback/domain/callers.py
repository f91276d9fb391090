"""Who calls, and how urgent it is: what an engine needs to know to be fair, and a request doesn't say.

It travels beside the call, as its metadata does: set where a call comes in, and inherited by the tasks that work on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Literal, get_args

from emofeedback.domain.errors import InvalidRequest

Priority = Literal["interactive", "batch", "trajectories"]
"""Somebody waits for it; nobody does, a result is wanted; a learner's pictures."""

PRIORITY_KEY = "priority"
"""Metadata of a call that holds a `Priority`."""

CLIENT_KEY = "client"
"""Metadata of a call that tells the clients at one address apart: any text that another one doesn't send."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Of one call."""

    name: str = ""
    """Where it comes from; calls of one name share what a caller gets."""
    call: str = ""
    """Tells one call of a caller from the others."""
    priority: Priority | None = None
    """None where it says nothing: then the kind of the call does."""


_NOBODY = Caller()
_CALLER: ContextVar[Caller] = ContextVar("caller", default=_NOBODY)


def calling() -> Caller:
    """Who called for what is being done here; nobody in particular where no call came in."""
    return _CALLER.get()


def called_by(caller: Caller) -> None:
    """From here on, what this task does is for the caller."""
    _CALLER.set(caller)


@contextmanager
def at_priority(priority: Priority) -> Iterator[None]:
    """What is called within the context is so urgent."""
    token = _CALLER.set(replace(calling(), priority=priority))
    try:
        yield
    finally:
        _CALLER.reset(token)


def priority_from(text: str) -> Priority | None:
    """What a call's metadata says; None where it says nothing.

    Raises:
        InvalidRequest: it is no priority.
    """
    if not text:
        return None
    known: tuple[Priority, ...] = get_args(Priority)
    for priority in known:
        if text == priority:
            return priority
    raise InvalidRequest.of(PRIORITY_KEY, f"is {text[:50]!r}, it must be one of {', '.join(known)}")
