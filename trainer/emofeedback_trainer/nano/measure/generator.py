"""The generator by the independent judge: is what the caption names in the picture, and does the judge agree on it?"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from emofeedback.domain.assessment import Assessment, Judge
from emofeedback.domain.generation import GeneratedImage, GenerationRequest, Generator
from emofeedback.domain.limits import BASE_POLICY
from emofeedback_trainer.evaluation.metrics import correlation
from emofeedback_trainer.nano.measure.judge import judged
from emofeedback_trainer.nano.measure.realism import share_called_drawn
from emofeedback_trainer.nano.models.independent_judge import IndependentJudge
from emofeedback_trainer.nano.world.captions import emotional_caption
from emofeedback_trainer.nano.world.rendering import render
from emofeedback_trainer.nano.world.scenes import Scene

_REALISM_STEPS = 250
_TOGETHER = 32
"""Pictures asked for at a time, so that the generator can batch them."""


async def generate(generator: Generator, scenes: Sequence[Scene], seed: int) -> list[bytes]:
    """A PNG for each scene, by the base weights, from a caption that names all of it."""
    rng = np.random.default_rng(seed)
    requests = [
        GenerationRequest(prompt=emotional_caption(scene, rng), seeds=(seed + index,), policy=BASE_POLICY)
        for index, scene in enumerate(scenes)
    ]

    async def image_of(request: GenerationRequest) -> bytes:
        (data,) = [event.data async for event in generator.generate(request) if isinstance(event, GeneratedImage)]
        return data

    images: list[bytes] = []
    for start in range(0, len(requests), _TOGETHER):
        images += await asyncio.gather(*map(image_of, requests[start : start + _TOGETHER]))
    return images


async def generator_metrics(
    images: Sequence[bytes], scenes: Sequence[Scene], *, judge: Judge, independent: IndependentJudge, seed: int
) -> dict[str, float]:
    """Shares recognised by the independent judge, and the judge's correlation with it."""
    pictures = [Image.open(io.BytesIO(image)).convert("RGB") for image in images]
    readings = independent.look(pictures)
    outcomes = await judged(judge, images)
    pairs = [(o, r) for o, r in zip(outcomes, readings, strict=True) if isinstance(o, Assessment)]
    seen = list(zip(readings, scenes, strict=True))
    wanted = [(extra, reading) for reading, scene in seen for extra in scene.extras]
    return {
        "judges_valence": correlation([o.valence for o, _ in pairs], [r.valence for _, r in pairs]),
        "judges_arousal": correlation([o.arousal for o, _ in pairs], [r.arousal for _, r in pairs]),
        "subject": float(np.mean([reading.subject == scene.subject for reading, scene in seen])),
        "weather": float(np.mean([reading.weather == scene.weather for reading, scene in seen])),
        "extra": float(np.mean([extra in reading.extras for extra, reading in wanted])),
        "called_drawn": share_called_drawn(pictures, [render(s) for s in scenes], steps=_REALISM_STEPS, seed=seed),
    }
