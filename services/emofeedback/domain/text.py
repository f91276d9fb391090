"""A prompt that is too long ends where a phrase ends, never in the middle of a word."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import ceil

_PHRASE_END = re.compile(r"[,.;:!?\n](?=\s|$)|\s[-\u2013\u2014](?=\s)")


_WORD_END = re.compile(r"\S(?=\s|$)")


def shorten(text: str, fits: Callable[[str], bool]) -> str:
    """The longest beginning of `text` that fits and ends where a phrase or, failing that, a word ends.

    A phrase end is preferred as long as it keeps half of what a word end would keep. A single word that does not fit
    is left as it is, for the tokenizer to cut.
    """
    if fits(text):
        return text
    by_word = _longest([text[: match.end()] for match in _WORD_END.finditer(text)], fits)
    by_phrase = _longest([text[: match.start()].rstrip() for match in _PHRASE_END.finditer(text)], fits)
    if len(by_phrase) * 2 >= len(by_word):
        return by_phrase or text
    return by_word.rstrip(" ,;:-\u2013\u2014")


def _longest(beginnings: list[str], fits: Callable[[str], bool]) -> str:
    """The last beginning that fits (they grow), found by bisection."""
    low, high = 0, len(beginnings)
    while low < high:
        middle = (low + high) // 2
        if fits(beginnings[middle]):
            low = middle + 1
        else:
            high = middle
    return beginnings[low - 1] if low else ""


def one_line(text: str) -> str:
    return " ".join(text.split())


_LETTERS_PER_TOKEN = 8


_TOKENS = re.compile(r"[A-Za-z0-9]+|[^\sA-Za-z0-9]")


def estimated_tokens(text: str) -> int:
    """About how many tokens a CLIP text encoder makes of the text, without its start and end tokens."""
    return sum(ceil(len(piece) / _LETTERS_PER_TOKEN) for piece in _TOKENS.findall(text))
