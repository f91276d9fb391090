"""The loop's requests, records and results, to the wire and back. Its events are in `optimizer_events`."""

from __future__ import annotations

from emofeedback.domain import validation as checks
from emofeedback.domain.assessment import AssessmentOutcome
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.optimization import (
    Answer,
    Candidate,
    Gradient,
    GradientRequest,
    Losses,
    LossRequest,
    OptimizationRequest,
    Proposal,
    Rejection,
    Resume,
    Rewrite,
    Round,
    UpdateRequest,
)
from emofeedback.v1 import optimizer_pb2 as pb
from emofeedback.wire.affect import model_from_proto, model_to_proto, target_from_proto, target_to_proto
from emofeedback.wire.judge import assessment_from_proto, assessment_to_proto, outcome_from_proto, outcome_to_proto

# --- the whole loop ----------------------------------------------------------------------------------------------


def optimization_request_to_proto(request: OptimizationRequest) -> pb.OptimizeRequest:
    resume = request.resume
    return pb.OptimizeRequest(
        prompt=request.prompt,
        target=target_to_proto(request.target),
        rounds=request.rounds,
        images=request.images,
        seed=request.seed,
        tolerance=request.tolerance,
        time_budget_seconds=request.time_budget,
        policy=request.policy,
        resume=None if resume is None else _resume_to_proto(resume),
        request_id=request.request_id,
        user=request.user,
        steps=request.steps,
        imagine=request.imagine,
        dominance=request.dominance,
    )


def optimization_request_from_proto(message: pb.OptimizeRequest) -> OptimizationRequest:
    """Raises `InvalidRequest` where a field is out of its limits."""
    defaults = OptimizationRequest
    request = OptimizationRequest(
        prompt=message.prompt,
        target=target_from_proto(message.target),
        rounds=message.rounds if message.HasField("rounds") else defaults.rounds,
        images=message.images if message.HasField("images") else defaults.images,
        seed=message.seed,
        tolerance=message.tolerance if message.HasField("tolerance") else None,
        time_budget=message.time_budget_seconds if message.HasField("time_budget_seconds") else None,
        policy=message.policy,
        resume=_resume_from_proto(message.resume) if message.HasField("resume") else None,
        request_id=message.request_id,
        user=message.user,
        steps=message.steps if message.HasField("steps") else None,
        imagine=message.imagine if message.HasField("imagine") else None,
        dominance=message.dominance if message.HasField("dominance") else None,
    )
    checks.check_optimization_request(request)
    return request


def _resume_to_proto(resume: Resume) -> pb.Resume:
    return pb.Resume(rounds=[round_to_proto(done) for done in resume.rounds], best_image=resume.best_image)


def _resume_from_proto(message: pb.Resume) -> Resume:
    checks.check_most("resume.rounds", message.rounds, LIMITS.rounds)
    for i, done in enumerate(message.rounds):
        field = f"resume.rounds[{i}]"
        checks.check_most(f"{field}.candidates", done.candidates, LIMITS.images_per_call)
        checks.check_most(f"{field}.further", done.further, LIMITS.images_per_call)
        checks.check_most(f"{field}.rejected", done.rejected, LIMITS.rejections)
    rounds = (round_from_proto(done, f"resume.rounds[{i}]") for i, done in enumerate(message.rounds))
    return Resume(rounds=tuple(rounds), best_image=message.best_image)


# --- records -----------------------------------------------------------------------------------------------------


def round_to_proto(done: Round) -> pb.Round:
    return pb.Round(
        index=done.index,
        prompt=done.prompt,
        candidates=[candidate_to_proto(candidate) for candidate in done.candidates],
        best=done.best,
        worst=done.worst,
        analysis=done.analysis,
        optimized_prompt=done.optimized_prompt,
        rejected=[rejection_to_proto(rejection) for rejection in done.rejected],
        seconds=done.seconds,
        further=[proposal_to_proto(proposal) for proposal in done.further],
    )


def round_from_proto(message: pb.Round, field: str = "round") -> Round:
    """Raises `InvalidRequest` under `field` for an unreadable outcome or emotion."""
    return Round(
        index=message.index,
        prompt=message.prompt,
        candidates=tuple(
            candidate_from_proto(candidate, f"{field}.candidates[{i}]")
            for i, candidate in enumerate(message.candidates)
        ),
        best=message.best if message.HasField("best") else None,
        worst=message.worst if message.HasField("worst") else None,
        analysis=message.analysis,
        optimized_prompt=message.optimized_prompt,
        rejected=tuple(rejection_from_proto(rejection) for rejection in message.rejected),
        seconds=message.seconds,
        further=tuple(proposal_from_proto(proposal) for proposal in message.further),
    )


def candidate_to_proto(candidate: Candidate) -> pb.Candidate:
    return pb.Candidate(
        index=candidate.index,
        seed=candidate.seed,
        outcome=outcome_to_proto(candidate.outcome),
        loss=candidate.loss,
        alignment=candidate.alignment,
        on_subject=candidate.on_subject,
        prompt=candidate.prompt,
        likely_loss=candidate.likely_loss,
        imagined=candidate.imagined,
    )


def candidate_from_proto(message: pb.Candidate, field: str = "candidate") -> Candidate:
    """Raises `InvalidRequest` under `field` for an unreadable outcome or emotion."""
    outcome: AssessmentOutcome = outcome_from_proto(message.outcome, f"{field}.outcome")
    return Candidate(
        index=message.index,
        seed=message.seed,
        outcome=outcome,
        loss=message.loss if message.HasField("loss") else None,
        alignment=message.alignment,
        on_subject=message.on_subject,
        prompt=message.prompt,
        likely_loss=message.likely_loss if message.HasField("likely_loss") else None,
        imagined=message.imagined if message.HasField("imagined") else None,
    )


def proposal_to_proto(proposal: Proposal) -> pb.Proposal:
    return pb.Proposal(prompt=proposal.prompt, analysis=proposal.analysis)


def proposal_from_proto(message: pb.Proposal) -> Proposal:
    return Proposal(prompt=message.prompt, analysis=message.analysis)


def rejection_to_proto(rejection: Rejection) -> pb.Rejection:
    return pb.Rejection(prompt=rejection.prompt, reason=rejection.reason)


def rejection_from_proto(message: pb.Rejection) -> Rejection:
    return Rejection(prompt=message.prompt, reason=message.reason)


def answer_to_proto(answer: Answer) -> pb.Answer:
    return pb.Answer(round=answer.round, index=answer.index, loss=answer.loss)


def answer_from_proto(message: pb.Answer) -> Answer:
    return Answer(round=message.round, index=message.index, loss=message.loss)


# --- the three steps on their own --------------------------------------------------------------------------------


def loss_request_to_proto(request: LossRequest) -> pb.ComputeLossRequest:
    return pb.ComputeLossRequest(
        target=target_to_proto(request.target),
        assessments=[assessment_to_proto(assessment) for assessment in request.assessments],
        dominance=request.dominance,
    )


def loss_request_from_proto(message: pb.ComputeLossRequest) -> LossRequest:
    """Raises `InvalidRequest` where a field is out of its limits."""
    checks.check_most("assessments", message.assessments, LIMITS.images_per_call)
    request = LossRequest(
        target=target_from_proto(message.target),
        assessments=tuple(
            assessment_from_proto(assessment, f"assessments[{i}]") for i, assessment in enumerate(message.assessments)
        ),
        dominance=message.dominance if message.HasField("dominance") else None,
    )
    checks.check_loss_request(request)
    return request


def losses_to_proto(losses: Losses) -> pb.ComputeLossResponse:
    return pb.ComputeLossResponse(losses=losses.losses, best=losses.best, worst=losses.worst)


def losses_from_proto(message: pb.ComputeLossResponse) -> Losses:
    return Losses(losses=tuple(message.losses), best=message.best, worst=message.worst)


def gradient_request_to_proto(request: GradientRequest) -> pb.EstimateGradientRequest:
    return pb.EstimateGradientRequest(
        prompt=request.prompt,
        target=target_to_proto(request.target),
        best_image=request.best_image,
        best=assessment_to_proto(request.best),
        worst_image=request.worst_image,
        worst=assessment_to_proto(request.worst),
    )


def gradient_request_from_proto(message: pb.EstimateGradientRequest) -> GradientRequest:
    """Raises `InvalidRequest` where a field is out of its limits."""
    request = GradientRequest(
        prompt=message.prompt,
        target=target_from_proto(message.target),
        best_image=message.best_image,
        best=assessment_from_proto(message.best, "best"),
        worst_image=message.worst_image,
        worst=assessment_from_proto(message.worst, "worst"),
    )
    checks.check_gradient_request(request)
    return request


def gradient_to_proto(gradient: Gradient) -> pb.EstimateGradientResponse:
    return pb.EstimateGradientResponse(analysis=gradient.analysis, model=model_to_proto(gradient.model))


def gradient_from_proto(message: pb.EstimateGradientResponse) -> Gradient:
    return Gradient(analysis=message.analysis, model=model_from_proto(message.model))


def update_request_to_proto(request: UpdateRequest) -> pb.UpdatePromptRequest:
    return pb.UpdatePromptRequest(
        original_prompt=request.original_prompt,
        prompt=request.prompt,
        analysis=request.analysis,
        target=target_to_proto(request.target),
    )


def update_request_from_proto(message: pb.UpdatePromptRequest) -> UpdateRequest:
    """Raises `InvalidRequest` where a field is out of its limits."""
    request = UpdateRequest(
        original_prompt=message.original_prompt,
        prompt=message.prompt,
        analysis=message.analysis,
        target=target_from_proto(message.target),
    )
    checks.check_update_request(request)
    return request


def rewrite_to_proto(rewrite: Rewrite) -> pb.UpdatePromptResponse:
    return pb.UpdatePromptResponse(
        prompt=rewrite.prompt,
        rejected=[rejection_to_proto(rejection) for rejection in rewrite.rejected],
        fell_back=rewrite.fell_back,
        model=model_to_proto(rewrite.model),
    )


def rewrite_from_proto(message: pb.UpdatePromptResponse) -> Rewrite:
    return Rewrite(
        prompt=message.prompt,
        rejected=tuple(rejection_from_proto(rejection) for rejection in message.rejected),
        fell_back=message.fell_back,
        model=model_from_proto(message.model),
    )
