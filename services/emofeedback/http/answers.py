"""What replies carry: the domain's records as JSON, events as server-sent events."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable, Coroutine, Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter
from starlette.requests import Request

from emofeedback.concurrency import cancel
from emofeedback.domain.assessment import Assessment, AssessmentOutcome
from emofeedback.domain.errors import Cancelled
from emofeedback.domain.optimization import ImagePainted, OptimizationEvent

T = TypeVar("T")

SSE = "text/event-stream"
NOT_KEPT = {"Cache-Control": "no-store"}
ShowImage = Callable[[ImagePainted], Mapping[str, str]]
"""How an event shows its picture: within it, or where it is."""


def within(event: ImagePainted) -> Mapping[str, str]:
    """The picture within the event."""
    return {"b64_json": base64.b64encode(event.image.data).decode()}


def event_name(event: OptimizationEvent) -> str:
    """`round_started` of a `RoundStarted`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()


def event_content(event: OptimizationEvent, show: ShowImage) -> dict[str, Any]:
    """An event as JSON; its picture as `show` says."""
    content: dict[str, Any] = _adapter(event).dump_python(event, mode="json", exclude={"image": {"data"}})
    if isinstance(event, ImagePainted):
        content["image"].update(show(event))
    return content


def outcome_content(outcome: AssessmentOutcome) -> dict[str, Any]:
    """What a judge says of one picture; `reason` is there where it could not say."""
    content: dict[str, Any] = _adapter(outcome).dump_python(outcome, mode="json")
    return {**content, "in_domain": outcome.in_domain} if isinstance(outcome, Assessment) else content


def plain(record: Any) -> Any:
    """Any of the domain's records as JSON."""
    return _adapter(record).dump_python(record, mode="json")


def sse(name: str, content: Mapping[str, Any], number: int | None = None) -> bytes:
    """One server-sent event."""
    lines = [] if number is None else [f"id: {number}"]
    lines += [f"event: {name}", f"data: {json.dumps(content, ensure_ascii=False)}"]
    return ("\n".join(lines) + "\n\n").encode(errors="backslashreplace")


async def unless_hung_up(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of some work, which ends at once where its caller hangs up.

    Raises:
        Cancelled: the caller did.
    """
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_hang_up(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Cancelled("the caller hung up")
    finally:
        await cancel(working, gone)


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _adapter(record: Any) -> TypeAdapter[Any]:
    kind: Any = type(record)
    return _made_adapter(kind)


@cache
def _made_adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
