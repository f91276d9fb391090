"""How sure a judge is, and whether it is right as often as it is sure.

Two confidences: the probability that the written emotion had among the eight, which `Judge.assess` reads out of the
reply, and self-consistency, the share of sampled replies that agree (Wang et al. 2023). Either may be sharpened or
softened by one temperature, fitted on pictures that nothing else is measured on (Guo et al. 2017).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from emofeedback.domain.assessment import Assessment, AssessmentFailure, AssessmentOutcome, Decoding, Judge
from emofeedback.judge.engines.completion import Completion
from emofeedback.judge.parsing import parse_reasoning
from emofeedback.judge.prompts import reasoning_conversation
from emofeedback_trainer.evaluation.metrics import Array, Bin, brier, expected_calibration_error, reliability

_CERTAINTY = 1e-3
"""Confidences are kept this far from 0 and 1: the log odds of a sampled share of 1 would be infinite."""
_TEMPERATURES = (0.05, 20.0)
"""Where a temperature is looked for: answers all right, or all wrong, would drive it to zero or infinity."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How replies are sampled for self-consistency."""

    replies: int = 8
    """For each picture; ten or so are where the gain levels off."""
    temperature: float = 0.7
    max_new_tokens: int = 512
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Whether confidence can be believed."""

    n: int
    accuracy: float
    confidence: float
    """Mean."""
    ece: float
    brier: float
    table: tuple[Bin, ...]


async def self_consistent(judge: Judge, images: Sequence[bytes], sampling: Sampling) -> list[AssessmentOutcome]:
    """What most of several sampled replies say of each picture, with the share of them that say so as confidence.

    Valence and arousal are the means over the readable replies, as the rating of several people would be; replies that
    can't be read count against the share.

    Raises:
        InvalidRequest: as `Judge.converse`.
    """
    replies: list[list[AssessmentOutcome]] = [[] for _ in images]
    for turn in range(sampling.replies):
        decoding = Decoding(
            max_new_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            seed=sampling.seed + turn,
        )
        for place, text in enumerate(await judge.converse([reasoning_conversation(i) for i in images], decoding)):
            replies[place].append(parse_reasoning(Completion(text, (), finished=True)))
    return [agreed(of_one) for of_one in replies]


def agreed(replies: Sequence[AssessmentOutcome]) -> AssessmentOutcome:
    """The assessment that several replies to one picture come to; of equally frequent emotions the first said wins."""
    readable = [reply for reply in replies if isinstance(reply, Assessment)]
    if not readable:
        return AssessmentFailure(reason=f"none of {len(replies)} sampled replies can be read")
    (emotion, votes), *_ = Counter(reply.emotion for reply in readable).most_common()
    return Assessment(
        valence=float(np.mean([reply.valence for reply in readable])),
        arousal=float(np.mean([reply.arousal for reply in readable])),
        emotion=emotion,
        confidence=votes / len(replies),
        reasoning=next(reply.reasoning for reply in readable if reply.emotion is emotion),
    )


def calibration(confidences: ArrayLike, right: ArrayLike) -> Calibration:
    """A reliability table and what it comes to.

    Args:
        confidences: in [0, 1].
        right: 1 where the emotion is right, else 0.
    """
    said, hits = np.asarray(confidences, np.float64), np.asarray(right, np.float64)
    return Calibration(
        n=len(hits),
        accuracy=float(hits.mean()),
        confidence=float(said.mean()),
        ece=expected_calibration_error(said, hits),
        brier=brier(said, hits),
        table=reliability(said, hits),
    )


def tempered(confidences: ArrayLike, temperature: float) -> Array:
    """Confidences whose log odds are divided by the temperature: above 1 they move towards one half.

    With two outcomes, right and wrong, this is temperature scaling; it needs no probabilities of the other emotions, so
    a judge behind an address can be calibrated too.
    """
    from scipy.special import expit  # here and below, as in `metrics`: it takes a second to import

    scaled: Array = expit(_log_odds(confidences) / temperature)
    return scaled


def fit_temperature(confidences: ArrayLike, right: ArrayLike) -> float:
    """The temperature, in [0.05, 20], under which the outcomes are likeliest."""
    from scipy.optimize import minimize_scalar

    odds, hits = _log_odds(confidences), np.asarray(right, np.float64)

    def loss(log_temperature: float) -> float:
        scaled = odds / np.exp(log_temperature)
        # log(1 + e^x) - y x is the negative log-likelihood of y under the odds x.
        return float((np.logaddexp(0, scaled) - hits * scaled).mean())

    low, high = np.log(_TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def _log_odds(confidences: ArrayLike) -> Array:
    from scipy.special import logit

    odds: Array = logit(np.clip(np.asarray(confidences, np.float64), _CERTAINTY, 1 - _CERTAINTY))
    return odds
