"""A round's pictures, painted and judged at once: each goes to the judge while the next is still on the easel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from emofeedback.concurrency import Channel, cancel, closing, merge
from emofeedback.domain.affect import split_target
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

PaintingEvent = WordsUnknown | PromptShortened | PaintingStep | ImagePainted | ImageJudged


def paint_and_judge(
    painting: GenerationRequest,
    request: OptimizationRequest,
    *,
    index: int,
    floor: float,
    generator: Generator,
    judge: Judge,
) -> AsyncGenerator[PaintingEvent, None]:
    """What happens in round `index` until all its images are painted and judged, as it happens.

    Every candidate comes with its loss and its alignment with the original prompt; `on_subject` is True at or
    above the drift floor.
    """
    queue: Channel[GeneratedImage] = Channel()

    async def paint() -> AsyncGenerator[PaintingEvent, None]:
        async with closing(generator.generate(painting)) as events:
            async for event in events:
                match event:
                    case GenerationQueued(unknown_words=words, shortened_prompt=shortened):
                        if words:
                            yield WordsUnknown(round=index, words=words, subjects=event.subjects)
                        if shortened:
                            yield PromptShortened(round=index, prompt=split_target(shortened)[0])
                    case GenerationStep():
                        yield PaintingStep(round=index, step=event)
                    case GeneratedImage():
                        yield ImagePainted(round=index, image=event)
                        queue.send(event)
        queue.close()

    async def assess() -> AsyncGenerator[PaintingEvent, None]:
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
            async with closing(judge.assess_stream(arrivals(), user=request.user)) as outcomes:
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

    return merge(paint(), assess())
