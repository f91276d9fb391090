"""Which words a model with a closed vocabulary has never seen. It paints them as nothing, so people are told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from emofeedback.domain.errors import FailedPrecondition

_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Vocabulary:
    """The known words in lower case; None: the vocabulary is open and knows all."""

    words: frozenset[str] | None

    @classmethod
    def read(cls, file: str) -> Vocabulary:
        """From a file of one word a line; an empty name is the open vocabulary.

        Raises:
            FailedPrecondition: there is no such file.
        """
        if not file:
            return cls(None)
        try:
            return cls(frozenset(Path(file).read_text(encoding="utf-8").lower().split()))
        except OSError as error:
            raise FailedPrecondition(f"the model's vocabulary can't be read: {error}") from error

    def unknown(self, prompt: str) -> tuple[str, ...]:
        """The unknown words of a prompt in lower case, each once, in the order of their first appearance."""
        if self.words is None:
            return ()
        found = dict.fromkeys(match.group().lower() for match in _WORD.finditer(prompt))
        return tuple(word for word in found if word not in self.words)
