"""What a judge has in mind before it says anything: emotion tokens, and what they may be asked of.

A judge that has learned to reason in tokens (after EmoSym, ACM MM 2025) holds its thought about a picture, or about one
that it imagines, in the states of a few places of its own. A generator policy that was fused with this judge reads
them beside the prompt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.tensors import Tensor

Reasoning = Literal["none", "latent", "aloud"]
"""How a judge reasons before it rates: not at all, in its reasoning tokens, in words."""


def reasoning_of(asked: bool | str) -> Reasoning:
    """The way that is meant, by its name; True is aloud, False is none.

    Raises:
        InvalidRequest: there is no such way.
    """
    match asked:
        case bool():
            return "aloud" if asked else "none"
        case "none" | "latent" | "aloud":
            return asked
        case _:
            raise InvalidRequest.of("reasoning", f"is {asked!r}, it must be one of {', '.join(get_args(Reasoning))}")


@dataclass(frozen=True, kw_only=True)
class Imagination:
    """A picture that isn't there yet."""

    prompt: str
    """What it shows."""
    target: AffectPoint
    """What it should make people feel."""


@dataclass(frozen=True, kw_only=True)
class EmotionTokens:
    """What one judge has in mind of one picture, or of several imaginations of the same feeling."""

    states: Tensor
    """Finite, shape (variations, tokens, width)."""
    judge: ModelInfo
    """Whose they are; a policy reads those of one judge only."""

    @property
    def digest(self) -> str:
        """`sha256:` and 64 hex digits over the states' bytes."""
        return "sha256:" + hashlib.sha256(self.states.data).hexdigest()

    @property
    def variations(self) -> int:
        return self.states.shape[0]

    def chosen(self, numbers: Sequence[int]) -> EmotionTokens:
        """These variations, in this order; one may come more than once."""
        size = len(self.states.data) // self.variations
        data = b"".join(self.states.data[number * size : (number + 1) * size] for number in numbers)
        return replace(self, states=replace(self.states, shape=(len(numbers), *self.states.shape[1:]), data=data))
