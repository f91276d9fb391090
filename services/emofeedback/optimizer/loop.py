"""The loop (EmoFeedback^2, section 3.3): paint, loss, gradient, update, until the picture feels right.

Beyond the paper:
1. The answer is the best image over all rounds, and the best so far takes part in every comparison.
2. It stops early on a tolerance, a plateau or a time budget.
3. A drift guard keeps prompts and pictures about the original prompt.
4. Seeds are paired between rounds, so a change in the picture comes from the prompt. Where the prompt did not
   change, because no rewrite was usable, the round goes on with the next seeds instead of painting the same again.
   A round paints several rewrites, each with a gradient of its own that aims near the target, all from the prompt of
   the best picture so far. Where earlier runs are remembered, what the words usually do has its say in which
   picture is best. Dominance may be asked for as a third target, of the loss alone: it has its say in which picture is
   best and when to stop, not in the words.
5. Each image is judged while the next is painted, and everything that happens is an event at once.
6. Nothing is lost: unreadable replies cost a candidate or a rewrite, never the run, and an error leaves the events
   and finished rounds before it with the caller. A cut run resumes after its last finished round.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from emofeedback.concurrency import together
from emofeedback.domain.affect import target_phrase
from emofeedback.domain.assessment import Assessment, Judge
from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.generation import Generator
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.optimization import (
    Answer,
    Candidate,
    Gradient,
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
from emofeedback.optimizer.candidates import generate_and_judge
from emofeedback.optimizer.loss import (
    Candidates,
    best_of,
    drift_floor,
    mark_drift,
    stop_reason,
    with_likely_losses,
    with_losses,
    without_dominance,
    worst_of,
)
from emofeedback.optimizer.memory import remembered
from emofeedback.optimizer.steps import (
    RoundUpdate,
    aims_around,
    estimate_gradient,
    joined,
    reasons_of,
    update_prompt,
)
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
        FailedPrecondition: dominance is asked for, and the judge said it of none of the pictures that it read.
        EmoFeedbackError: whatever the generator or the judge raised, after the events before it were delivered.
    """
    check_optimization_request(request)
    numbers = f", {target_phrase(request.target)}" if settings.numeric_target else ""
    settings = replace(settings, max_prompt_tokens=max(settings.max_prompt_tokens - estimated_tokens(numbers), 1))
    resume = request.resume or Resume(rounds=(), best_image=b"")
    rounds = list(resume.rounds)
    effects = remembered(settings.memory)
    judged = [with_likely_losses(with_losses(finished.candidates, request), request, effects) for finished in rounds]
    prompts = _next_prompts(rounds[-1]) if rounds else [request.prompt]
    best = best_of(judged)
    images = {_position(best): resume.best_image} if best else {}
    """The pictures in play, by round and index: the best so far, and those of the running round."""
    imagine = settings.imagine and not request.policy if request.imagine is None else request.imagine
    model = await generator.model()
    began = time.monotonic() - sum(finished.seconds for finished in rounds)

    while (stop := stop_reason(request, settings, judged, time.monotonic() - began)) is None:
        index, round_began = len(rounds), time.monotonic()
        yield RoundStarted(round=index, prompt=prompts[0])

        # Generate from the prompts, and judge each picture while the next is sampled.
        seeds = _seeds(request, prompts[0], rounds)
        floor = drift_floor(judged[0], settings) if judged else _NO_FLOOR
        candidates: list[Candidate] = []
        async with aclosing(
            generate_and_judge(
                prompts,
                seeds,
                request,
                suffix=numbers,
                imagine=imagine,
                index=index,
                floor=floor,
                generator=generator,
                judge=judge,
            )
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
        marked = mark_drift(candidates, drift_floor(judged[0] if judged else candidates, settings))
        judged.append(with_likely_losses(marked, request, effects))
        if request.dominance is not None and without_dominance(judged):
            raise FailedPrecondition(
                f"dominance {request.dominance:g} is asked for, and the judge says it of no picture: ask for valence "
                "and arousal alone, or name a judge that has learned dominance"
            )
        best, worst = best_of(judged), worst_of(judged)
        losses = tuple(candidate.loss for candidate in judged[-1])
        yield LossComputed(round=index, losses=losses, best=best, worst=worst)

        update, analysis = RoundUpdate(), ""
        if stop_reason(request, settings, judged, time.monotonic() - began) is None:
            # Step 2, gradient: what separates the two, in words, once for every aim. Where nothing could be judged
            # there is none.
            aims = aims_around(request.target, min(settings.rewrites, request.images))
            gradients: list[Gradient] = []
            prompt = _prompt_of(judged, best) or prompts[0]
            if best and worst:
                best_image, worst_image = images[_position(best)], images[_position(worst)]
                best_reasoning, worst_reasoning = await reasons_of(
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
                gradients = await together(
                    estimate_gradient(replace(comparison, target=aim), judge=judge, settings=settings, variant=variant)
                    for variant, aim in enumerate(aims)
                )
                analysis = gradients[0].analysis
                yield GradientEstimated(
                    round=index,
                    analysis=analysis,
                    best_reasoning=best_reasoning,
                    worst_reasoning=worst_reasoning,
                )
            # Step 3, update: the prompt, rewritten by these words.
            earlier = [*(used for finished in rounds for used in _used(finished)), *prompts]
            analyses = [gradient.analysis for gradient in gradients] or [""]
            rewrites = await together(
                update_prompt(
                    UpdateRequest(original_prompt=request.prompt, prompt=prompt, analysis=said, target=aim),
                    judge=judge,
                    settings=settings,
                    earlier=earlier,
                )
                for said, aim in zip(analyses, aims, strict=False)
            )
            update = joined(gradients, rewrites)
            yield PromptUpdated(
                round=index,
                prompt=update.prompt,
                rejected=update.rejected,
                fell_back=update.fell_back,
                further=update.further,
            )

        seconds = time.monotonic() - round_began
        rounds.append(_record(index, prompts[0], judged[-1], analysis, update, seconds))
        yield RoundFinished(round=rounds[-1])
        prompts = _next_prompts(rounds[-1])
        images = {_position(best): images[_position(best)]} if best else {}

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
    """The same seeds in every round, but further ones for a prompt that was used before."""
    skipped = request.images * sum(prompt in _used(finished) for finished in rounds)
    return tuple((request.seed + skipped + image) % (LIMITS.seed + 1) for image in range(request.images))


def _next_prompts(finished: Round) -> list[str]:
    """What comes after a round: its first rewrite, or its own prompt where it has none, and those beside it."""
    return [finished.optimized_prompt or finished.prompt, *(proposal.prompt for proposal in finished.further)]


def _used(finished: Round) -> set[str]:
    """The prompts of a round's images."""
    return {finished.prompt, *(candidate.prompt or finished.prompt for candidate in finished.candidates)}


def _prompt_of(judged: Sequence[Candidates], answer: Answer | None) -> str:
    """What the answer was generated from; empty where there is none."""
    found = (c.prompt for c in judged[answer.round] if c.index == answer.index) if answer else ()
    return next(iter(found), "")


def _record(
    index: int, prompt: str, candidates: Candidates, analysis: str, update: RoundUpdate, seconds: float
) -> Round:
    best, worst = best_of([candidates]), worst_of([candidates])
    return Round(
        index=index,
        prompt=prompt,
        candidates=tuple(candidates),
        best=best.index if best else None,
        worst=worst.index if worst else None,
        analysis=analysis,
        optimized_prompt=update.prompt,
        further=update.further,
        rejected=update.rejected,
        seconds=seconds,
    )


def _position(answer: Answer) -> tuple[int, int]:
    return answer.round, answer.index


def _assessment(judged: Sequence[Candidates], answer: Answer) -> Assessment:
    return next(
        candidate.outcome
        for candidate in judged[answer.round]
        if candidate.index == answer.index and isinstance(candidate.outcome, Assessment)
    )
