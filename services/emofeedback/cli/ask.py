"""`emofeedback ask` and `emofeedback describe`: what a judge says about a picture or two in words.

Two pictures are looked at together; the pictures of a folder one by one, and a bad one never costs the others.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from emofeedback.backends import Engines
from emofeedback.cli.display import loading
from emofeedback.cli.feeling import UNFAMILIAR
from emofeedback.cli.pictures import looked_at, pictures_in, read_picture
from emofeedback.domain.assessment import Judge
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.questions import Description, Pictures, Question, QuestionAnswer, ReplyFailure
from emofeedback.domain.validation import check_question
from emofeedback.observability.consoles import Consoles

_ONE_UNFAMILIAR = "one of them at least is " + UNFAMILIAR

_Said = QuestionAnswer | Description
_Look = Callable[[Judge, Sequence[Pictures]], Awaitable[Sequence[_Said | ReplyFailure]]]


def ask(paths: Sequence[Path], question: str, *, options: Sequence[str], engines: Engines, consoles: Consoles) -> bool:
    """Prints the answer to a question about one or two pictures, or about each picture of a folder; for programs one
    JSON object a line.

    Args:
        paths: one or two pictures, a folder, `-` for standard input.
        options: answers to choose from; none: the judge answers in its own words.

    Returns:
        True where there was an answer for all pictures; the others are named as errors.

    Raises:
        InvalidRequest: the question or its options are out of their limits, the question is a picture's path, or there
            are too many pictures.
        EmoFeedbackError: the judge could not be reached or loaded.
    """
    _check_paths(paths)
    check_question("question", Question(images=(b"to come",), text=question, options=tuple(options)))
    if os.path.isfile(question):  # noqa: PTH113 - Path.is_file fails on a text that is too long for a name
        raise InvalidRequest.of(
            "question.text", f"{question} is a file: behind the pictures comes a question, in quotes"
        )

    async def look(judge: Judge, pictures: Sequence[Pictures]) -> Sequence[_Said | ReplyFailure]:
        return await judge.ask([Question(images=images, text=question, options=tuple(options)) for images in pictures])

    return _say(paths, look, record={"question": question}, engines=engines, consoles=consoles)


def describe(paths: Sequence[Path], *, engines: Engines, consoles: Consoles) -> bool:
    """Prints what a picture makes people feel and why, of two also how the second differs; arguments, result and errors
    as for `ask`."""
    _check_paths(paths)

    async def look(judge: Judge, pictures: Sequence[Pictures]) -> Sequence[_Said | ReplyFailure]:
        return await judge.describe(pictures)

    return _say(paths, look, record={}, engines=engines, consoles=consoles)


@dataclass(frozen=True)
class _Looked:
    """Pictures that are looked at together."""

    paths: tuple[Path, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.paths))

    def read(self, consoles: Consoles) -> Pictures | None:
        """None: an error is said."""
        pictures = [read_picture(path, consoles) for path in self.paths]
        return None if None in pictures else tuple(picture for picture in pictures if picture is not None)


def _check_paths(paths: Sequence[Path]) -> None:
    if len(paths) > LIMITS.question_images:
        raise InvalidRequest.of("picture", f"has {len(paths)} entries, at most {LIMITS.question_images} are allowed")
    folder = next((path for path in paths if path.is_dir()), None)
    if folder is not None and len(paths) > 1:
        raise InvalidRequest.of("picture", f"{folder} is a folder, two pictures are needed to look at together")


def _say(paths: Sequence[Path], look: _Look, *, record: dict[str, Any], engines: Engines, consoles: Consoles) -> bool:
    complete = True
    if len(paths) == 1:
        files, complete = pictures_in(paths, consoles)
        looked = [_Looked((path,)) for path in files]
    else:
        looked = [_Looked(tuple(paths))]
    if not looked:
        return False

    def show(shown: _Looked, said: _Said) -> None:
        if consoles.for_programs:
            consoles.say(json.dumps({"pictures": [*map(str, shown.paths)], **record, **_content(said)}))
            return
        sure = f"  ({said.confidence:.0%})" if isinstance(said, QuestionAnswer) and said.confidence is not None else ""
        consoles.say(f"{shown}: {said.text}{sure}" if len(looked) > 1 else f"{said.text}{sure}")
        if said.in_domain is False:
            consoles.say(f"{shown}: {UNFAMILIAR if len(shown.paths) == 1 else _ONE_UNFAMILIAR}")

    async def all_said() -> bool:
        answered = 0
        async with opened as judge:
            answers: AsyncIterator[tuple[_Looked, _Said]] = looked_at(
                looked, lambda one: one.read(consoles), partial(look, judge), consoles
            )
            async for shown, said in answers:
                show(shown, said)
                answered += 1
        return answered == len(looked)

    with loading(consoles, engines.profile):
        opened = engines.judge()
    return asyncio.run(all_said()) and complete


def _content(said: _Said) -> dict[str, Any]:
    content = {**asdict(said), "in_domain": said.in_domain}
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in content.items()}
