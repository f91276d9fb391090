"""A round's pictures, generated and judged at once: each goes to the judge while the next is still being sampled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from emofeedback.concurrency import Channel, cancel, merge
from emofeedback.domain.assessment import Judge
from emofeedback.domain.generation import GeneratedImage, GenerationQueued, GenerationRequest, GenerationStep, Generator
from emofeedback.domain.optimization import (
    Candidate,
    ImageJudged,
    ImagePainted,
    OptimizationRequest,
    PaintingStep,
    PromptShortened,
    WordsUnknown,
)
from emofeedback.optimizer.loss import loss

CandidateEvent = WordsUnknown | PromptShortened | PaintingStep | ImagePainted | ImageJudged


def generate_and_judge(
    generation: GenerationRequest,
    request: OptimizationRequest,
    *,
    index: int,
    floor: float,
    generator: Generator,
    judge: Judge,
) -> AsyncGenerator[CandidateEvent, None]:
    """What happens in round `index` until all its images are generated and judged, as it happens.

    Every candidate comes with its loss and its alignment with the original prompt; `on_subject` is True at or
    above the drift floor.
    """
    queue: Channel[GeneratedImage] = Channel()

    async def generate() -> AsyncGenerator[CandidateEvent, None]:
        async with aclosing(generator.generate(generation)) as events:
            async for event in events:
                match event:
                    case GenerationQueued(unknown_words=words, shortened_prompt=shortened):
                        if words:
                            yield WordsUnknown(round=index, words=words)
                        if shortened:
                            yield PromptShortened(round=index, prompt=shortened)
                    case GenerationStep():
                        yield PaintingStep(round=index, step=event)
                    case GeneratedImage():
                        yield ImagePainted(round=index, image=event)
                        queue.send(event)
        queue.close()

    async def assess() -> AsyncGenerator[CandidateEvent, None]:
        images: dict[int, GeneratedImage] = {}
        alignments: dict[int, tuple[asyncio.Task[list[float]], int]] = {}

        async def arrivals() -> AsyncIterator[tuple[int, bytes]]:
            async for together in queue:
                scoring = asyncio.create_task(judge.score([image.data for image in together], request.prompt))
                for position, image in enumerate(together):
                    images[image.index] = image
                    alignments[image.index] = scoring, position
                for image in together:
                    yield image.index, image.data

        try:
            async with aclosing(judge.assess_stream(arrivals(), user=request.user)) as outcomes:
                async for key, outcome in outcomes:
                    scoring, position = alignments[key]
                    alignment = (await scoring)[position]
                    candidate = Candidate(
                        index=key,
                        seed=images[key].seed,
                        outcome=outcome,
                        loss=loss(outcome, request.target),
                        alignment=alignment,
                        on_subject=alignment >= floor,
                    )
                    yield ImageJudged(round=index, candidate=candidate)
        finally:
            await cancel(*(scoring for scoring, _ in alignments.values()))

    return merge(generate(), assess())
