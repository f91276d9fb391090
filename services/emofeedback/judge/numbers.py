"""The number that somebody means who writes a rating: that one, or none.

`6.5`, `6,5`, `6.5/9`, `6.5 out of 9`, `6.5 points` and `[6.5]` are the same rating. A range, a share of another scale,
a bound, two numbers of which neither is the rating: nobody knows what is meant, and a wrong number is worse than none,
as it would be a loss or a reward. Texts are plain ones (`replies.plain`).
"""

from __future__ import annotations

import math
import re

from emofeedback.domain.replies import answer

_NINE = r"(?:9(?:[.,]0+)?(?![0-9]|[.,][0-9])|nine\b)"
_SILENT = re.compile(
    rf"(?:/|\b(?:out\s+)?of\b)\s*(?:a\s+maximum\s+of\s*)?{_NINE}"
    rf"|(?<![0-9.,/-])1(?:[.,]0+)?\s*(?:-|to|and|through|\.\.+)\s*{_NINE}(?!\s*/)"
    r"|\b(?:nine|9)-(?:point|step)\b|\b(?:float|int)[0-9]{1,3}\b|<[/|]?[a-z][^<>]{0,40}>",
    re.IGNORECASE,
)
"""What says nothing about the rating though it may hold a digit: the scale of nine, a number's type, a tag."""
_NUMBER = re.compile(
    r"(?<![\w.,/^-])[+-]?[0-9]{1,20}(?:[.,][0-9]{1,40})?(?:e[+-]?[0-9]{1,3})?(?=pts?\b|points?\b|[^a-z0-9]|$)",
    re.IGNORECASE,
)
_OTHERWISE = re.compile(
    r"[%\u2030\u00b1<>\u2264\u2265]|[0-9]\s*\+|\bper\s?cent|\bout\s+of\b|/\s*(?:[a-z]|$)|\bten\b|\bhundred\b|\bhalf\b"
    r"|\b(?:less|more|greater|fewer|higher|lower|other)\s+than\b|\bat\s+(?:least|most)\b|\b(?:not|n't)\s+(?:an?\s+)?[0-9]"
    r"|\b(?:above|below|over|under)\s+(?:the\s|[0-9])",
    re.IGNORECASE,
)
"""What makes another number of the one that is written: a bound, a percentage, another scale, a negation."""
_END_OF_VALUE = re.compile(
    r"[;}<\n|\"']|,(?!\s*+[0-9])|\.(?!\s*+[0-9]|[a-z])|\b[a-z_]\w*+[\s\"'*]*+[:=]", re.IGNORECASE
)
_DRESS = re.compile(r"[\s\"'(\[*]*+")
_BEFORE = re.compile(
    r"(?:[\W_]|\b(?:about|around|approximately|roughly|circa|array|tensor|np|numpy|(?:float|int)[0-9]{1,3})\b)*",
    re.IGNORECASE,
)
_MOST = 200
"""Characters that a rating's own text is looked for in: more is an essay, not a value."""


def value_span(text: str, start: int) -> tuple[int, int]:
    """Where the value of a field lies whose colon ends before `start`: to the next key, quote, sentence or line."""
    begin = _DRESS.match(text, start).end()  # type: ignore[union-attr]  # it may be empty, so it always matches
    end = _END_OF_VALUE.search(text, begin, begin + _MOST)
    return begin, end.start() if end else min(len(text), begin + _MOST)


def rating_in(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Where in `text[start:end]`, a field's value, its number stands; None where it has none that is surely meant."""
    found = _only_number(_hidden(_SILENT, text[start:end]))
    if found is None or not _BEFORE.fullmatch(text, start, start + found.start()):
        return None
    return start + found.start(), start + found.end()


def number(written: str) -> float:
    """The value of a number that this module found; a comma is a decimal one. NaN where it is beyond all bounds."""
    value = float(written.replace(",", "."))
    return value if math.isfinite(value) else math.nan


def stated_number(reply: str, name: str) -> float | None:
    """The number that a reply gives as its answer, on whatever scale; None where none or no single one is meant.

    That of the last field of the name, such as `dominance: 4.5`, else a number in a line of its own, else the only one.
    """
    said = answer(reply)
    if fields := list(re.finditer(rf"\b{name}\b[\s\"'*]*+[:=]", said, re.IGNORECASE)):
        span = rating_in(said, *value_span(said, fields[-1].end()))
        written = said[slice(*span)] if span else ""
    else:
        lines = [line for line in said.splitlines() if re.search(r"[0-9]", line) and not re.search(r"[^\W\d_]", line)]
        found = _only_number(_hidden(_SILENT, "\n".join(lines) or said))
        written = found[0] if found else ""
    value = number(written) if written else math.nan
    return None if math.isnan(value) else value


def _only_number(text: str) -> re.Match[str] | None:
    """The number of a text without its scale: its first where all are the same, None where another reading is open."""
    numbers = list(_NUMBER.finditer(text))
    rest = _hidden(_NUMBER, text)
    if len({number(found[0]) for found in numbers}) != 1 or _OTHERWISE.search(text):
        return None
    return None if any(character.isnumeric() for character in rest) else numbers[0]


def _hidden(pattern: re.Pattern[str], text: str) -> str:
    """The text with blanks for emphasis and where the pattern matches."""
    return pattern.sub(lambda match: " " * len(match[0]), text.replace("*", " "))
