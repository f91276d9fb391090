"""EmoFeedback: pictures that make people feel what you asked for.

The names below load on first use, so that importing a part costs nothing more, and the SDK needs only gRPC.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emofeedback.client import AsyncClient, Client, Creation, Deadlines, Keepalive, RetryPolicy
    from emofeedback.domain.affect import AffectPoint, Emotion

__all__ = [
    "AffectPoint",
    "AsyncClient",
    "Client",
    "Creation",
    "Deadlines",
    "Emotion",
    "Keepalive",
    "RetryPolicy",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        home = "domain.affect" if name in ("AffectPoint", "Emotion") else "client"
        return getattr(import_module(f"emofeedback.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
