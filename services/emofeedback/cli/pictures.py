"""Pictures that people name on a command line: files, folders and standard input, in more formats than judges take.

They are looked at in batches, and a bad one never costs the others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from emofeedback.domain.assessment import AssessmentFailure
from emofeedback.domain.errors import InvalidRequest, MessageTooLarge
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.questions import ReplyFailure
from emofeedback.observability.consoles import Consoles

Named = TypeVar("Named")
Data = TypeVar("Data")
Said = TypeVar("Said")

STANDARD_INPUT = Path("-")

_SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg"),
    *(".mpo", ".png", ".tif", ".tiff", ".webp"),
)
"""Of what is looked at in a folder; a file that is named is looked at whatever its name."""
_NAMED = 3
"""Files of a folder that are no pictures: so many are named, the others counted."""
_BATCH = 16
"""Looked at in one call: enough to fill the judge, few enough that results keep coming."""


def pictures_in(paths: Sequence[Path], consoles: Consoles) -> tuple[list[Path], bool]:
    """The pictures to look at, folders searched to their depth but for what is hidden, and whether all can be found.

    What a folder has is said: its pictures counted, other files named.
    """
    found: list[Path] = []
    complete = True
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside, others, problems = _inside(path)
        found += inside
        complete &= bool(inside) and not problems
        for problem in problems:
            consoles.error(f"{problem.filename}: {problem.strerror}")
        if not inside:
            consoles.error(f"{path}: holds no pictures")
        else:
            consoles.note(f"{path}: {len(inside)} picture{'' if len(inside) == 1 else 's'}{_named(others)}")
    return found, complete


def read_picture(path: Path, consoles: Consoles) -> bytes | None:
    """What a judge is sent for a picture: the file, or where it has another format a PNG of it; None: an error is said.

    Of a moving GIF the first frame is taken, and said so.
    """
    try:
        if path == STANDARD_INPUT:
            data = sys.stdin.buffer.read(LIMITS.message_bytes + 1)
        else:
            with path.open("rb") as file:
                data = file.read(LIMITS.message_bytes + 1)
    except OSError as error:
        consoles.error(f"{path}: {error.strerror}")
        return None
    try:
        if len(data) > LIMITS.message_bytes:
            raise InvalidRequest.of("image", f"has more than the {LIMITS.message_bytes} bytes that are allowed")
        if is_taken(data):
            return data
        png, note = _converted(data)
    except InvalidRequest as error:
        consoles.error(f"{path}: {'; '.join(violation.problem for violation in error.violations)}")
        return None
    if note:
        consoles.note(f"{path}: {note}")
    return png


def is_taken(data: bytes) -> bool:
    """Whether judges take it as it is: it begins as a PNG, a JPEG or a WebP does, or is empty, which they say best."""
    return not data or data.startswith((b"\x89PNG", b"\xff\xd8\xff")) or data[:4] + data[8:12] == b"RIFFWEBP"


async def looked_at(
    named: Sequence[Named],
    read: Callable[[Named], Data | None],
    look: Callable[[Sequence[Data]], Awaitable[Sequence[Said | AssessmentFailure | ReplyFailure]]],
    consoles: Consoles,
) -> AsyncIterator[tuple[Named, Said]]:
    """Gives what a judge says of each, as soon as its batch is done; what it can't say anything of is named as an
    error instead.

    Args:
        read: what the judge is sent for one of them; None: an error is said.
        look: asks the judge about some; one problem may refuse them all.
    """
    for start in range(0, len(named), _BATCH):
        batch = [(one, data) for one in named[start : start + _BATCH] if (data := read(one)) is not None]
        outcomes = await _outcomes(look, [data for _, data in batch]) if batch else []
        for (one, _), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, str):
                consoles.error(f"{one}: {outcome}")
            elif isinstance(outcome, AssessmentFailure):
                consoles.error(f"{one}: the judge could not say: {outcome.reason}")
            elif isinstance(outcome, ReplyFailure):
                consoles.error(f"{one}: {outcome.reason}")
            else:
                yield one, outcome


async def _outcomes(
    look: Callable[[Sequence[Data]], Awaitable[Sequence[Said]]], data: Sequence[Data]
) -> list[Said | str]:
    """What is said of each, or the problem; where a batch is refused, they are looked at one by one."""
    try:
        return list(await look(data))
    except (InvalidRequest, MessageTooLarge) as error:
        if len(data) == 1:
            problems = [v.problem for v in error.violations] if isinstance(error, InvalidRequest) else [str(error)]
            return ["; ".join(problems)]
    return [(await _outcomes(look, [one]))[0] for one in data]


def _converted(data: bytes) -> tuple[bytes, str]:
    try:
        from emofeedback.judge.images import as_png
    except ImportError as error:  # the client alone comes without Pillow
        problem = "is no PNG, JPEG or WebP; others are converted by Pillow: pip install 'emofeedback[local]'"
        raise InvalidRequest.of("image", problem) from error
    return as_png(data, field="image")


def _inside(folder: Path) -> tuple[list[Path], list[Path], list[OSError]]:
    """Pictures and other files in a folder and below it, in the order of their names, and what can't be looked into."""
    pictures: list[Path] = []
    others: list[Path] = []
    problems: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=problems.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(place, name)
            (pictures if path.suffix.casefold() in _SUFFIXES else others).append(path)
    return pictures, others, problems


def _named(others: Sequence[Path]) -> str:
    if not others:
        return ""
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    return f"; no pictures: {', '.join(map(str, others[:_NAMED]))}{more}"
