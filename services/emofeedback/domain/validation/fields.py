"""Single fields of requests: each function is an iterator over what is wrong with one, and `require` raises it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TypeVar

from emofeedback.domain.errors import MAX_VIOLATIONS, FieldViolation, InvalidRequest
from emofeedback.domain.limits import LIMITS

Item = TypeVar("Item")
Violations = Iterator[FieldViolation]


def check_most(field: str, items: Sequence[object], limit: int) -> None:
    """A list, before anything is made of its entries: 64 MiB may hold millions."""
    if len(items) > limit:
        require(count(field, len(items), limit))


def require(*checks: Iterable[FieldViolation]) -> None:
    violations = list(islice(chain.from_iterable(checks), MAX_VIOLATIONS))
    if violations:
        raise InvalidRequest(*violations)


def number(field: str, value: float, low: float, high: float) -> Violations:
    if math.isnan(value) or not low <= value <= high:
        bounds = f"[{_plain(low)}, {_plain(high)}]"
        yield FieldViolation(field, f"is {_plain(value)}, it must lie in {bounds}")


def optional(field: str, value: float | None, low: float, high: float) -> Violations:
    if value is not None:
        yield from number(field, value, low, high)


def _plain(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def count(field: str, count: int, limit: int) -> Violations:
    if not count:
        yield FieldViolation(field, f"is empty, 1 to {limit} are needed")
    elif count > limit:
        yield FieldViolation(field, f"has {count} entries, at most {limit} are allowed")


def each(field: str, items: Sequence[Item], limit: int, check: Callable[[str, Item], Violations]) -> Violations:
    """How many there are; where there may be so many, each of them."""
    yield from count(field, len(items), limit)
    if len(items) <= limit:
        for i, item in enumerate(items):
            yield from check(f"{field}[{i}]", item)


def text(field: str, text: str, *, required: bool = True, limit: int = LIMITS.prompt_characters) -> Violations:
    if not text and required:
        yield FieldViolation(field, "is empty")
    elif text and required and not text.strip():
        yield FieldViolation(field, "is only white space")
    elif len(text) > limit:
        yield FieldViolation(field, f"has {len(text)} characters, at most {limit} are allowed")
    elif any("\ud800" <= character <= "\udfff" for character in text):
        yield FieldViolation(field, "is not valid Unicode, it holds half of a surrogate pair")


def name(field: str, name: str) -> Violations:
    yield from text(field, name, required=False, limit=LIMITS.name_characters)


def user(field: str, user: str, *, required: bool = True) -> Violations:
    """It becomes the name of a file, so it is plain and can't lead out of its folder."""
    if not user and not required:
        return
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", user) or len(user) > LIMITS.name_characters:
        rule = f"1 to {LIMITS.name_characters} letters a-z and A-Z, digits, '-', '_' and '.', a letter or digit first"
        yield FieldViolation(field, f"is {user[: LIMITS.name_characters]!r}, it must be {rule}")


def image(field: str, image: bytes) -> Violations:
    if not image:
        yield FieldViolation(field, "is empty, it must be a PNG, JPEG or WebP file")


def images(field: str, images: Sequence[bytes]) -> Violations:
    yield from each(field, images, LIMITS.images_per_call, image)
