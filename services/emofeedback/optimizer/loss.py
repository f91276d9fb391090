"""Step 1, the loss, and what follows from it: drift, the answer, when to stop.

Pure functions over the candidates of the rounds. They keep no state of their own, so a resumed run decides as
the uninterrupted one would have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from statistics import fmean

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, AffectPoint, distance
from emofeedback.domain.assessment import Assessment, AssessmentOutcome
from emofeedback.domain.optimization import Answer, Candidate, Losses, LossRequest, OptimizationRequest, StopReason
from emofeedback.optimizer.memory import WordEffects
from emofeedback.profiles.profile import OptimizerSettings

Candidates = Sequence[Candidate]
"""The judged images of one round."""

_FARTHEST = 2 * (SCALE_MAX - SCALE_MIN)


def loss(outcome: AssessmentOutcome, target: AffectPoint) -> float | None:
    """|V - V*| + |A - A*|, in [0, 16] (EmoFeedback^2, section 3.3); None for an unreadable reply."""
    return distance(outcome.point, target) if isinstance(outcome, Assessment) else None


def with_losses(candidates: Candidates, target: AffectPoint) -> Candidates:
    """The candidates with the loss that their outcomes have: records from outside are not taken at their word."""
    return [dataclasses.replace(candidate, loss=loss(candidate.outcome, target)) for candidate in candidates]


def with_likely_losses(
    candidates: Candidates, request: OptimizationRequest, effects: WordEffects | None
) -> tuple[Candidate, ...]:
    """The candidates with the loss of what is likely, where it is known what the words of their prompts do.

    The prompt as it was asked for leaves the mood open, so its words say nothing of its pictures.
    """

    def likely(candidate: Candidate) -> float | None:
        outcome = candidate.outcome
        if effects is None or candidate.prompt in ("", request.prompt) or not isinstance(outcome, Assessment):
            return None
        return distance(effects.likely(candidate.prompt, outcome.point), request.target)

    return tuple(dataclasses.replace(candidate, likely_loss=likely(candidate)) for candidate in candidates)


def compute_losses(request: LossRequest) -> Losses:
    """Step 1 on its own, for readable assessments without a history."""
    losses = tuple(distance(assessment.point, request.target) for assessment in request.assessments)
    return Losses(losses=losses, best=losses.index(min(losses)), worst=losses.index(max(losses)))


def drift_floor(first_round: Candidates, settings: OptimizerSettings) -> float:
    """The alignment with the original prompt below which an image has lost the subject.

    Alignment is a cosine whose level depends on the scorer and the prompt. The first round paints the user's own
    words, so its mean says what "on the subject" looks like for this prompt; `image_floor` is how far below it an
    image may lie.
    """
    return fmean(candidate.alignment for candidate in first_round) - settings.image_floor


def mark_drift(candidates: Candidates, floor: float) -> tuple[Candidate, ...]:
    """The candidates with `on_subject` set: False where the alignment lies under the floor."""
    return tuple(dataclasses.replace(candidate, on_subject=candidate.alignment >= floor) for candidate in candidates)


def best_of(rounds: Iterable[Candidates]) -> Answer | None:
    """The candidate nearest to the target, by what is likely where that is known, the earliest of equals; None where
    none could be judged.

    One that has lost the subject, or is not of the judge's world, is taken only where there is no other that could be
    judged: a run ends with a picture if there is any, and the first eligible one replaces it, however far from the
    target.
    """
    ranked = [
        (not candidate.eligible, _standing(candidate), index, candidate.index, candidate.loss)
        for index, candidates in enumerate(rounds)
        for candidate in candidates
        if candidate.loss is not None
    ]
    if not ranked:
        return None
    _, _, index, image, judged = min(ranked)
    return Answer(round=index, index=image, loss=judged)


def _standing(candidate: Candidate) -> float:
    """What a candidate that could be judged is chosen by."""
    assert candidate.loss is not None
    return candidate.loss if candidate.likely_loss is None else candidate.likely_loss


def worst_of(rounds: Sequence[Candidates]) -> Answer | None:
    """The farthest of the last round's candidates and the best of the rounds before, on the subject or not.

    The best so far takes part, so a round of one image has something to be compared with. None where none of
    the last round's candidates could be judged: then there is nothing new to learn from.
    """
    contenders = [
        Answer(round=len(rounds) - 1, index=candidate.index, loss=candidate.loss)
        for candidate in rounds[-1]
        if candidate.loss is not None
    ]
    if contenders and (best_so_far := best_of(rounds[:-1])) is not None:
        contenders.append(best_so_far)
    return max(contenders, key=lambda contender: contender.loss, default=None)


def stop_reason(
    request: OptimizationRequest, settings: OptimizerSettings, rounds: Sequence[Candidates], elapsed: float
) -> StopReason | None:
    """Why no further round starts after these, `elapsed` seconds into the run; None where one does."""
    answer = best_of(rounds)
    if answer is not None and request.tolerance is not None and answer.loss <= request.tolerance:
        return StopReason.TOLERANCE
    if len(rounds) >= request.rounds:
        return StopReason.ROUNDS
    if _plateau(rounds, settings):
        return StopReason.PLATEAU
    if rounds and request.time_budget is not None and elapsed >= request.time_budget:
        return StopReason.TIME_BUDGET
    return None


def _plateau(rounds: Sequence[Candidates], settings: OptimizerSettings) -> bool:
    """True where the last `plateau_rounds` rounds together gained less than `plateau_gain`."""
    before = len(rounds) - settings.plateau_rounds
    return before > 0 and _reached(rounds[:before]) - _reached(rounds) < settings.plateau_gain


def _reached(rounds: Sequence[Candidates]) -> float:
    answer = best_of(rounds)
    return _FARTHEST if answer is None else answer.loss
