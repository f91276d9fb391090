"""A world in which feelings are colors: red is valence, green is arousal. For what fills and uses an emotional memory.

A caption names its point; one with "badly" in it is painted three points off.
"""

import io
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from emofeedback.domain.affect import AffectPoint, Emotion, clip_to_scale
from emofeedback.domain.errors import Unavailable
from emofeedback.domain.generation import GeneratedImage, GenerationEvent, GenerationRequest, ModelInfo
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.storage import write_split
from support.fakes import GENERATOR_MODEL, ScriptedGenerator, ScriptedJudge, assessment

_STRENGTH = 25.0
"""Of a color, for a point of the scale."""


def picture(point: AffectPoint, seed: int) -> bytes:
    """A PNG of a point, with a pattern of its seed's own."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((64, 64, 3))
    pixels[..., :2] = np.array([point.valence, point.arousal]) * _STRENGTH
    pixels += rng.normal(0, 12, (8, 8, 1)).repeat(8, 0).repeat(8, 1)
    pixels[..., :2] += np.array([point.valence, point.arousal]) * _STRENGTH - pixels[..., :2].mean(axis=(0, 1))
    file = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def data_folder(folder: Path, *, train: int, val: int, bad_every: int = 4) -> Path:
    """Labelled pictures all over the plane; every so many captions are painted badly."""
    for split, count in (("train", train), ("val", val)):
        write_split(folder, split, [_sample(split, index, bad_every) for index in range(count)])
    return folder


def _sample(split: str, index: int, bad_every: int) -> Sample:
    rng = np.random.default_rng((split == "val", index))
    valence, arousal = rng.uniform(2, 8, 2).round(2).tolist()
    badly = "badly " if index % bad_every == 0 else ""
    return Sample(
        id=f"{split}-{index}",
        source="colors",
        license="CC0-1.0",
        image=picture(AffectPoint(valence, arousal), 10_000 + index),
        neutral_prompt="a color",
        emotional_prompt=f"{badly}painted {valence} {arousal} number {index}",
        valence=valence,
        arousal=arousal,
        emotion=list(Emotion)[index % 8],
        comments=("It is colored.",),
        split=split,
    )


def point_of(prompt: str) -> AffectPoint:
    """What the picture of a caption makes people feel in truth."""
    found = re.search(r"painted ([\d.]+) ([\d.]+)", prompt)
    valence, arousal = map(float, found.groups()) if found else (5.0, 5.0)
    return AffectPoint(clip_to_scale(valence + 3 * ("badly" in prompt)), arousal)


@dataclass(kw_only=True)
class ColorGenerator(ScriptedGenerator):
    """Paints captions of this world; unavailable from some call on."""

    fails_from: int = 10**9

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        if len(self.requests) >= self.fails_from:
            raise Unavailable("gone")
        self.requests.append(request)
        data = picture(point_of(request.prompt), request.seeds[0])
        yield GeneratedImage(index=0, seed=request.seeds[0], data=data, width=64, height=64, model=GENERATOR_MODEL)


@dataclass
class ColorWitness:
    """Reads colors; one that is blind sees gray."""

    blind: bool = False
    info: ModelInfo = field(default_factory=lambda: ModelInfo(name="color witness", digest="sha256:" + "5" * 64))

    def look(self, images: Sequence[Image.Image]) -> Sequence[AffectPoint]:
        means = [np.asarray(image, np.float64)[..., :2].mean(axis=(0, 1)) / _STRENGTH for image in images]
        return [
            AffectPoint(5.0, 5.0) if self.blind else AffectPoint(*(clip_to_scale(float(value)) for value in mean))
            for mean in means
        ]


def color_judge() -> ScriptedJudge:
    """Says of every picture valence 5, arousal 5: nothing that the memory should believe."""
    return ScriptedJudge(feeling=lambda picture: assessment(5.0, 5.0))
