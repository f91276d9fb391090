"""Pictures of held-out pairs by one policy, and what judge, scorer and independent judge see in them.

Generated as for a user: by the profile's own steps and guidance, one round, no textual feedback. The seeds are
always the same, so two policies differ only by their weights.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.assessment import Assessment, Judge
from emofeedback.domain.generation import GeneratedImage, GenerationRequest, Generator
from emofeedback.domain.reasoning import Imagination
from emofeedback_trainer.core.pairs import Pair
from emofeedback_trainer.core.task import IndependentJudge, Reading
from emofeedback_trainer.evaluation.going_on import NOT_KEPT, KeptPictures

_TOGETHER = 6
"""Pairs that are under way at once: enough to fill a batch and to judge one while the next are generated."""
_SEEDS_A_PAIR = 1000


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One picture in the eyes of all who look at it."""

    seed: int
    image: bytes
    """A PNG."""
    judged: Assessment | None
    """None where the judge gave no readable reply."""
    alignment: float
    """Cosine with the neutral prompt, by the scorer."""
    independent: Reading | None
    """None where there is no independent judge of these pictures."""

    @property
    def point(self) -> AffectPoint | None:
        """The feeling: by the independent judge where there is one, else by the judge."""
        seen = self.independent or self.judged
        return AffectPoint(seen.valence, seen.arousal) if seen else None

    @property
    def picture(self) -> Image.Image:
        return Image.open(io.BytesIO(self.image)).convert("RGB")


def seeds_of(pair: int, images: int, first_seed: int) -> tuple[int, ...]:
    """The seeds of pair number `pair`: always the same, none shared between pairs."""
    start = first_seed + _SEEDS_A_PAIR * pair
    return tuple(range(start, start + images))


async def look_at(
    pairs: Sequence[Pair],
    *,
    images: int,
    first_seed: int,
    policy: str,
    generator: Generator,
    judge: Judge,
    independent: IndependentJudge | None,
    imagine: bool = False,
    kept: KeptPictures = NOT_KEPT,
) -> list[tuple[Observation, ...]]:
    """`images` pictures for each pair, generated with `policy`; one group a pair, in order.

    Args:
        imagine: paint from what the judge imagines of the pair, by a policy that was fused with it.
        kept: where the pictures lie, so that those that are there are not painted again.

    Raises:
        EmoFeedbackError: whatever the generator or the judge raised, or a picture can't be kept; nothing is left out of
            a measurement.
    """
    room = asyncio.Semaphore(_TOGETHER)

    async def painted(pair: Pair, seeds: tuple[int, ...]) -> list[bytes]:
        emotion = None
        if imagine:
            emotion = await judge.reason(Imagination(prompt=pair.prompt, target=pair.target))
        request = GenerationRequest(prompt=pair.caption, seeds=seeds, policy=policy, emotion=emotion)
        generated = [event async for event in generator.generate(request) if isinstance(event, GeneratedImage)]
        return [image.data for image in sorted(generated, key=lambda image: image.index)]

    async def group(number: int, pair: Pair) -> tuple[Observation, ...]:
        async with room:
            seeds = seeds_of(number, images, first_seed)
            data = await kept.of_pair(policy, number, images, lambda: painted(pair, seeds))
            return await _seen(pair, seeds, data, judge=judge, independent=independent)

    return list(await asyncio.gather(*(group(number, pair) for number, pair in enumerate(pairs))))


async def _seen(
    pair: Pair, seeds: Sequence[int], images: Sequence[bytes], *, judge: Judge, independent: IndependentJudge | None
) -> tuple[Observation, ...]:
    outcomes, alignments = await asyncio.gather(judge.assess(images), judge.score(images, pair.prompt))
    pictures = [Image.open(io.BytesIO(image)).convert("RGB") for image in images]
    readings: Sequence[Reading | None] = independent.look(pictures) if independent else [None] * len(pictures)
    return tuple(
        Observation(
            seed=seed,
            image=image,
            judged=outcome if isinstance(outcome, Assessment) else None,
            alignment=alignment,
            independent=reading,
        )
        for seed, image, outcome, alignment, reading in zip(seeds, images, outcomes, alignments, readings, strict=True)
    )
