"""What a language model's reply is made of, whichever engine decoded it.

Both engines fill the same records (transformers from its scores, vLLM from `SamplingParams(logprobs=20)`), so
one parser reads both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

TOP_TOKENS = 20
"""How many alternatives an engine reports at a position; the nine ratings and the eight emotions fit in."""

NOT_FINITE = "the judge gives NaN or infinity: its weights are damaged, or overflow"
"""What is wrong with a reply that is not `Completion.finite`, whatever it says: a model of NaN may well write a rating,
and be sure of it."""
_QUOTED_CHARACTERS = 80


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

    def tokens_from(self, offset: int) -> Iterator[TokenChoice]:
        """The token that holds a character of the text, and those behind it; none where the engine didn't say any."""
        end = 0
        for token in self.tokens:
            end += len(token.text)
            if offset < end:
                yield token

    def told(self, problem: str) -> str:
        """What is wrong with the reply, with its beginning for the reader of the log."""
        reply = quoted(self.text)
        cut = "" if self.finished else ", cut at the token limit"
        return f"{problem} (reply: {reply}{cut})" if self.text.strip() else f"{problem} (no reply)"


def quoted(text: str) -> str:
    """A text's beginning in one line and in quotes."""
    line = " ".join(text.split())
    return repr(line if len(line) <= _QUOTED_CHARACTERS else line[:_QUOTED_CHARACTERS] + "…")
