"""The events of a run of the loop, written down by hand, for the tests of what reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from emofeedback.domain.affect import AffectPoint, distance
from emofeedback.domain.generation import GeneratedImage, GenerationStep
from emofeedback.domain.optimization import (
    Answer,
    Candidate,
    GradientEstimated,
    ImageJudged,
    ImagePainted,
    LossComputed,
    OptimizationEvent,
    OptimizationFinished,
    OptimizationRequest,
    PaintingStep,
    PromptUpdated,
    Rejection,
    Round,
    RoundFinished,
    RoundStarted,
    StopReason,
    WordsUnknown,
)
from emofeedback.runs.run import OptimizationRun
from support.fakes import GENERATOR_MODEL, JUDGE_MODEL, UNREADABLE, assessment, paint

TARGET = AffectPoint(7.5, 3.0)
PROMPTS = (
    "a boat on the lake",
    "a boat on the lake at sunset, fog",
    "a boat on the lake at sunset, candles & <lanterns>",
)
REJECTED = Rejection(prompt="a golden <evening>", reason="it lost the subject")


def asked(profile: str | None = "nano", prompt: str = PROMPTS[0], **request: Any) -> OptimizationRun:
    """A run at its start."""
    given: dict[str, Any] = {"target": TARGET, "seed": 5, "images": 3} | request
    return OptimizationRun(request=OptimizationRequest(prompt=prompt, **given), profile=profile)


def new_run(images: int = 3) -> OptimizationRun:
    """The run that the staged events belong to, before its first."""
    return asked(images=images)


def staged_events(images: int = 3, *, first_round: int = 0) -> Iterator[OptimizationEvent]:
    """Three rounds that come nearer to the target; the judge can't read the second image of the second round."""
    best: Answer | None = None
    for index, prompt in enumerate(PROMPTS):
        events, best = _round(index, prompt, images, best)
        if index >= first_round:
            yield from events
    yield OptimizationFinished(
        answer=best,
        stopped_because=StopReason.ROUNDS,
        seconds=6.0,
        generator=GENERATOR_MODEL,
        judge=JUDGE_MODEL,
    )


def _round(index: int, prompt: str, images: int, best: Answer | None) -> tuple[list[OptimizationEvent], Answer | None]:
    events: list[OptimizationEvent] = [RoundStarted(round=index, prompt=prompt)]
    if index == 1:
        events.append(WordsUnknown(round=index, words=("fog",)))
    candidates = []
    for i in range(images):
        seed = 5 + i
        picture = GeneratedImage(
            index=i, seed=seed, data=paint(prompt, seed), width=16, height=16, model=GENERATOR_MODEL
        )
        felt = assessment(7.5 - i - (2 - index), 3.0)
        candidate = Candidate(
            index=i,
            seed=seed,
            outcome=felt,
            loss=distance(felt.point, TARGET),
            alignment=0.3,
            on_subject=(index, i) != (2, 1),
        )
        if (index, i) == (1, 1):
            candidate = Candidate(index=i, seed=seed, outcome=UNREADABLE, loss=None, alignment=0.3, on_subject=True)
        candidates.append(candidate)
        events.append(PaintingStep(round=index, step=GenerationStep(index=i, step=1, steps=1)))
        events.append(ImagePainted(round=index, image=picture))
        events.append(ImageJudged(round=index, candidate=candidate))
    nearest = Answer(round=index, index=0, loss=candidates[0].loss or 0.0)
    worst = Answer(round=index, index=images - 1, loss=candidates[-1].loss or 0.0)
    if best is None or nearest.loss < best.loss:
        best = nearest
    losses = tuple(candidate.loss for candidate in candidates)
    events.append(LossComputed(round=index, losses=losses, best=best, worst=worst))
    analysis, rewritten = "", ""
    rejected: tuple[Rejection, ...] = ()
    if index < len(PROMPTS) - 1:
        analysis, rewritten, rejected = "Add warm light.", PROMPTS[index + 1], (REJECTED,)
        events.append(
            GradientEstimated(
                round=index, analysis=analysis, best_reasoning="It is quiet.", worst_reasoning="It is <cold>."
            )
        )
        events.append(PromptUpdated(round=index, prompt=rewritten, rejected=rejected, fell_back=False))
    finished = Round(
        index=index,
        prompt=prompt,
        candidates=tuple(candidates),
        best=0,
        worst=images - 1,
        analysis=analysis,
        optimized_prompt=rewritten,
        rejected=rejected,
        seconds=2.0,
    )
    events.append(RoundFinished(round=finished))
    return events, best
