"""How much one caller may have under way, so that its calls leave room for those of others.

Calls are counted by application: those that wait for the generator take no place of those for the judge, which would
else be as slow, nor of those that the optimizer makes of both.

A caller is a peer, whatever its ports: behind a gateway that is the gateway, so the limits are wide as they stand.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from emofeedback.domain.errors import FailedPrecondition, ResourceExhausted
from emofeedback.rpc.line import Line

CALLS_VARIABLE = "EMOFEEDBACK_CALLER_CALLS"
"""Environment variable; calls of one caller under way at once, for each application."""
MEBIBYTES_VARIABLE = "EMOFEEDBACK_CALLER_MIB"
"""Environment variable; MiB of one caller's requests under way."""


@dataclass(frozen=True, kw_only=True)
class CallerLimits:
    """Of one caller, in one proxy."""

    calls: int = 256
    """Under way at once for each application, those that wait in the services included."""
    message_bytes: int = 512 * 1024 * 1024
    """Of requests that are under way, from when they are read to the end of their calls."""

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> CallerLimits:
        """As the environment says. Raises `FailedPrecondition` where it holds no such number."""
        return cls(
            calls=_number(environment, CALLS_VARIABLE, cls.calls),
            message_bytes=_number(environment, MEBIBYTES_VARIABLE, cls.message_bytes >> 20) << 20,
        )


def _number(environment: Mapping[str, str], name: str, otherwise: int) -> int:
    text = environment.get(name, "")
    if not text:
        return otherwise
    if not text.isdecimal() or int(text) < 1:
        raise FailedPrecondition(f"{name} is {text!r} in the environment, it must be a whole number from 1 on")
    return int(text)


def peer_name(context: Any) -> str:
    """Who makes a call of `grpc.aio` or of Ray: the peer without its port."""
    return str(context.peer() or "").rpartition(":")[0]


class Places:
    """What the callers of one server have under way."""

    def __init__(self, limits: CallerLimits) -> None:
        self._limits = limits
        self._lines: dict[tuple[str, str], Line] = {}
        """By caller and application, as long as there is something in them."""
        self._bytes: Counter[str] = Counter()

    @contextmanager
    def taken(self, caller: str, application: str, client: str) -> Iterator[None]:
        """One call; see `Line.place`. Raises `ResourceExhausted` where the caller has as many as it may."""
        line = self._lines.get((caller, application))
        if line is None:
            self._lines = {key: line for key, line in self._lines.items() if not line.idle}
            line = self._lines[caller, application] = Line(self._limits.calls)
        with line.place(client):
            yield

    @contextmanager
    def weighed(self, caller: str, size: int) -> Iterator[None]:
        """A message of so many bytes. Raises `ResourceExhausted` where the caller has too many beside it; one that is
        alone always passes."""
        under_way, most = self._bytes[caller], self._limits.message_bytes
        if under_way and under_way + size > most:
            raise ResourceExhausted(f"{under_way:,} bytes of this caller's requests are under way, {most:,} may be")
        with _counted(self._bytes, caller, size):
            yield


@contextmanager
def _counted(counter: Counter[str], caller: str, amount: int) -> Iterator[None]:
    counter[caller] += amount
    try:
        yield
    finally:
        counter[caller] -= amount
        if not counter[caller]:
            del counter[caller]
