"""The generator's pictures beside drawn ones, and by the independent judge: is what the caption names in them?"""

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
from emofeedback_trainer.evaluation.picture_statistics import diversity, edges, to_array
from emofeedback_trainer.nano.measure.judge import judged
from emofeedback_trainer.nano.measure.realism import share_called_drawn
from emofeedback_trainer.nano.models.independent_judge import IndependentJudge
from emofeedback_trainer.nano.world.captions import emotional_caption
from emofeedback_trainer.nano.world.numbered import scene_at
from emofeedback_trainer.nano.world.rendering import render
from emofeedback_trainer.nano.world.scenes import Scene, varied

_REALISM_STEPS, _REALISM_NETWORKS = 250, 3
_GROUP = 8
"""Pictures of one caption whose variety is measured."""
_TOGETHER = 32
"""Pictures asked for at a time, so that the generator can batch them."""

_PAIRS, _ROWS = 6, 8
"""Of the page, a drawn and a painted picture each."""
_TILE, _GAP = 128, 6


async def generate(generator: Generator, scenes: Sequence[Scene], seed: int, policy: str = BASE_POLICY) -> list[bytes]:
    """A PNG for each scene, from a caption that names all of it; an empty policy is the profile's."""
    rng = np.random.default_rng(seed)
    requests = [
        GenerationRequest(prompt=emotional_caption(scene, rng), seeds=(seed + index,), policy=policy)
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
    """Shares recognised by the independent judge, the judge's correlation with it, and how drawn the pictures look:
    the share that networks take for drawn ones, and their edges as a share of those of the same scenes drawn."""
    pictures = [Image.open(io.BytesIO(image)).convert("RGB") for image in images]
    readings = independent.look(pictures)
    outcomes = await judged(judge, images)
    pairs = [(o, r) for o, r in zip(outcomes, readings, strict=True) if isinstance(o, Assessment)]
    seen = list(zip(readings, scenes, strict=True))
    wanted = [(extra, reading) for reading, scene in seen for extra in scene.extras]
    faces = [(reading, scene) for reading, scene in seen if scene.expression]
    drawn = [render(scene) for scene in scenes]
    return {
        "judges_valence": correlation([o.valence for o, _ in pairs], [r.valence for _, r in pairs]),
        "judges_arousal": correlation([o.arousal for o, _ in pairs], [r.arousal for _, r in pairs]),
        "subject": float(np.mean([reading.subject == scene.subject for reading, scene in seen])),
        "weather": float(np.mean([reading.weather == scene.weather for reading, scene in seen])),
        "extra": float(np.mean([extra in reading.extras for extra, reading in wanted])),
        "expression": float(np.mean([reading.expression == scene.expression for reading, scene in faces])),
        "called_drawn": share_called_drawn(
            pictures, drawn, steps=_REALISM_STEPS, seeds=range(seed, seed + _REALISM_NETWORKS)
        ),
        "edges": sum(map(_edges, pictures)) / sum(map(_edges, drawn)),
    }


async def variety(generator: Generator, scenes: Sequence[Scene], seed: int, policy: str = BASE_POLICY) -> float:
    """How different the pictures of one caption are, as a share of how different the scene's own layouts are drawn;
    mean over the scenes, a group of eight each."""
    rng = np.random.default_rng(seed)
    shares = []
    for index, scene in enumerate(scenes):
        request = GenerationRequest(
            prompt=emotional_caption(scene, rng),
            seeds=tuple(range(seed + _GROUP * index, seed + _GROUP * (index + 1))),
            policy=policy,
        )
        data = [event.data async for event in generator.generate(request) if isinstance(event, GeneratedImage)]
        painted = diversity([Image.open(io.BytesIO(image)) for image in data])
        shares.append(painted / diversity([render(varied(scene, rng), 128) for _ in range(_GROUP)]))
    return float(np.mean(shares))


async def page(generator: Generator, seed: int) -> Image.Image:
    """48 drawn scenes, and to the right of each what the profile's policy paints of its caption; unselected."""
    scenes = [scene_at("evaluation", seed + index) for index in range(_PAIRS * _ROWS)]
    painted = [Image.open(io.BytesIO(image)) for image in await generate(generator, scenes, seed, policy="")]
    step, gap = 2 * _TILE, _GAP
    sheet = Image.new("RGB", (_PAIRS * (step + gap) + gap, _ROWS * (_TILE + gap) + gap), (250, 250, 250))
    for index, (scene, image) in enumerate(zip(scenes, painted, strict=True)):
        x, y = gap + index % _PAIRS * (step + gap), gap + index // _PAIRS * (_TILE + gap)
        for picture, left in ((render(scene), x), (image, x + _TILE)):
            sheet.paste(picture.convert("RGB").resize((_TILE, _TILE), Image.Resampling.LANCZOS), (left, y))
    return sheet


def _edges(picture: Image.Image) -> float:
    return edges(to_array(picture))
