"""Are the requests about training runs within their limits?"""

from __future__ import annotations

import re

from emofeedback.domain.errors import FieldViolation
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.training import RunRequest
from emofeedback.domain.validation import fields
from emofeedback.domain.validation.fields import Violations


def check_run_request(request: RunRequest) -> None:
    """A training run to start or to go on with."""
    fields.require(
        _run_name("name", request.name),
        fields.text("config", request.config, required=not request.resume, limit=LIMITS.text_characters),
        _left_out("config", request.config, "a run is resumed with its own") if request.resume else (),
        fields.name("request_id", request.request_id),
    )


def check_run_name(name: str) -> None:
    """The name of a training run."""
    fields.require(_run_name("name", name))


def check_run_list(limit: int) -> None:
    """How many training runs a list may hold."""
    fields.require(fields.number("limit", limit, 1, LIMITS.runs_per_list))


def check_watch(name: str, from_iteration: int) -> None:
    """A training run to watch from an iteration on."""
    fields.require(_run_name("name", name), fields.number("from_iteration", from_iteration, 0, 2**31 - 1))


def _run_name(field: str, name: str) -> Violations:
    """It becomes the name of a folder and of policies, so it is plain and can't lead out of its folder."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name) or len(name) > LIMITS.run_name_characters:
        rule = f"1 to {LIMITS.run_name_characters} small letters, digits, '-', '_' and '.', a letter or digit first"
        yield FieldViolation(field, f"is {name[: LIMITS.run_name_characters]!r}, it must be {rule}")


def _left_out(field: str, text: str, reason: str) -> Violations:
    if text:
        yield FieldViolation(field, f"must be empty: {reason}")
