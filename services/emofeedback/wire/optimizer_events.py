"""The loop's events, to the wire and back."""

from __future__ import annotations

from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.optimization import (
    GradientEstimated,
    ImageJudged,
    ImagePainted,
    LossComputed,
    OptimizationEvent,
    OptimizationFinished,
    PaintingStep,
    PromptShortened,
    PromptUpdated,
    RoundFinished,
    RoundStarted,
    StopReason,
    WordsUnknown,
)
from emofeedback.v1 import optimizer_pb2 as pb
from emofeedback.wire.affect import model_from_proto, model_to_proto
from emofeedback.wire.generator import image_from_proto, image_to_proto, step_from_proto, step_to_proto
from emofeedback.wire.optimizer import (
    answer_from_proto,
    answer_to_proto,
    candidate_from_proto,
    candidate_to_proto,
    proposal_from_proto,
    proposal_to_proto,
    rejection_from_proto,
    rejection_to_proto,
    round_from_proto,
    round_to_proto,
)


def optimization_event_to_proto(event: OptimizationEvent) -> pb.OptimizeResponse:
    match event:
        case RoundStarted():
            started = pb.RoundStarted(round=event.round, prompt=event.prompt)
            return pb.OptimizeResponse(round_started=started)
        case WordsUnknown():
            unknown = pb.WordsUnknown(round=event.round, words=event.words, subjects=event.subjects)
            return pb.OptimizeResponse(words_unknown=unknown)
        case PromptShortened():
            shortened = pb.PromptShortened(round=event.round, prompt=event.prompt)
            return pb.OptimizeResponse(prompt_shortened=shortened)
        case PaintingStep():
            step = pb.PaintingStep(round=event.round, step=step_to_proto(event.step))
            return pb.OptimizeResponse(painting_step=step)
        case ImagePainted():
            painted = pb.ImagePainted(round=event.round, image=image_to_proto(event.image))
            return pb.OptimizeResponse(image_painted=painted)
        case ImageJudged():
            judged = pb.ImageJudged(round=event.round, candidate=candidate_to_proto(event.candidate))
            return pb.OptimizeResponse(image_judged=judged)
        case LossComputed():
            return pb.OptimizeResponse(loss_computed=_loss_to_proto(event))
        case GradientEstimated():
            gradient = pb.GradientEstimated(
                round=event.round,
                analysis=event.analysis,
                best_reasoning=event.best_reasoning,
                worst_reasoning=event.worst_reasoning,
            )
            return pb.OptimizeResponse(gradient_estimated=gradient)
        case PromptUpdated():
            updated = pb.PromptUpdated(
                round=event.round,
                prompt=event.prompt,
                rejected=[rejection_to_proto(rejection) for rejection in event.rejected],
                fell_back=event.fell_back,
                further=[proposal_to_proto(proposal) for proposal in event.further],
            )
            return pb.OptimizeResponse(prompt_updated=updated)
        case RoundFinished():
            return pb.OptimizeResponse(round_finished=pb.RoundFinished(round=round_to_proto(event.round)))
        case OptimizationFinished():
            return pb.OptimizeResponse(finished=_finished_to_proto(event))


def optimization_event_from_proto(message: pb.OptimizeResponse) -> OptimizationEvent:
    """Raises `InvalidRequest` where the message holds no event that this version knows."""
    match message.WhichOneof("event"):
        case "round_started":
            return RoundStarted(round=message.round_started.round, prompt=message.round_started.prompt)
        case "words_unknown":
            unknown = message.words_unknown
            return WordsUnknown(round=unknown.round, words=tuple(unknown.words), subjects=unknown.subjects)
        case "prompt_shortened":
            return PromptShortened(round=message.prompt_shortened.round, prompt=message.prompt_shortened.prompt)
        case "painting_step":
            step = step_from_proto(message.painting_step.step)
            return PaintingStep(round=message.painting_step.round, step=step)
        case "image_painted":
            image = image_from_proto(message.image_painted.image)
            return ImagePainted(round=message.image_painted.round, image=image)
        case "image_judged":
            candidate = candidate_from_proto(message.image_judged.candidate)
            return ImageJudged(round=message.image_judged.round, candidate=candidate)
        case "loss_computed":
            return _loss_from_proto(message.loss_computed)
        case "gradient_estimated":
            return GradientEstimated(
                round=message.gradient_estimated.round,
                analysis=message.gradient_estimated.analysis,
                best_reasoning=message.gradient_estimated.best_reasoning,
                worst_reasoning=message.gradient_estimated.worst_reasoning,
            )
        case "prompt_updated":
            return PromptUpdated(
                round=message.prompt_updated.round,
                prompt=message.prompt_updated.prompt,
                rejected=tuple(rejection_from_proto(r) for r in message.prompt_updated.rejected),
                fell_back=message.prompt_updated.fell_back,
                further=tuple(proposal_from_proto(p) for p in message.prompt_updated.further),
            )
        case "round_finished":
            return RoundFinished(round=round_from_proto(message.round_finished.round))
        case "finished":
            return _finished_from_proto(message.finished)
        case _:
            raise InvalidRequest.of("event", "is missing or of an unknown kind")


def _loss_to_proto(event: LossComputed) -> pb.LossComputed:
    return pb.LossComputed(
        round=event.round,
        losses=[pb.CandidateLoss(loss=loss) for loss in event.losses],
        best=None if event.best is None else answer_to_proto(event.best),
        worst=None if event.worst is None else answer_to_proto(event.worst),
    )


def _loss_from_proto(message: pb.LossComputed) -> LossComputed:
    return LossComputed(
        round=message.round,
        losses=tuple(item.loss if item.HasField("loss") else None for item in message.losses),
        best=answer_from_proto(message.best) if message.HasField("best") else None,
        worst=answer_from_proto(message.worst) if message.HasField("worst") else None,
    )


def _finished_to_proto(event: OptimizationFinished) -> pb.OptimizationFinished:
    return pb.OptimizationFinished(
        answer=None if event.answer is None else answer_to_proto(event.answer),
        stopped_because=pb.StopReason.Value(f"STOP_REASON_{event.stopped_because.name}"),
        seconds=event.seconds,
        generator=model_to_proto(event.generator),
        judge=model_to_proto(event.judge),
    )


def _finished_from_proto(message: pb.OptimizationFinished) -> OptimizationFinished:
    known = {pb.StopReason.Value(f"STOP_REASON_{reason.name}"): reason for reason in StopReason}
    if message.stopped_because not in known:
        raise InvalidRequest.of("stopped_because", f"is {message.stopped_because}, this version doesn't know it")
    return OptimizationFinished(
        answer=answer_from_proto(message.answer) if message.HasField("answer") else None,
        stopped_because=known[message.stopped_because],
        seconds=message.seconds,
        generator=model_from_proto(message.generator),
        judge=model_from_proto(message.judge),
    )
