"""The loop (EmoFeedback^2, section 3.3): paint, loss, gradient, update, until the picture feels right.

Beyond the paper:
1. The answer is the best image over all rounds, and the best so far takes part in every comparison.
2. It stops early on a tolerance, a plateau or a time budget.
3. A drift guard keeps prompts and pictures about the original prompt.
4. Seeds are paired between rounds, so a change in the picture comes from the prompt. Where the prompt did not
   change, because no rewrite was usable, the round goes on with the next seeds instead of painting the same again.
5. Each image is judged while the next is painted, and everything that happens is an event at once.
6. Nothing is lost: unreadable replies cost a candidate or a rewrite, never the run, and an error leaves the events
   and finished rounds before it with the caller. A cut run resumes after its last finished round.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from emofeedback.domain.affect import target_phrase
from emofeedback.domain.assessment import Assessment, Judge
from emofeedback.domain.generation import GenerationRequest, Generator
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.optimization import (
    Answer,
    Candidate,
    GradientEstimated,
    GradientRequest,
    ImageJudged,
    ImagePainted,
    LossComputed,
    OptimizationEvent,
    OptimizationFinished,
    OptimizationRequest,
    PromptUpdated,
    Resume,
    Round,
    RoundFinished,
    RoundStarted,
    StopReason,
    UpdateRequest,
)
from emofeedback.domain.text import estimated_tokens
from emofeedback.domain.validation import check_optimization_request
from emofeedback.observability.metrics import ANSWER_ERROR, OPTIMIZATIONS, ROUNDS_TO_TOLERANCE
from emofeedback.optimizer.candidates import paint_and_judge
from emofeedback.optimizer.loss import Candidates, best_of, drift_floor, mark_drift, stop_reason, with_losses, worst_of
from emofeedback.optimizer.steps import PromptUpdate, TextualGradient, estimate_gradient, reason_aloud, update_prompt
from emofeedback.profiles.profile import OptimizerSettings

_NO_FLOOR = -1.0
"""Below every cosine: in round one every image passes until all are there."""


async def optimize(
    request: OptimizationRequest, *, generator: Generator, judge: Judge, settings: OptimizerSettings
) -> AsyncGenerator[OptimizationEvent, None]:
    """Runs the loop and tells what happens; the last event is `OptimizationFinished`.

    Closing the iterator cancels everything underneath at once. The time budget is looked at between rounds, and
    before a rewrite that would come too late; a round that has begun is finished.

    Raises:
        InvalidRequest: a field is out of its limits.
        EmoFeedbackError: whatever the generator or the judge raised, after the events before it were delivered.
    """
    check_optimization_request(request)
    numbers = f", {target_phrase(request.target)}" if settings.numeric_target else ""
    settings = replace(settings, max_prompt_tokens=settings.max_prompt_tokens - estimated_tokens(numbers))
    resume = request.resume or Resume(rounds=(), best_image=b"")
    rounds = list(resume.rounds)
    judged = [with_losses(finished.candidates, request.target) for finished in rounds]
    prompt = (rounds[-1].optimized_prompt or rounds[-1].prompt) if rounds else request.prompt
    best = best_of(judged)
    images = {_place(best): resume.best_image} if best else {}
    """The pictures in play, by round and index: the best so far, and those of the running round."""
    model = await generator.model()
    began = time.monotonic() - sum(finished.seconds for finished in rounds)

    while (stop := stop_reason(request, settings, judged, time.monotonic() - began)) is None:
        index, round_began = len(rounds), time.monotonic()
        yield RoundStarted(round=index, prompt=prompt)

        # Paint from the prompt, and judge each picture while the next is painted.
        seeds = _seeds(request, prompt, rounds)
        painting = GenerationRequest(prompt=prompt + numbers, seeds=seeds, policy=request.policy)
        floor = drift_floor(judged[0], settings) if judged else _NO_FLOOR
        candidates: list[Candidate] = []
        async with aclosing(
            paint_and_judge(painting, request, index=index, floor=floor, generator=generator, judge=judge)
        ) as events:
            async for event in events:
                yield event
                if isinstance(event, ImagePainted):
                    images[index, event.image.index] = event.image.data
                    model = event.image.model
                elif isinstance(event, ImageJudged):
                    candidates.append(event.candidate)

        # Step 1, loss: which picture is nearest to the target, which farthest.
        candidates.sort(key=lambda candidate: candidate.index)
        judged.append(mark_drift(candidates, drift_floor(judged[0] if judged else candidates, settings)))
        best, worst = best_of(judged), worst_of(judged)
        losses = tuple(candidate.loss for candidate in judged[-1])
        yield LossComputed(round=index, losses=losses, best=best, worst=worst)

        gradient, update = TextualGradient(), PromptUpdate()
        if stop_reason(request, settings, judged, time.monotonic() - began) is None:
            # Step 2, gradient: what separates the two, in words. Where nothing could be judged there is none.
            if best and worst:
                best_image, worst_image = images[_place(best)], images[_place(worst)]
                best_reasoning, worst_reasoning = await reason_aloud(
                    [best_image, worst_image], user=request.user, judge=judge
                )
                comparison = GradientRequest(
                    prompt=prompt,
                    target=request.target,
                    best_image=best_image,
                    best=replace(_assessment(judged, best), reasoning=best_reasoning),
                    worst_image=worst_image,
                    worst=replace(_assessment(judged, worst), reasoning=worst_reasoning),
                )
                gradient = await estimate_gradient(comparison, judge=judge, settings=settings)
                yield GradientEstimated(
                    round=index,
                    analysis=gradient.analysis,
                    best_reasoning=best_reasoning,
                    worst_reasoning=worst_reasoning,
                )
            # Step 3, update: the prompt, rewritten by these words.
            revision = UpdateRequest(
                original_prompt=request.prompt, prompt=prompt, analysis=gradient.analysis, target=request.target
            )
            painted = [finished.prompt for finished in rounds]
            update = await update_prompt(revision, judge=judge, settings=settings, painted=painted)
            yield PromptUpdated(
                round=index,
                prompt=update.prompt,
                rejected=gradient.rejected + update.rejected,
                fell_back=update.fell_back,
            )

        seconds = time.monotonic() - round_began
        rounds.append(_record(index, prompt, judged[-1], gradient, update, seconds))
        yield RoundFinished(round=rounds[-1])
        prompt = update.prompt
        images = {_place(best): images[_place(best)]} if best else {}

    OPTIMIZATIONS.record(1, stopped_because=stop)
    if stop is StopReason.TOLERANCE:
        ROUNDS_TO_TOLERANCE.record(len(rounds))
    if best:
        ANSWER_ERROR.record(best.loss)
    yield OptimizationFinished(
        answer=best,
        stopped_because=stop,
        seconds=time.monotonic() - began,
        generator=model,
        judge=await judge.model(),
    )


def _seeds(request: OptimizationRequest, prompt: str, rounds: Sequence[Round]) -> tuple[int, ...]:
    """The same seeds in every round, but further ones for a prompt that was painted before."""
    skipped = request.images * sum(finished.prompt == prompt for finished in rounds)
    return tuple((request.seed + skipped + image) % (LIMITS.seed + 1) for image in range(request.images))


def _record(
    index: int, prompt: str, candidates: Candidates, gradient: TextualGradient, update: PromptUpdate, seconds: float
) -> Round:
    best, worst = best_of([candidates]), worst_of([candidates])
    return Round(
        index=index,
        prompt=prompt,
        candidates=tuple(candidates),
        best=best.index if best else None,
        worst=worst.index if worst else None,
        analysis=gradient.analysis,
        optimized_prompt=update.prompt,
        rejected=gradient.rejected + update.rejected,
        seconds=seconds,
    )


def _place(answer: Answer) -> tuple[int, int]:
    return answer.round, answer.index


def _assessment(judged: Sequence[Candidates], answer: Answer) -> Assessment:
    return next(
        candidate.outcome
        for candidate in judged[answer.round]
        if candidate.index == answer.index and isinstance(candidate.outcome, Assessment)
    )
