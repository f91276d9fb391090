"""What a judge is asked about pictures beside their rating, and what it says: answers and descriptions."""

from __future__ import annotations

from dataclasses import dataclass

Pictures = tuple[bytes, ...]
"""One encoded picture, or two: what a question or a description is about."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Anything that somebody wants to know about one or two pictures."""

    images: Pictures
    """Encoded (PNG, JPEG or WebP)."""
    text: str
    options: tuple[str, ...] = ()
    """Answers to choose from, 2 to 10, no two alike; none: the judge answers in its own words."""

    def __repr__(self) -> str:
        images = ", ".join(f"<image, {len(image)} bytes>" for image in self.images)
        return f"Question({images}, {self.text!r}, options={self.options})"


@dataclass(frozen=True, kw_only=True)
class QuestionAnswer:
    """What a judge answers."""

    text: str
    """The chosen option as it was asked, else a sentence; one that was cut at the judge's limit ends in an ellipsis."""
    option: int | None = None
    """Index of the chosen option, from 0; None where there were none."""
    confidence: float | None = None
    """Probability of the chosen option among the options, in [0, 1]; down to chance, 1 / options, for pictures that are
    not of the judge's world. None where there were no options, or the judge's probabilities aren't known."""
    reasoning: str = ""
    """What the judge thought before it chose; empty where it said nothing of that."""
    domain_score: float | None = None
    """As `Assessment.domain_score`; of two pictures, that of the one which is less of the judge's world."""

    @property
    def in_domain(self) -> bool | None:
        """As `Assessment.in_domain`: False where the answer means little."""
        return None if self.domain_score is None else self.domain_score <= 1


@dataclass(frozen=True, kw_only=True)
class Description:
    """What one or two pictures make people feel and why, in a judge's words; of two, how the second differs as well."""

    text: str
    """One that was cut at the judge's limit ends in an ellipsis."""
    domain_score: float | None = None
    """As `QuestionAnswer.domain_score`."""

    @property
    def in_domain(self) -> bool | None:
        """As `QuestionAnswer.in_domain`."""
        return None if self.domain_score is None else self.domain_score <= 1


@dataclass(frozen=True, kw_only=True)
class ReplyFailure:
    """The judge gave no usable reply for this one question or description; the others of the batch are not affected."""

    reason: str


AnswerOutcome = QuestionAnswer | ReplyFailure
DescriptionOutcome = Description | ReplyFailure
