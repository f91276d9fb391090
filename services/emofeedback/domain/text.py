"""Prompts that are too long end where a phrase ends, or a word, and within one only where there is no other way. Words
that are not known have a nearest one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from math import ceil

_PHRASE_END = re.compile(
    r"[,.;:!?\n](?=\s|$)|[\u3001\u3002\uff0c\uff0e\uff1a\uff1b\uff01\uff1f]|\s[-\u2013\u2014](?=\s)"
)
"""Chinese and Japanese marks end a phrase without a blank behind them."""


_WORD_END = re.compile(r"\S(?=\s|$)")


_JOINER = "\u200d"


def shorten(text: str, fits: Callable[[str], bool]) -> str:
    """The longest beginning of `text` that fits and ends where a phrase or, failing that, a word ends.

    A phrase end is preferred as long as it keeps half of what a word end would keep, and a word end as long as it keeps
    half of what could be kept at all: text in a script without blanks is cut between two of its letters. Only where not
    even the first letter fits is the text left as it is.
    """
    if fits(text):
        return text
    by_letter = _longest([text[:end] for end in range(1, len(text)) if _is_letter_end(text, end)], fits)
    by_word = _longest([text[: match.end()] for match in _WORD_END.finditer(text)], fits)
    by_phrase = _longest([text[: match.start()].rstrip() for match in _PHRASE_END.finditer(text)], fits)
    if len(by_word) * 2 < len(by_letter):
        by_word = by_letter
    if len(by_phrase) * 2 >= len(by_word):
        return by_phrase or text
    return by_word.rstrip(" ,;:-\u2013\u2014\u3001\uff0c\uff1a\uff1b") or by_word


def _is_letter_end(text: str, end: int) -> bool:
    """Whether what a reader takes for one letter ends here: marks stay with what they stand on."""
    before, after = text[end - 1], text[end]
    return _JOINER not in (before, after) and not unicodedata.category(after).startswith("M")


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


_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")


def words(text: str) -> list[str]:
    """The words and numbers of a text in lower case, in order; an apostrophe within a word is part of it."""
    return _WORD.findall(text.lower())


_LETTERS_PER_TOKEN = 8


_TOKENS = re.compile(r"[A-Za-z0-9]+|[^\sA-Za-z0-9]")


def estimated_tokens(text: str) -> int:
    """About how many tokens a CLIP text encoder makes of the text, without its start and end tokens."""
    return sum(ceil(len(piece) / _LETTERS_PER_TOKEN) for piece in _TOKENS.findall(text))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest of the known words, as the end of a message about one that is not: "; did you mean 'fear'?"; empty
    where none is near."""
    plain = {each.casefold(): each for each in known}
    near = get_close_matches(word.casefold(), plain, n=1)
    return f"; did you mean {str(plain[near[0]])!r}?" if near else ""
