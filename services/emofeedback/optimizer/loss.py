"""Step 1, the loss, and what follows from it: drift, the answer, when to stop.

Pure functions over the candidates of the rounds. They keep no state of their own, so a resumed run decides as
the uninterrupted one would have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from statistics import fmean

from emofeedback.domain.affect import AffectPoint, distance
from emofeedback.domain.assessment import Assessment, AssessmentOutcome
from emofeedback.domain.optimization import Answer, Candidate, Losses, LossRequest, OptimizationRequest, StopReason
from emofeedback.optimizer.memory import WordEffects
from emofeedback.profiles.profile import OptimizerSettings

Candidates = Sequence[Candidate]
"""The judged images of one round."""


def loss(outcome: AssessmentOutcome, target: AffectPoint, dominance: float | None = None) -> float | None:
    """|V - V*| + |A - A*|, in [0, 16] (EmoFeedback^2, section 3.3), and + |D - D*|, in [0, 24], where dominance is a
    target as well.

    None for an unreadable reply, and for one that doesn't say the dominance that is asked for.
    """
    return _distance(outcome, outcome.point, target, dominance) if isinstance(outcome, Assessment) else None


def _distance(assessment: Assessment, point: AffectPoint, target: AffectPoint, dominance: float | None) -> float | None:
    """From a point and an assessment's dominance to what is asked for."""
    if dominance is None:
        return distance(point, target)
    if assessment.dominance is None:
        return None
    return distance(point, target) + abs(assessment.dominance - dominance)


def with_losses(candidates: Candidates, request: OptimizationRequest) -> Candidates:
    """The candidates with the loss that their outcomes have: records from outside are not taken at their word."""
    return [
        dataclasses.replace(candidate, loss=loss(candidate.outcome, request.target, request.dominance))
        for candidate in candidates
    ]


def without_dominance(rounds: Iterable[Candidates]) -> bool:
    """Whether the judge read pictures, and said dominance of none of them."""
    read = [c.outcome for candidates in rounds for c in candidates if isinstance(c.outcome, Assessment)]
    return bool(read) and all(outcome.dominance is None for outcome in read)


def with_likely_losses(
    candidates: Candidates, request: OptimizationRequest, effects: WordEffects | None
) -> tuple[Candidate, ...]:
    """The candidates with the loss of what is likely, where it is known what the words of their prompts do.

    The prompt as it was asked for leaves the mood open, so its words say nothing of its pictures. Of dominance no words
    are known; there the reading counts.
    """

    def likely(candidate: Candidate) -> float | None:
        outcome = candidate.outcome
        if effects is None or candidate.prompt in ("", request.prompt) or not isinstance(outcome, Assessment):
            return None
        point = effects.likely(candidate.prompt, outcome.point)
        return _distance(outcome, point, request.target, request.dominance)

    return tuple(dataclasses.replace(candidate, likely_loss=likely(candidate)) for candidate in candidates)


def compute_losses(request: LossRequest) -> Losses:
    """Step 1 on its own, for readable assessments without a history."""
    found = (loss(assessment, request.target, request.dominance) for assessment in request.assessments)
    losses = tuple(one for one in found if one is not None)  # all: the request was checked
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
    if _plateau(request, settings, rounds):
        return StopReason.PLATEAU
    if rounds and request.time_budget is not None and elapsed >= request.time_budget:
        return StopReason.TIME_BUDGET
    return None


def _plateau(request: OptimizationRequest, settings: OptimizerSettings, rounds: Sequence[Candidates]) -> bool:
    """True where the last `plateau_rounds` rounds together gained less than `plateau_gain`."""
    before = len(rounds) - settings.plateau_rounds
    return before > 0 and _reached(request, rounds[:before]) - _reached(request, rounds) < settings.plateau_gain


def _reached(request: OptimizationRequest, rounds: Sequence[Candidates]) -> float:
    answer = best_of(rounds)
    return request.farthest if answer is None else answer.loss
