"""Held-out pairs of a prompt and the feeling it is to have, spread over the plane of valence and arousal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from math import gcd

from emofeedback.domain.affect import SCALE_MIDDLE, AffectPoint
from emofeedback_trainer.core.condition import Condition

MIDDLE = AffectPoint(SCALE_MIDDLE, SCALE_MIDDLE)
LEVELS = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
"""Of both axes of the grid of targets: whole numbers, as the generator reads them."""
MOST_PAIRS = len(LEVELS) ** 2 - 1
"""Pairs of a task: one for every point of the grid but its middle."""
_PROMPT_STRIDE, _TARGET_STRIDE = 5, 43


@dataclass(frozen=True, kw_only=True)
class Pair(Condition):
    """One prompt and the feeling it is to have."""

    subject: str = ""
    """What an independent judge should see; empty where nobody is asked."""


def grid(levels: Sequence[float] = LEVELS) -> list[AffectPoint]:
    """All points of these levels of valence and arousal but the middle of the scale, which any picture comes near."""
    return [point for v in levels for a in levels if (point := AffectPoint(v, a)) != MIDDLE]


def spread_pairs(prompts: Sequence[tuple[str, str]], *, turn: int = 0) -> tuple[Pair, ...]:
    """48 pairs, every target of the grid once and every prompt equally often; any first few spread over the plane.

    Args:
        prompts: subject and prompt each.
        turn: brings other targets to the same prompts.
    """
    return tuple(_spread(prompts, turn))


def _spread(prompts: Sequence[tuple[str, str]], turn: int) -> Iterator[Pair]:
    targets = grid()
    # Strides that share no factor with the counts: neighbors in this order differ in prompt and feeling.
    stride = next(number for number in count(_PROMPT_STRIDE) if gcd(number, len(prompts)) == 1)
    for index in range(len(targets)):
        subject, prompt = prompts[(index * stride + turn) % len(prompts)]
        yield Pair(subject=subject, prompt=prompt, target=targets[index * _TARGET_STRIDE % len(targets)])
