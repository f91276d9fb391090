"""Which words a model with a closed vocabulary has never seen. It paints them as nothing, so people are told."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.text import words


@dataclass(frozen=True)
class Vocabulary:
    """The known words in lower case; None: the vocabulary is open and knows all."""

    words: frozenset[str] | None

    @classmethod
    @lru_cache(maxsize=8)
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
        """The unknown words of a prompt in lower case, each once, in the order of their first appearance.

        Pictographs count as words; of a prompt that has neither words nor pictographs, all of it is unknown.
        """
        if self.words is None:
            return ()
        named = {word: word in self.words for word in words(prompt) if any(map(str.isalpha, word))}
        pictographs = [sign for sign in prompt if unicodedata.category(sign) == "So"]
        if not named and not pictographs:
            return tuple(dict.fromkeys(prompt.split()))
        return (*(word for word, known in named.items() if not known), *dict.fromkeys(pictographs))
