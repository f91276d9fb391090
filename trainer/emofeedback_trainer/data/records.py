"""One record for every data set: a picture, what it shows in words, and what people feel before it.

Whatever a source's own scale was, valence, arousal and dominance are on the project's 1-9 scale here (`affect`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, Emotion
from emofeedback.domain.errors import InvalidRequest

AXES = ("valence", "arousal", "dominance")


@dataclass(frozen=True, kw_only=True)
class RankedEmotion:
    """One place in a ranking of emotions."""

    label: str
    """In the source's own taxonomy."""
    weight: float
    """How much of it: votes, or a share of them; at least 0."""


@dataclass(frozen=True, kw_only=True)
class ClosedQuestion:
    """A question about one picture, with the options that it may be answered by."""

    topic: str
    """What the source asks after, as its tables name it: `FI-8`, `sentiment`, `AesE`."""
    text: str
    """Empty where the source asks nothing but which option fits."""
    options: tuple[str, ...]
    answer: str
    """The text of the right option; empty where the source keeps it to itself."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One picture, or a prompt for one, with its labels. What a source doesn't say is empty or None.

    Raises:
        ValueError: no id, a rating that is NaN or off the 1-9 scale, a negative or non-finite weight; the message names
            the field.
    """

    id: str
    """Unique within its source, and the same whenever the source is read."""
    source: str
    """Name of the data set, as `emofeedback-train data check` knows it."""
    license: str
    """The source's terms of use."""
    image: Path | bytes | None = None
    """A file, or an encoded picture; None where the source has only prompts or the pictures aren't there."""
    neutral_prompt: str = ""
    """What the picture shows."""
    emotional_prompt: str = ""
    """What it shows, in words that carry its feeling."""
    valence: float | None = None
    """On 1-9."""
    arousal: float | None = None
    """On 1-9."""
    dominance: float | None = None
    """On 1-9."""
    emotion: Emotion | None = None
    """One of Mikels' eight; None where the source's category is none of them."""
    label: str = ""
    """The source's own category; where it names several, the first."""
    ranking: tuple[RankedEmotion, ...] = ()
    """The source's emotions, most felt first."""
    votes: tuple[tuple[str, ...], ...] = ()
    """The emotions that each annotator named, in that person's order."""
    comments: tuple[str, ...] = ()
    """Why it feels so, in the words of people who looked at it (of a drawn scene: of who drew it)."""
    questions: tuple[ClosedQuestion, ...] = ()
    """What the source asks about it; `storage` keeps none of them."""
    split: str = ""
    """`train`, `val` or `test`; empty where the source isn't split."""

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("id is empty")
        for axis in AXES:
            value = getattr(self, axis)
            if value is not None and not SCALE_MIN <= value <= SCALE_MAX:  # also refuses NaN
                raise ValueError(f"{axis} is {value:g}, it must lie in [{SCALE_MIN:g}, {SCALE_MAX:g}]")
        for place, ranked in enumerate(self.ranking):
            if not (math.isfinite(ranked.weight) and ranked.weight >= 0):
                raise ValueError(
                    f"ranking[{place}].weight is {ranked.weight:g}, it must be a finite number of 0 or more"
                )


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """One row of a source's files that makes no sample."""

    file: str
    """Path within the source's folder."""
    row: int
    """Line of a text file, or entry of a list, counted from 1; 0: the file as a whole."""
    column: str
    """The column's name, or a dotted path into the entry; empty: the row as a whole."""
    problem: str
    """What is wrong with it, and what was expected."""

    @property
    def place(self) -> str:
        """Where it is, for a message: `train.csv row 3 column valence`."""
        return " ".join(
            [self.file, *([f"row {self.row}"] if self.row else []), *([f"column {self.column}"] if self.column else [])]
        )

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}"

    def error(self) -> InvalidRequest:
        """The row as the error that refuses its source."""
        return InvalidRequest.of(self.place, self.problem)
