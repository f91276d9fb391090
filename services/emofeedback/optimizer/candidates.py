"""A round's pictures, generated and judged at once: each goes to the judge while the next is still being sampled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace

from emofeedback.concurrency import Channel, cancel, merge
from emofeedback.domain.affect import split_target
from emofeedback.domain.assessment import Judge
from emofeedback.domain.generation import GeneratedImage, GenerationQueued, GenerationRequest, GenerationStep, Generator
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.optimization import (
    Candidate,
    ImageJudged,
    ImagePainted,
    OptimizationRequest,
    PaintingStep,
    PromptShortened,
    WordsUnknown,
)
from emofeedback.domain.reasoning import Imagination
from emofeedback.domain.recipe import Wish, with_whole_recipe
from emofeedback.optimizer.loss import loss

CandidateEvent = WordsUnknown | PromptShortened | PaintingStep | ImagePainted | ImageJudged


def generate_and_judge(
    prompts: Sequence[str],
    seeds: Sequence[int],
    request: OptimizationRequest,
    *,
    suffix: str,
    imagine: bool,
    index: int,
    floor: float,
    generator: Generator,
    judge: Judge,
) -> AsyncGenerator[CandidateEvent, None]:
    """What happens in round `index` until all its images are generated and judged, as it happens.

    Image i has seed i and prompt i modulo their number, `suffix` behind it; the generator gets one call for each
    prompt, all at once. With `imagine` the judge is asked what it has in mind of the prompt as it was asked for, and
    image i is painted from variation i modulo their number. A rewrite says in words what else would be imagined: two
    pictures in one would be neither.

    Every candidate comes with its loss and its alignment with the original prompt; `on_subject` is True at or
    above the drift floor.
    """
    queue: Channel[GeneratedImage] = Channel()
    wish = Wish.of(request)

    def is_imagined(image: int) -> bool:
        return imagine and prompts[image % len(prompts)] == request.prompt

    async def generate_from(first: int) -> AsyncGenerator[CandidateEvent, None]:
        """The images of one prompt: the first of them, then every `len(prompts)`-th."""
        # A generator refuses what is over the limit; what is cut off then, no text encoder reads.
        prompt = prompts[first][: LIMITS.prompt_characters - len(suffix)]
        emotion = None
        if is_imagined(first):
            imagined = await judge.reason(Imagination(prompt=prompt, target=request.target))
            count = imagined.variations
            emotion = imagined.chosen([(first + len(prompts) * position) % count for position in range(count)])
        generation = GenerationRequest(
            prompt=prompt + suffix,
            seeds=tuple(seeds[first :: len(prompts)]),
            steps=request.steps,
            policy=request.policy,
            emotion=emotion,
        )
        async with aclosing(generator.generate(generation)) as events:
            async for event in events:
                match event:
                    case GenerationQueued(unknown_words=words, shortened_prompt=shortened):
                        if words:
                            yield WordsUnknown(round=index, words=words, subjects=event.subjects)
                        if shortened:
                            yield PromptShortened(round=index, prompt=split_target(shortened)[0])
                    case GenerationStep():
                        yield PaintingStep(round=index, step=replace(event, index=first + len(prompts) * event.index))
                    case GeneratedImage():
                        # Whoever keeps it can imagine the same again.
                        data = with_whole_recipe(event.data, wish, None) if emotion else event.data
                        image = replace(event, index=first + len(prompts) * event.index, data=data)
                        yield ImagePainted(round=index, image=image)
                        queue.send(image)

    async def generate() -> AsyncGenerator[CandidateEvent, None]:
        async with aclosing(merge(*map(generate_from, range(len(prompts))))) as events:
            async for event in events:
                yield event
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
                        loss=loss(outcome, request.target, request.dominance),
                        alignment=alignment,
                        on_subject=alignment >= floor,
                        prompt=prompts[key % len(prompts)],
                        imagined=is_imagined(key),
                    )
                    yield ImageJudged(round=index, candidate=candidate)
        finally:
            await cancel(*(scoring for scoring, _ in alignments.values()))

    return merge(generate(), assess())
