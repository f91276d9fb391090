"""What a language model's reply is made of, whichever engine decoded it.

Both engines fill the same records (transformers from its scores, vLLM from `SamplingParams(logprobs=20)`), so
one parser reads both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TOP_TOKENS = 20
"""How many alternatives an engine reports at a position; the nine ratings and the eight emotions fit in."""


@dataclass(frozen=True)
class TokenChoice:
    """One decoded token and what else could have stood in its place."""

    text: str
    top: Mapping[str, float]
    """Natural log-probabilities of the `TOP_TOKENS` likeliest tokens here, by their decoded text."""


@dataclass(frozen=True)
class Completion:
    """One reply."""

    text: str
    tokens: tuple[TokenChoice, ...]
    """In order; joined, their texts are `text`."""
    finished: bool
    """False where the reply was cut at the token limit."""
    read: int = 0
    """Tokens of the chat, those of its pictures included."""
    written: int = 0
    """Tokens of the reply, without the one that ends it."""
    finite: bool = True
    """False where a token was chosen from scores of NaN or infinity: the reply says nothing."""
    surprise: float | None = None
    """The judge's largest at a picture of the chat, in bits (`judge.domain.Domain.surprise`); None without a picture,
    or where the engine can't tell."""
