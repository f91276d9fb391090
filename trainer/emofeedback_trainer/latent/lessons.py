"""What reasoning tokens are taught with: pictures to look at, pictures to imagine, and what the judge knows already.

A source of lessons is anything with these three methods. `emofeedback_trainer.nano.latent_lessons` draws them from the
nano world; `samples.SampleLessons` reads them from a data folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL.Image import Image

from emofeedback.domain.affect import AffectPoint, Emotion
from emofeedback.domain.assessment import Conversation
from emofeedback.domain.reasoning import Imagination


@dataclass(frozen=True, kw_only=True)
class Rating:
    """What a short reply says."""

    reply: str
    """`<V> <A> <emotion>`, or `<V> <A> <emotion> <D>`: whole numbers next to the true ones."""
    point: AffectPoint
    """Where it truly lies, between the whole numbers that a reply can write."""
    dominance: float | None = None
    """Likewise; None: nobody knows, and the reply ends with the emotion."""

    @property
    def emotion(self) -> Emotion:
        """The emotion that the reply names."""
        return Emotion(self.reply.split()[2])


@dataclass(frozen=True, kw_only=True)
class Look:
    """A picture, what it makes people feel, and what can be said of it."""

    picture: Image
    rating: Rating
    thought: str


@dataclass(frozen=True, kw_only=True)
class Way:
    """One of the pictures that an imagination might be."""

    rating: Rating
    """The target's numbers, the picture's emotion."""
    thought: str


@dataclass(frozen=True, kw_only=True)
class Imagine:
    """A picture that isn't there yet."""

    imagination: Imagination
    ways: tuple[Way, ...]
    """One for each variation; or a single one, where nobody knows which of the variations it should be."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the judge can do already, and should still be able to do."""

    pictures: tuple[Image, ...]
    """In the order of the conversation's images."""
    conversation: Conversation
    reply: str
    rating: Rating | None = None
    """Where the reply is a short one."""


class Lessons(Protocol):
    """Draws lessons without end; the same generator, the same lessons."""

    def looks(self, count: int, rng: np.random.Generator) -> Sequence[Look]: ...

    def imaginations(self, count: int, rng: np.random.Generator) -> Sequence[Imagine]: ...

    def known(self, count: int, rng: np.random.Generator) -> Sequence[Known]: ...
