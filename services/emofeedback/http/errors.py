"""Errors as HTTP tells them: one form for all, that of OpenAI's API, with the field named.

    {"error": {"message": "valence: is 12, it must lie in [1, 9]", "type": "invalid_request_error",
               "param": "valence", "code": "INVALID_ARGUMENT",
               "violations": [{"field": "valence", "problem": "is 12, it must lie in [1, 9]"}]}}

Status codes are those of Google's mapping of gRPC's.
"""

from __future__ import annotations

import logging
import math
import secrets
from dataclasses import replace
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from emofeedback.domain.errors import (
    EmoFeedbackError,
    FieldViolation,
    InternalError,
    InvalidRequest,
    MessageTooLarge,
    NotFound,
)

log = logging.getLogger(__name__)

_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
_FIELDS = {
    "target.valence": "valence",
    "target.arousal": "arousal",
    "target.emotion": "emotion",
    "user": "person",
    "time_budget_seconds": "time_budget",
}
"""Fields of the domain that the bodies call otherwise: OpenAI's `user` is another's."""
_SHOWN = 8
"""Violations that one reply lists."""


def status_of(error: EmoFeedbackError) -> int:
    """The HTTP status of an error."""
    return 413 if isinstance(error, MessageTooLarge) else _STATUS[error.code]


def error_content(error: EmoFeedbackError) -> dict[str, Any]:
    """An error's body."""
    status = status_of(error)
    violations: tuple[FieldViolation, ...] = ()
    if isinstance(error, InvalidRequest):
        violations = tuple(replace(v, field=_FIELDS.get(v.field, v.field)) for v in error.violations[:_SHOWN])
    return {
        "error": {
            "message": "; ".join(map(str, violations)) or str(error),
            "type": _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error"),
            "param": violations[0].field if violations else None,
            "code": error.code,
            "violations": [{"field": v.field, "problem": v.problem} for v in violations],
        }
    }


def error_response(error: EmoFeedbackError) -> JSONResponse:
    """An error's whole reply."""
    headers = {"WWW-Authenticate": "Bearer"} if status_of(error) == 401 else {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    return JSONResponse(error_content(error), status_of(error), headers)


def unexpected(error: Exception) -> EmoFeedbackError:
    """What a caller is told of an error: itself where it is for callers, else a reference to this process's log."""
    if isinstance(error, EmoFeedbackError):
        return error
    reference = secrets.token_hex(4)
    log.error("a request failed, reference %s", reference, exc_info=error)
    return InternalError(f"the service failed; its log says more under reference {reference}")


def answer_errors(app: FastAPI) -> None:
    """From now on every error of the application's routes is answered in this form."""

    @app.exception_handler(RequestValidationError)
    async def refuse(_: Request, error: RequestValidationError) -> JSONResponse:
        violations = [FieldViolation(_field(found["loc"]), _problem(found)) for found in error.errors()[:_SHOWN]]
        return error_response(InvalidRequest(*violations))

    @app.exception_handler(HTTPException)
    async def answer(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, EmoFeedbackError):  # raised while FastAPI read the body
            return error_response(error.__cause__)
        if error.status_code == 404:
            return error_response(NotFound(f"there is nothing at {request.url.path}"))
        response = error_response(InvalidRequest.of("request", str(error.detail)))
        response.status_code = error.status_code
        return response

    @app.exception_handler(EmoFeedbackError)
    async def tell(_: Request, error: EmoFeedbackError) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(Exception)
    async def hide(_: Request, error: Exception) -> JSONResponse:
        return error_response(unexpected(error))


def _field(place: tuple[int | str, ...]) -> str:
    """`images[3].prompt` for a place in a body."""
    names = [part for part in place if part not in ("body", "query", "path")]
    dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in names)
    return dotted.lstrip(".") or "body"


def _problem(found: dict[str, Any]) -> str:
    match found["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is no field of this request"
        case "json_invalid":
            return f"is not JSON: {found['ctx']['error']}"
    message = str(found["msg"])
    return f"is wrong: {message[:1].lower()}{message[1:]}"
