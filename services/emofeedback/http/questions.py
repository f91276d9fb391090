"""`/v1/questions` and `/v1/descriptions`: what the judge says about a picture or two in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request

from emofeedback.client.aio import AsyncServices
from emofeedback.domain.questions import AnswerOutcome, DescriptionOutcome, ReplyFailure
from emofeedback.domain.validation import check_descriptions, check_questions
from emofeedback.http.answers import plain, unless_hung_up
from emofeedback.http.bodies import DescriptionsBody, QuestionsBody


def questions_router(services: AsyncServices) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1", tags=["feeling"])

    @router.post("/questions", summary="Answers to questions about one or two pictures each")
    async def questions(body: QuestionsBody, request: Request) -> dict[str, Any]:
        asked = body.decoded()
        check_questions(asked)
        outcomes = await unless_hung_up(request, services.judge.ask(asked))
        return {"data": _contents(outcomes), "judge": plain(await services.judge.model())}

    @router.post("/descriptions", summary="What one or two pictures each make people feel, and why, in words")
    async def descriptions(body: DescriptionsBody, request: Request) -> dict[str, Any]:
        shown = body.decoded()
        check_descriptions(shown)
        outcomes = await unless_hung_up(request, services.judge.describe(shown))
        return {"data": _contents(outcomes), "judge": plain(await services.judge.model())}

    return router


def _contents(outcomes: Sequence[AnswerOutcome] | Sequence[DescriptionOutcome]) -> list[dict[str, Any]]:
    """`reason` is there where the judge could not say."""
    return [
        {"index": i, **plain(said), **({} if isinstance(said, ReplyFailure) else {"in_domain": said.in_domain})}
        for i, said in enumerate(outcomes)
    ]
