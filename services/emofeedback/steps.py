"""Records of the loop's three steps on their own, for people who write their own loop: loss, gradient, update."""

from __future__ import annotations

from dataclasses import dataclass

from emofeedback.affect import AffectPoint
from emofeedback.interfaces import Assessment, ModelInfo
from emofeedback.rounds import Rejection


@dataclass(frozen=True, kw_only=True)
class LossRequest:
    """Step 1: how far is each assessed image from the target?"""

    target: AffectPoint
    assessments: tuple[Assessment, ...]


@dataclass(frozen=True, kw_only=True)
class Losses:
    """What step 1 found."""

    losses: tuple[float, ...]
    """|V - V*| + |A - A*|, in [0, 16], in the order of the assessments."""
    best: int
    """Index of the nearest."""
    worst: int
    """Index of the farthest."""


@dataclass(frozen=True, kw_only=True)
class GradientRequest:
    """Step 2: what separates the best image from the worst, and what should change?"""

    prompt: str
    target: AffectPoint
    best_image: bytes
    best: Assessment
    worst_image: bytes
    worst: Assessment


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """What step 2 found: the textual gradient."""

    analysis: str
    model: ModelInfo


@dataclass(frozen=True, kw_only=True)
class UpdateRequest:
    """Step 3: rewrite the prompt by an analysis."""

    original_prompt: str
    """What the user asked for; the rewrite must stay about it."""
    prompt: str
    """What was painted last."""
    analysis: str
    target: AffectPoint


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """What step 3 wrote."""

    prompt: str
    rejected: tuple[Rejection, ...] = ()
    """Rewrites that were not used, and why."""
    fell_back: bool = False
    """True where no rewrite was usable and `prompt` is the request's own."""
    model: ModelInfo
