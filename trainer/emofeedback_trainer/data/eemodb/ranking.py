"""Emotions in the order in which a picture evokes them, from what several annotators named (EEmo-Logic, EEmoDB)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from emofeedback_trainer.data.records import RankedEmotion

PLACES = 3
"""Emotions in a ranking."""


def rank_emotions(votes: Sequence[Sequence[str]]) -> tuple[RankedEmotion, ...]:
    """Up to three emotions, most felt first.

    By frequency: how many annotators named it. Among equals by concentration: an annotator's one vote is shared by the
    emotions that this person named, 1/n each. Among equals still by order: how early it was named, on average.

    Args:
        votes: each annotator's emotions in that person's order, none twice.

    Returns:
        Weights are the frequencies. Empty where two emotions that compete for a place are equal in all three: such a
        picture has no ranking.
    """
    keys = {emotion: _key(emotion, votes) for vote in votes for emotion in vote}
    order = sorted(keys, key=lambda emotion: keys[emotion], reverse=True)
    if any(keys[before] == keys[after] for before, after in pairwise(order[: PLACES + 1])):
        return ()
    return tuple(RankedEmotion(label=emotion, weight=keys[emotion][0]) for emotion in order[:PLACES])


def _key(emotion: str, votes: Sequence[Sequence[str]]) -> tuple[float, float, float]:
    """Frequency, concentration and earliness, rounded so that equal sums of thirds are equal."""
    named = [vote for vote in votes if emotion in vote]
    concentration = sum(1 / len(vote) for vote in named)
    place = sum(vote.index(emotion) for vote in named) / len(named)
    return float(len(named)), round(concentration, 9), round(-place, 9)
