"""Are the requests of the loop and of its single steps within their limits?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN
from emofeedback.domain.assessment import Assessment, AssessmentOutcome, Distribution
from emofeedback.domain.errors import FieldViolation
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.optimization import (
    Candidate,
    GradientRequest,
    LossRequest,
    OptimizationRequest,
    Proposal,
    Resume,
    Round,
    UpdateRequest,
)
from emofeedback.domain.validation import fields
from emofeedback.domain.validation.fields import Violations


def check_optimization_request(request: OptimizationRequest) -> None:
    """One run of the loop."""
    fields.require(
        fields.text("prompt", request.prompt),
        fields.number("rounds", request.rounds, 1, LIMITS.rounds),
        fields.number("images", request.images, 1, LIMITS.images_per_call),
        fields.number("seed", request.seed, 0, LIMITS.seed),
        fields.optional("tolerance", request.tolerance, 0, request.farthest),
        fields.optional("time_budget_seconds", request.time_budget, 0, LIMITS.time_budget_seconds),
        fields.name("policy", request.policy),
        fields.user("user", request.user, required=False),
        fields.optional("steps", request.steps, 1, LIMITS.steps),
        fields.optional("dominance", request.dominance, SCALE_MIN, SCALE_MAX),
        fields.name("request_id", request.request_id),
        _resume(request.resume, request) if request.resume is not None else (),
    )


def check_loss_request(request: LossRequest) -> None:
    """Step 1 of the loop."""
    fields.require(
        fields.optional("dominance", request.dominance, SCALE_MIN, SCALE_MAX),
        fields.each("assessments", request.assessments, LIMITS.images_per_call, _assessment),
        () if request.dominance is None else _without_dominance(request.assessments),
    )


def check_gradient_request(request: GradientRequest) -> None:
    """Step 2 of the loop."""
    fields.require(
        fields.text("prompt", request.prompt),
        fields.image("best_image", request.best_image),
        _assessment("best", request.best),
        fields.image("worst_image", request.worst_image),
        _assessment("worst", request.worst),
    )


def check_update_request(request: UpdateRequest) -> None:
    """Step 3 of the loop."""
    fields.require(
        fields.text("original_prompt", request.original_prompt),
        fields.text("prompt", request.prompt),
        fields.text("analysis", request.analysis, limit=LIMITS.text_characters),
    )


def _without_dominance(assessments: Sequence[Assessment]) -> Violations:
    for i, assessment in enumerate(assessments):
        if assessment.dominance is None:
            yield FieldViolation(f"assessments[{i}].dominance", "is missing, though dominance is asked for")


def _assessment(field: str, assessment: Assessment) -> Violations:
    yield from fields.number(f"{field}.valence", assessment.valence, SCALE_MIN, SCALE_MAX)
    yield from fields.number(f"{field}.arousal", assessment.arousal, SCALE_MIN, SCALE_MAX)
    yield from fields.number(f"{field}.confidence", assessment.confidence, 0, 1)
    yield from fields.optional(f"{field}.domain_score", assessment.domain_score, 0, math.inf)
    yield from fields.optional(f"{field}.dominance", assessment.dominance, SCALE_MIN, SCALE_MAX)
    for name in ("valence_distribution", "arousal_distribution", "dominance_distribution"):
        if (axis := getattr(assessment, name)) is not None:
            yield from _distribution(f"{field}.{name}", axis)
    for i, felt in enumerate(assessment.emotions):
        yield from fields.number(f"{field}.emotions[{i}].share", felt.share, 0, 1)
    if len({felt.emotion for felt in assessment.emotions}) < len(assessment.emotions):
        yield FieldViolation(f"{field}.emotions", "names an emotion twice")


def _distribution(field: str, axis: Distribution) -> Violations:
    steps = int(SCALE_MAX - SCALE_MIN) + 1
    if len(axis.shares) != steps:
        yield FieldViolation(f"{field}.shares", f"has {len(axis.shares)} entries, it must have {steps}")
    for i, share in enumerate(axis.shares):
        yield from fields.number(f"{field}.shares[{i}]", share, 0, 1)
    for end, value in (("low", axis.low), ("high", axis.high)):
        yield from fields.number(f"{field}.{end}", value, SCALE_MIN, SCALE_MAX)


def _outcome(field: str, outcome: AssessmentOutcome) -> Violations:
    if isinstance(outcome, Assessment):
        yield from _assessment(field, outcome)


def _resume(resume: Resume, request: OptimizationRequest) -> Violations:
    if not 1 <= len(resume.rounds) <= request.rounds:
        yield FieldViolation("resume.rounds", f"has {len(resume.rounds)} entries, 1 to {request.rounds} are needed")
    if not resume.best_image and any(done.best is not None for done in resume.rounds):
        yield FieldViolation("resume.best_image", "is empty, though a round has a best image")
    for i, done in enumerate(resume.rounds[: LIMITS.rounds]):
        field = f"resume.rounds[{i}]"
        if done.index != i:
            yield FieldViolation(f"{field}.index", f"is {done.index}, the rounds must be in order from 0")
        yield from _round(field, done)


def _round(field: str, done: Round) -> Violations:
    yield from fields.text(f"{field}.prompt", done.prompt)
    yield from fields.text(f"{field}.optimized_prompt", done.optimized_prompt, required=False)
    if done.further:
        yield from fields.each(f"{field}.further", done.further, LIMITS.images_per_call, _proposal)
    yield from fields.each(f"{field}.candidates", done.candidates, LIMITS.images_per_call, _candidate)
    for name, index in (("best", done.best), ("worst", done.worst)):
        if index is not None and index not in {candidate.index for candidate in done.candidates}:
            yield FieldViolation(f"{field}.{name}", f"is {index}, no candidate has this index")


def _proposal(field: str, proposal: Proposal) -> Violations:
    yield from fields.text(f"{field}.prompt", proposal.prompt)


def _candidate(field: str, candidate: Candidate) -> Violations:
    yield from _outcome(f"{field}.outcome", candidate.outcome)
