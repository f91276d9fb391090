"""How sure the judge is: shares of emotions, distributions over the scale, and what corrects them.

A reply is read by its probabilities, not only by its words; all of them end here, whichever engine decoded it. A small
judge is surer of itself than it is right: one temperature for the emotions and one for the options of a question (Guo
et al. 2017), and one width for the interval of each axis (split conformal prediction, Romano et al. 2019) mend that.
`emofeedback-train nano judge-certainty` fits them on scenes that no model has learned from and writes `certainty.json`
beside the weights; a judge without this file, every full-size one, is taken at its own word.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, Emotion, clip_to_scale
from emofeedback.domain.assessment import INTERVAL, Assessment, AssessmentOutcome, Distribution, EmotionShare

Item = TypeVar("Item")

CERTAINTY_FILE = "certainty.json"
"""Not part of a checkpoint's digest, as `domain.DOMAIN_FILE` is not: it changes no reading."""

_RATINGS = np.arange(SCALE_MIN, SCALE_MAX + 1)
_EDGES = np.arange(SCALE_MIN - 0.5, SCALE_MAX + 1)
"""A whole rating stands for what is nearest to it."""
_TAIL = (1 - INTERVAL) / 2


def distribution(shares: Mapping[float, float], rating: float) -> Distribution:
    """The distribution of ratings that have these shares.

    One between two whole ratings is shared among them, the nearer getting more, so that the mean stays. The interval
    runs between two quantiles, each whole rating's share lying evenly about it, and always holds `rating`.

    Args:
        shares: by rating, in [1, 9]; not negative, with a sum above 0.
        rating: the judge's answer on this axis.
    """
    steps = np.zeros(len(_RATINGS))
    total = sum(shares.values())
    for place, share in shares.items():
        steps += share / total * np.maximum(0, 1 - np.abs(_RATINGS - place))
    below = np.concatenate([[0], np.cumsum(steps)])
    low, high = (clip_to_scale(float(np.interp(tail, below, _EDGES))) for tail in (_TAIL, 1 - _TAIL))
    return Distribution(shares=tuple(np.minimum(steps, 1).tolist()), low=min(low, rating), high=max(high, rating))


UNKNOWN = distribution(dict.fromkeys(_RATINGS.tolist(), 1.0), (SCALE_MIN + SCALE_MAX) / 2)
"""Every rating alike: what is known of a picture that the judge can't read."""


def ranked(shares: Mapping[Emotion, float]) -> tuple[EmotionShare, ...]:
    """All eight with their shares, largest first; of equal ones the first of `Emotion`. None where there are none."""
    if not shares:
        return ()
    felt = [EmotionShare(emotion=emotion, share=shares.get(emotion, 0.0)) for emotion in Emotion]
    return tuple(sorted(felt, key=lambda one: -one.share))


def mixed(known: float, outcome: Assessment) -> Assessment:
    """The outcome's shares, distributions and intervals where they are believed with a probability of `known`, and
    nothing is known otherwise; an interval never gets narrower. Its numbers and its confidence stay."""

    def blend(axis: Distribution | None) -> Distribution | None:
        if axis is None:
            return None
        shares = (known * np.array(axis.shares) + (1 - known) * np.array(UNKNOWN.shares)).tolist()
        return Distribution(
            shares=tuple(shares),
            low=min(axis.low, known * axis.low + (1 - known) * UNKNOWN.low),
            high=max(axis.high, known * axis.high + (1 - known) * UNKNOWN.high),
        )

    return replace(
        outcome,
        valence_distribution=blend(outcome.valence_distribution),
        arousal_distribution=blend(outcome.arousal_distribution),
        dominance_distribution=blend(outcome.dominance_distribution),
        emotions=ranked({felt.emotion: known * felt.share + (1 - known) / len(Emotion) for felt in outcome.emotions}),
    )


@dataclass(frozen=True, kw_only=True)
class Certainty:
    """What brings a judge's certainty to what it is worth; as it stands here, it changes nothing.

    Raises:
        ValueError: a number is not above 0; the message names it.
    """

    temperature: float = 1.0
    """The logarithms of the emotions' shares are divided by it: above 1, the judge is less sure than it says."""
    valence_width: float = 1.0
    """By this the interval's ends move away from the rating."""
    arousal_width: float = 1.0
    """Likewise."""
    dominance_width: float = 1.0
    """Likewise; 1 in a file that was written before the judge said dominance."""
    choice_temperature: float = 1.0
    """As `temperature`, of the shares that the options of a question have (`answers.option_shares`); 1 in a file that
    was written before it was fitted."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} is {value:g}, it must be a finite number above 0")

    def apply(self, outcome: AssessmentOutcome) -> AssessmentOutcome:
        """The outcome with its confidence, its emotions' shares and its intervals at what they are worth; its numbers
        and its emotion stay. Without shares, the confidence stays too."""
        if not isinstance(outcome, Assessment):
            return outcome
        shares = tempered({felt.emotion: felt.share for felt in outcome.emotions}, self.temperature)
        return replace(
            outcome,
            confidence=shares.get(outcome.emotion, outcome.confidence),
            emotions=ranked(shares),
            valence_distribution=_widened(outcome.valence_distribution, outcome.valence, self.valence_width),
            arousal_distribution=_widened(outcome.arousal_distribution, outcome.arousal, self.arousal_width),
            dominance_distribution=_widened(outcome.dominance_distribution, outcome.dominance, self.dominance_width),
        )

    @classmethod
    def load(cls, folder: Path) -> Certainty:
        """What `save` wrote into a checkpoint's folder; the one that changes nothing where there is no such file."""
        path = folder / CERTAINTY_FILE
        return cls(**json.loads(path.read_text())) if path.is_file() else AS_SAID

    def save(self, folder: Path) -> None:
        """Writes `certainty.json`."""
        (folder / CERTAINTY_FILE).write_text(json.dumps(asdict(self), indent=1) + "\n")


AS_SAID = Certainty()
"""A judge is taken at its own word."""


def tempered(shares: Mapping[Item, float], temperature: float) -> dict[Item, float]:
    """Shares of emotions or options to the power of 1 / temperature, summing to 1 again; those of 0 stay 0."""
    # By the largest, so that no power comes out as 0 where it matters.
    most = max(shares.values(), default=1.0)
    powers = {item: (share / most) ** (1 / temperature) for item, share in shares.items()}
    total = sum(powers.values())
    return {item: power / total for item, power in powers.items()}


def _widened(axis: Distribution | None, rating: float | None, width: float) -> Distribution | None:
    if axis is None or rating is None:
        return None
    return replace(
        axis,
        low=clip_to_scale(rating - width * (rating - axis.low)),
        high=clip_to_scale(rating + width * (axis.high - rating)),
    )
