"""`/v1/images`, as OpenAI's clients call it: pictures from a prompt, or with a feeling the best of a run."""

from __future__ import annotations

import base64
import math
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from emofeedback.client.aio import AsyncServices
from emofeedback.domain.assessment import Assessment
from emofeedback.domain.errors import EmoFeedbackError, InvalidRequest, NotFound
from emofeedback.domain.generation import GeneratedImage
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.optimization import Candidate, ImagePainted, OptimizationFinished, RoundFinished
from emofeedback.domain.recipe import Reading, Wish, with_whole_recipe
from emofeedback.domain.validation import check_generation_request
from emofeedback.http.answers import outcome_content, plain, unless_hung_up
from emofeedback.http.bodies import ImagesBody
from emofeedback.http.errors import error_content


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """A picture of a run that may be among the best."""

    candidate: Candidate
    image: GeneratedImage

    @property
    def rank(self) -> tuple[bool, float]:
        """The lower, the better: pictures that may not be the answer come last."""
        loss = self.candidate.loss if self.candidate.likely_loss is None else self.candidate.likely_loss
        return not self.candidate.eligible, math.inf if loss is None else loss


def images_router(services: AsyncServices) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1/images", tags=["images"])

    @router.post("/generations", summary="Paint pictures, in a feeling where one is named")
    async def generations(body: ImagesBody, request: Request) -> dict[str, Any]:
        _check_count(body)
        await _check_model(body, services)
        work = _best_of_run(body, services) if body.has_feeling else _painted(body, services)
        return {"created": int(time.time()), **await unless_hung_up(request, work)}

    @router.post("/edits", summary="Not there yet", status_code=501)
    async def edits() -> JSONResponse:
        content = error_content(EmoFeedbackError("pictures can't be edited yet: the generator paints from text alone"))
        content["error"]["code"] = "UNIMPLEMENTED"
        return JSONResponse(content, 501)

    return router


async def _painted(body: ImagesBody, services: AsyncServices) -> dict[str, Any]:
    asked = body.generation()
    check_generation_request(asked)
    images: list[GeneratedImage] = []
    async with aclosing(services.generator.generate(asked)) as events:
        async for event in events:
            if isinstance(event, GeneratedImage):
                _check_size(body, event)
                images.append(event)
    images.sort(key=lambda image: image.index)
    data = [{**_shown(body, image.data), "revised_prompt": body.prompt, "seed": image.seed} for image in images]
    return {"data": data, "generator": plain(images[0].model)}


async def _best_of_run(body: ImagesBody, services: AsyncServices) -> dict[str, Any]:
    asked = body.request()
    painted: dict[int, GeneratedImage] = {}
    best: list[_Kept] = []
    async with aclosing(services.optimize(asked)) as events:
        async for event in events:
            match event:
                case ImagePainted(image=image):
                    _check_size(body, image)
                    painted[image.index] = image
                case RoundFinished(round=done):
                    judged = [_Kept(candidate=c, image=painted[c.index]) for c in done.candidates]
                    best = sorted([*best, *judged], key=lambda kept: kept.rank)[: body.n]
                    painted.clear()
                case OptimizationFinished() as finished:
                    pass
    wish = Wish.of(asked)
    data = []
    for kept in best:
        outcome, reading = kept.candidate.outcome, None
        if isinstance(outcome, Assessment):
            reading = Reading.of(outcome, finished.judge)
        data.append(
            {
                **_shown(body, with_whole_recipe(kept.image.data, wish, reading)),
                "revised_prompt": kept.candidate.prompt or asked.prompt,
                "seed": kept.candidate.seed,
                "loss": kept.candidate.loss,
                "assessment": outcome_content(outcome),
            }
        )
    return {
        "data": data,
        "target": plain(asked.target),
        "generator": plain(finished.generator),
        "judge": plain(finished.judge),
        "stopped_because": finished.stopped_because,
    }


def _shown(body: ImagesBody, png: bytes) -> dict[str, str]:
    encoded = base64.b64encode(png).decode()
    return {"b64_json": encoded} if body.response_format == "b64_json" else {"url": f"data:image/png;base64,{encoded}"}


def _check_count(body: ImagesBody) -> None:
    most = body.images if body.has_feeling else LIMITS.images_per_call
    if not 1 <= body.n <= most:
        named = " (images, those of a round)" if body.has_feeling else ""
        raise InvalidRequest.of("n", f"is {body.n}, it must lie in [1, {most}]{named}")


def _check_size(body: ImagesBody, image: GeneratedImage) -> None:
    """Only a picture tells the size that is painted."""
    painted = f"{image.width}x{image.height}"
    if body.size not in ("auto", painted):
        raise InvalidRequest.of("size", f"is {body.size!r}, this generator paints {painted} (or say auto)")


async def _check_model(body: ImagesBody, services: AsyncServices) -> None:
    if body.model and body.model != (name := (await services.generator.model()).name):
        raise NotFound(f"model {body.model!r} is unknown, this generator is {name!r}; or leave model out")
