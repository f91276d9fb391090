"""`/v1/assessments`, `/v1/optimizations` and what models and policies there are: the services, one route each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, get_args

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from emofeedback.client.aio import AsyncServices
from emofeedback.domain.errors import FieldViolation, InvalidRequest
from emofeedback.domain.limits import BASE_POLICY, LIMITS
from emofeedback.domain.optimization import OptimizationRequest
from emofeedback.domain.reasoning import Reasoning, reasoning_of
from emofeedback.domain.recipe import read_recipe
from emofeedback.domain.validation import check_assessment
from emofeedback.http.answers import (
    NOT_KEPT,
    SSE,
    event_content,
    event_name,
    outcome_content,
    plain,
    sse,
    unless_hung_up,
    within,
)
from emofeedback.http.bodies import AssessmentsBody, LoopBody
from emofeedback.http.errors import error_content, unexpected

_EXAMPLE = 'event: round_started\ndata: {"round": 0, "prompt": "a dog in a meadow"}\n\n'
_FORM = "multipart/form-data"
_SWITCHES = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False, "": False}
"""How forms say yes and no."""
_FIELDS = ("images", "image", "images[]", "image[]")
_ASSESSMENTS_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": AssessmentsBody.model_json_schema(),
            "example": {"images": ["iVBORw0KGgo..."], "reasoning": True},
        },
        _FORM: {
            "schema": {
                "type": "object",
                "required": ["images"],
                "properties": {
                    "images": {"type": "array", "items": {"type": "string", "format": "binary"}},
                    "reasoning": {"type": "string", "enum": ["true", "false", *get_args(Reasoning)]},
                    "person": {"type": "string"},
                },
            }
        },
    },
}


def loop_router(services: AsyncServices) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1", tags=["feeling"])

    @router.post(
        "/assessments",
        summary="What pictures make people feel",
        openapi_extra={"requestBody": _ASSESSMENTS_BODY},
    )
    async def assessments(request: Request) -> dict[str, Any]:
        images, reasoning, person = await _pictures(request)
        check_assessment(images, person)
        outcomes = await unless_hung_up(request, services.judge.assess(images, reasoning=reasoning, user=person))
        data = [
            {"index": i, **outcome_content(outcome), "recipe": _recipe(image)}
            for i, (image, outcome) in enumerate(zip(images, outcomes, strict=True))
        ]
        return {"data": data, "judge": plain(await services.judge.model())}

    @router.post(
        "/optimizations",
        summary="The loop as it happens, as server-sent events; whoever hangs up stops it",
        response_class=StreamingResponse,
        responses={200: {"content": {SSE: {"example": _EXAMPLE}}}},
    )
    async def optimizations(body: LoopBody) -> StreamingResponse:
        return StreamingResponse(_events(services, body.request()), media_type=SSE, headers=NOT_KEPT)

    @router.get("/models", summary="The generator and the judge")
    async def models() -> dict[str, Any]:
        generator, judge = await services.generator.model(), await services.judge.model()
        data = [("generator", generator), ("judge", judge)]
        return {
            "object": "list",
            "data": [
                {"id": model.name, "object": "model", "created": 0, "owned_by": "emofeedback", "kind": kind}
                | {"digest": model.digest}
                for kind, model in data
            ],
        }

    @router.get("/policies", summary="What the generator has learned: names for `policy`")
    async def policies() -> dict[str, Any]:
        return {"data": [*await services.generator.policies(), BASE_POLICY]}

    return router


async def _events(services: AsyncServices, asked: OptimizationRequest) -> AsyncIterator[bytes]:
    """An error is the last event: the status was sent with the first."""
    try:
        async with aclosing(services.optimize(asked)) as events:
            async for event in events:
                yield sse(event_name(event), event_content(event, within))
    except Exception as error:
        yield sse("error", error_content(unexpected(error)))


async def _pictures(request: Request) -> tuple[list[bytes], Reasoning, str]:
    """The encoded pictures of a request, how the judge should reason, and by whose eyes."""
    if request.headers.get("content-type", "").partition(";")[0].strip().casefold() == _FORM:
        return await _of_form(request)
    try:
        body = AssessmentsBody.model_validate_json(await request.body())
    except ValidationError as error:
        raise InvalidRequest(
            *(FieldViolation(".".join(map(str, found["loc"])) or "body", found["msg"]) for found in error.errors()[:8])
        ) from error
    return body.decoded(), body.reasoning, body.person


async def _of_form(request: Request) -> tuple[list[bytes], Reasoning, str]:
    async with request.form(max_files=LIMITS.images_per_call, max_fields=8) as form:
        if wrong := [name for name in form if name not in (*_FIELDS, "reasoning", "person")]:
            raise InvalidRequest.of(wrong[0], "is no field of this request")
        files = [found for name in _FIELDS for found in form.getlist(name)]
        pictures = []
        for i, file in enumerate(files):
            if not isinstance(file, UploadFile):
                raise InvalidRequest.of(f"images[{i}]", "is a text, it must be a file")
            pictures.append(await file.read())
        asked = str(form.get("reasoning", "false")).casefold()
        return pictures, reasoning_of(_SWITCHES.get(asked, asked)), str(form.get("person", ""))


def _recipe(image: bytes) -> Any:
    """What the picture says of itself; a foreign one says nothing, a damaged recipe is none."""
    try:
        recipe = read_recipe(image)
    except InvalidRequest:
        return None
    return None if recipe is None else plain(recipe)
