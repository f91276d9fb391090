"""Memory over runs: what words do to a feeling, for one generator in one judge's eyes.

Every picture that was painted from a prompt which names its mood is an observation. Its valence and arousal are taken
for a base plus the sum of what the prompt's words do, plus noise: Bayesian linear regression (Bishop 2006, section
3.3). A reading that its words make unlikely is believed less, so that the choice among many pictures doesn't select
the judge's own error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emofeedback.domain.affect import AffectPoint, clip_to_scale
from emofeedback.domain.errors import FailedPrecondition
from emofeedback.storage.texts import parse_json

_NOISE = 0.5
"""Standard deviation of a reading around what the words do, in points."""
_PRIOR = 1.0
"""Standard deviation of a word's effect before anything is seen, in points."""
_BASE_PRIOR = 10.0
TRUST = 0.5
"""Share of the words in what is likely, the rest is the reading's: their errors are about alike."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One picture of an earlier run."""

    prompt: str
    point: AffectPoint
    """As the judge read it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WordEffects:
    """What each word adds to valence and arousal."""

    places: dict[str, int]
    """Row of each known word; the last row is the base."""
    effects: NDArray[np.float64]
    """Shape (words + 1, 2), in points."""

    @classmethod
    def fitted(cls, observations: Sequence[Observation]) -> WordEffects:
        """The posterior mean given these observations."""
        words = sorted({word for observation in observations for word in _words(observation.prompt)})
        places = {word: row for row, word in enumerate(words)}
        features = np.array([_features(observation.prompt, places) for observation in observations])
        points = np.array([(observation.point.valence, observation.point.arousal) for observation in observations])
        prior = np.diag([_PRIOR**-2] * len(words) + [_BASE_PRIOR**-2])
        precision = features.T @ features / _NOISE**2 + prior
        return cls(places=places, effects=np.linalg.solve(precision, features.T @ points / _NOISE**2))

    def predicted(self, prompt: str) -> AffectPoint:
        """Where a picture of this prompt is likely to lie; words never seen do nothing."""
        valence, arousal = _features(prompt, self.places) @ self.effects
        return AffectPoint(clip_to_scale(float(valence)), clip_to_scale(float(arousal)))

    def likely(self, prompt: str, reading: AffectPoint) -> AffectPoint:
        """Where a picture of this prompt lies, by its reading and its words together."""
        words = self.predicted(prompt)
        return AffectPoint(
            TRUST * words.valence + (1 - TRUST) * reading.valence, TRUST * words.arousal + (1 - TRUST) * reading.arousal
        )


@lru_cache(maxsize=8)
def remembered(path: str) -> WordEffects | None:
    """The effects in a memory file; None for no path.

    Raises:
        FailedPrecondition: the file is missing or is none.
    """
    return WordEffects.fitted(observed(path)) if path else None


def observed(path: str) -> list[Observation]:
    """The pictures in a memory file, JSON rows of prompt, valence and arousal.

    Raises:
        FailedPrecondition: the file is missing or is none.
    """
    try:
        rows = parse_json(Path(path).read_text(encoding="utf-8"))
        return [Observation(prompt=str(p), point=AffectPoint(v, a)) for p, v, a in rows]
    except (OSError, ValueError, TypeError) as error:
        raise FailedPrecondition(f"optimizer.memory: {path} is no memory of earlier runs: {error}") from error


def _words(prompt: str) -> set[str]:
    return set(re.findall(r"\w+", prompt.casefold()))


def _features(prompt: str, places: dict[str, int]) -> NDArray[np.float64]:
    """Shape (words + 1,): 1 where a word stands in the prompt, and for the base."""
    row = np.zeros(len(places) + 1)
    row[[places[word] for word in _words(prompt) if word in places]] = 1
    row[-1] = 1
    return row
