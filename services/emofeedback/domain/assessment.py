"""What the loop and the trainer need of a judge, and the records that pass between them.

One conformance suite runs against every `Judge`: the engine in process, the gRPC client, a scripted one in the tests.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from emofeedback.domain.affect import AffectPoint, Emotion
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.questions import AnswerOutcome, DescriptionOutcome, Pictures, Question
from emofeedback.domain.reasoning import EmotionTokens, Imagination, Reasoning
from emofeedback.domain.taxonomies import told_in

INTERVAL = 0.8
"""How often a rating should lie within its `Distribution.low` to `high`."""


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """How sure a judge is of one rating."""

    shares: tuple[float, ...]
    """Probability of each whole rating, 1 to 9: nine numbers that sum to 1."""
    low: float
    """From here, on 1-9, ..."""
    high: float
    """... to here it lies with a probability of `INTERVAL`, by the judge's own word or, where that was measured
    (`judge.certainty`), in truth."""


@dataclass(frozen=True, kw_only=True)
class EmotionShare:
    """How much of one emotion there is in what a picture makes people feel."""

    emotion: Emotion
    share: float
    """Its probability among the eight, in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """What a picture makes people feel, as the judge sees it."""

    valence: float
    arousal: float
    emotion: Emotion
    confidence: float
    """Probability of `emotion`, in [0, 1]; down to 1/8, chance, for a picture that is not of the judge's world."""
    reasoning: str = ""
    """Why, where the caller asked for it."""
    domain_score: float | None = None
    """How surprising the picture is to a judge that learned one small world: minus the binary logarithm of the
    probability that it is of that world, in bits. 0: it is; 1: even odds; 3: one in eight. None: it can't tell."""
    dominance: float | None = None
    """In [1, 9], helpless to in control; None for a judge that didn't say it, such as one that hasn't learned it."""
    valence_distribution: Distribution | None = field(default=None, repr=False)
    """None where the judge's probabilities aren't known."""
    arousal_distribution: Distribution | None = field(default=None, repr=False)
    """Likewise."""
    dominance_distribution: Distribution | None = field(default=None, repr=False)
    """Likewise; None beside no dominance."""
    emotions: tuple[EmotionShare, ...] = field(default=(), repr=False)
    """All eight, most felt first, shares summing to 1; empty where the judge's probabilities aren't known."""

    @property
    def in_domain(self) -> bool | None:
        """False where the picture is more likely not of the judge's world: its reading means little. None where the
        judge can't tell."""
        return None if self.domain_score is None else self.domain_score <= 1

    @property
    def point(self) -> AffectPoint:
        """Its place on the plane."""
        return AffectPoint(self.valence, self.arousal)

    def ranking(self, taxonomy: str = "mikels") -> dict[str, float]:
        """The emotions' shares, most felt first, by the names of a taxonomy: `mikels`' eight, or `ekman`'s six and
        neutral (`taxonomies.told_in`). Empty where the judge's probabilities aren't known.

        Raises:
            InvalidRequest: there is no such taxonomy.
        """
        return told_in(taxonomy, {felt.emotion: felt.share for felt in self.emotions})


@dataclass(frozen=True, kw_only=True)
class AssessmentFailure:
    """The judge gave no readable reply for this one picture; the others of the batch are not affected."""

    reason: str


AssessmentOutcome = Assessment | AssessmentFailure


@dataclass(frozen=True)
class ControlTokens:
    """Tokens of the model's own, which no text can hold: what looks like one in a text is taken apart."""

    names: tuple[str, ...]
    """As the tokenizer writes them, in order."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn of a conversation; `parts` mixes texts, encoded images and control tokens in reading order."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[str | bytes | ControlTokens, ...]

    def __repr__(self) -> str:
        parts = [f"<image, {len(part)} bytes>" if isinstance(part, bytes) else part for part in self.parts]
        return f"Message(role={self.role!r}, parts={parts})"


Conversation = tuple[Message, ...]


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How a reply is sampled."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    """0 is greedy."""
    seed: int = 0


class Judge(Protocol):
    """Looks at pictures. Every list it returns is as long as its input and in its order."""

    async def assess(
        self, images: Sequence[bytes], *, reasoning: bool | Reasoning = False, user: str = ""
    ) -> list[AssessmentOutcome]:
        """Valence, arousal and emotion of each image: by a rating (expected value over rating tokens), at once or,
        with `reasoning="latent"`, behind the model's reasoning tokens; or, with `"aloud"`, by a reply in which it
        reasons in words before it rates.

        Where a rating and the reply aloud differ, the rating is the answer and the other explains it: it is the more
        exact one in both axes, and `assess --explain` shows its numbers beside the words.

        Args:
            reasoning: False is `"none"`, True is `"aloud"`.
            user: id of a person by whose calibration valence and arousal are corrected; empty: uncorrected.

        Raises:
            InvalidRequest: an image is not one, is animated, or is over the pixel limit.
            NotFound: there is no calibration for this person.
            FailedPrecondition: the judge has no calibrations, or this one was fitted on another judge's ratings; or,
                for latent reasoning, it has not learned reasoning tokens.
        """
        ...

    def assess_stream(
        self, images: AsyncIterator[tuple[int, bytes]], *, user: str = ""
    ) -> AsyncGenerator[tuple[int, AssessmentOutcome], None]:
        """As `assess`, for images that arrive one by one under keys; outcomes come as they are ready. Closing the
        generator stops the judge.

        A person without a calibration is refused before any image is judged.
        """
        ...

    async def ask(self, questions: Sequence[Question]) -> list[AnswerOutcome]:
        """Answers to questions about one or two pictures each: one of a question's options, or where it has none a
        sentence.

        Raises:
            InvalidRequest: a question is out of its limits, its options are too few or alike, a picture is not one, or
                a question with its pictures is longer than what the model reads.
        """
        ...

    def ask_stream(
        self, questions: AsyncIterator[tuple[int, Question]]
    ) -> AsyncGenerator[tuple[int, AnswerOutcome], None]:
        """As `ask`, for questions that arrive one by one under keys; answers come as they are ready. Closing the
        generator stops the judge."""
        ...

    async def describe(self, pictures: Sequence[Pictures]) -> list[DescriptionOutcome]:
        """What one or two pictures each make people feel, and why; of two, how the second differs from the first.

        Raises:
            InvalidRequest: there are none or more than two in one place, or one is no picture.
        """
        ...

    def describe_stream(
        self, pictures: AsyncIterator[tuple[int, Pictures]]
    ) -> AsyncGenerator[tuple[int, DescriptionOutcome], None]:
        """As `describe`, for pictures that arrive one by one, or two by two, under keys; descriptions come as they are
        ready. Closing the generator stops the judge."""
        ...

    async def score(self, images: Sequence[bytes], prompt: str) -> list[float]:
        """Alignment of each image with the prompt: the scorer's cosine similarity, in [-1, 1]."""
        ...

    async def compare_texts(self, text: str, candidates: Sequence[str]) -> list[float]:
        """Similarity of each candidate with `text`, cosine of the scorer's text embeddings, in [-1, 1]."""
        ...

    async def converse(self, conversations: Sequence[Conversation], decoding: Decoding) -> list[str]:
        """The model's reply to each conversation."""
        ...

    async def reason(self, subject: bytes | Imagination, *, variations: int = 0) -> EmotionTokens:
        """What the model has in mind of a picture, or of one that it imagines, for a generator that reads it.

        Args:
            subject: an encoded image, or what a picture that isn't there yet shows and should make people feel.
            variations: different imaginations of the same feeling, 1 to 8 and at most what the model has learned; 0:
                all of those. Of an image there is one.

        Raises:
            InvalidRequest: the image is not one, the imagination or `variations` is out of its limits.
            FailedPrecondition: the judge has not learned reasoning tokens, or its engine keeps its states to itself.
        """
        ...

    async def model(self) -> ModelInfo:
        """The vision-language model behind it."""
        ...
