"""One prompt all over the plane, by the base and by a policy at the same seed: what was learned, to look at."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence

from PIL import Image

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.assessment import Assessment, Judge
from emofeedback.domain.generation import GeneratedImage, GenerationRequest, Generator
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.runs.plane import Cell, draw_plane, grid_targets
from emofeedback_trainer.core.condition import Condition

_GRID = 5
_SEED = 7
_GAP = 24


async def plane_picture(prompt: str, policy: str, *, generator: Generator, judge: Judge) -> bytes:
    """A PNG of two planes of 5 x 5, the base's on the left: valence to the right, arousal upwards, one seed for all.

    Without a policy there is only the base's.
    """
    planes = [
        await _plane(prompt, name, f"{title}: {prompt}", generator=generator, judge=judge)
        for name, title in ((BASE_POLICY, "base"), (policy, policy))
        if name
    ]
    return _side_by_side([Image.open(io.BytesIO(plane)) for plane in planes])


async def _plane(prompt: str, policy: str, title: str, *, generator: Generator, judge: Judge) -> bytes:
    levels = grid_targets(_GRID)
    places = [(column, row) for column in range(_GRID) for row in range(_GRID)]

    async def generated(target: AffectPoint) -> bytes:
        caption = Condition(prompt=prompt, target=target).caption
        request = GenerationRequest(prompt=caption, seeds=(_SEED,), policy=policy)
        (image,) = [event.data async for event in generator.generate(request) if isinstance(event, GeneratedImage)]
        return image

    images = await asyncio.gather(*(generated(AffectPoint(levels[column], levels[row])) for column, row in places))
    outcomes = await judge.assess(images)
    cells = {
        place: Cell(image=image, judged=outcome.point)
        for place, image, outcome in zip(places, images, outcomes, strict=True)
        if isinstance(outcome, Assessment)
    }
    return draw_plane(title, _GRID, cells)


def _side_by_side(pictures: Sequence[Image.Image]) -> bytes:
    width = sum(picture.width for picture in pictures) + _GAP * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, max(picture.height for picture in pictures)), pictures[0].getpixel((0, 0)))
    x = 0
    for picture in pictures:
        sheet.paste(picture, (x, 0))
        x += picture.width + _GAP
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()
