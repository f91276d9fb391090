"""What a fusion learns from: a prompt, the same with its feeling in words, and what a judge is asked about it.

The teacher paints the words, the student is to paint the same from the prompt and the judge's tokens. So a lesson needs
no picture but for the judge to look at, and nothing of it has to be drawn by the generator's own training data.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.limits import LIMITS
from emofeedback.storage.texts import file_within
from emofeedback_trainer.core.numbered import load_numbered, opened

_KEYS = frozenset({"prompt", "told", "valence", "arousal", "image", "variations"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """One picture to paint."""

    prompt: str
    """What it shows."""
    told: str
    """The same with what makes the feeling, as the teacher reads it."""
    target: AffectPoint | None = None
    """How a picture of `told` feels; None: the prompt alone is painted, without any emotion."""
    picture: Callable[[], Image.Image] | None = None
    """A picture of `told`, which the judge looks at; None: it doesn't."""
    variations: tuple[int, ...] = ()
    """Which of the judge's imaginations of prompt and target this is; several: the one whose tokens are nearest to
    what the judge has in mind of the picture; empty: none."""

    def __post_init__(self) -> None:
        """Raises ValueError where it leaves the judge nothing to reason about, or too much."""
        if self.target is None and (self.picture or self.variations):
            raise ValueError("a lesson without a target has neither a picture nor variations")
        if self.target and not (self.picture or self.variations):
            raise ValueError("a lesson with a target needs a picture or variations")
        if len(self.variations) > 1 and self.picture is None:
            raise ValueError("of several variations none can be chosen without a picture")


Lessons = Callable[[int], Lesson]
"""Lesson number N; the same number, the same lesson."""


def load_lessons(source: str) -> Lessons:
    """`module:function`, or a JSON lines file whose lines come again and again.

    A line: `{"prompt": "a dog", "told": "a sad dog in the rain", "valence": 2.5, "arousal": 3, "image": "dog.png",
    "variations": [0, 1]}`. An image lies beside the file; `image`, `variations` or both; a line of a prompt alone is
    painted as it is, without any emotion.

    Raises:
        InvalidRequest: there is no such source, or a bad line; the message names it.
    """
    return load_numbered(source, "lessons", _of_line)


def _of_line(line: str, folder: Path) -> Lesson:
    entry: Any = json.loads(line)
    if not isinstance(entry, dict) or (unknown := sorted(entry.keys() - _KEYS)):
        raise ValueError(f"has the unknown key {unknown[0]!r}" if isinstance(entry, dict) else "is no JSON object")
    prompt, told = (_text(entry.get(key, entry.get("prompt"))) for key in ("prompt", "told"))
    felt = [entry[axis] for axis in ("valence", "arousal") if axis in entry]
    if felt and not (len(felt) == 2 and all(isinstance(x, int | float) and not isinstance(x, bool) for x in felt)):
        raise ValueError("needs both numbers, valence and arousal, or none")
    image, variations = entry.get("image"), entry.get("variations", [])
    if not isinstance(variations, list) or not all(
        isinstance(each, int) and 0 <= each < LIMITS.emotion_variations for each in variations
    ):
        raise ValueError(f"variations must be whole numbers from 0 to {LIMITS.emotion_variations - 1}")
    return Lesson(
        prompt=prompt,
        told=told,
        target=AffectPoint(*map(float, felt)) if felt else None,
        picture=partial(opened, file_within(folder, str(image))) if image is not None else None,
        variations=tuple(variations),
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LIMITS.prompt_characters:
        raise ValueError(f"prompt and told must be texts of 1 to {LIMITS.prompt_characters} characters")
    return value
