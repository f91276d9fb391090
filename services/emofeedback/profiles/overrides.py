"""Settings from where people keep them: a built-in one by name, a TOML file that changes some of its keys, environment
variables, `KEY=VALUE` on a command line. Profiles and the configurations of training share it.

Between a source and the settings stands a dictionary by dotted key, `{"generator.max_batch": 8}`; later sources win.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import reduce
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from emofeedback.domain.errors import FieldViolation, InvalidRequest
from emofeedback.domain.text import did_you_mean
from emofeedback.profiles.builtin import PROFILES
from emofeedback.profiles.profile import INCONSISTENT, Profile
from emofeedback.storage.texts import read_text

T = TypeVar("T")

VARIABLE = "EMOFEEDBACK_PROFILE__"
"""What the environment variables that change a profile begin with: EMOFEEDBACK_PROFILE__GENERATOR__MAX_BATCH=8."""

_PLAINER = {
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "above",
    "less than": "below",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid string": "a text",
    "a valid boolean": "true or false",
    "an object": "a table",
}
"""Words of pydantic's messages, and what stands there in ours."""


def load_profile(name: str, changes: Iterable[str] = ()) -> Profile:
    """A built-in profile by name, or one from a TOML file (see `builtin`), with what the environment and then
    `changes` make of it.

    Args:
        changes: `KEY=VALUE`, as on a command line: `generator.max_batch=8`.

    Raises:
        InvalidRequest: no such profile or file, or keys that are unknown, of the wrong type or out of their ranges: a
            violation for each, by its dotted key.
    """
    base, written = extended(name, PROFILES, "profile")
    stem = {} if name in PROFILES else {"name": Path(name).stem}
    return changed(base, {**stem, **written, **_from_environment(), **parse_changes(changes)})


def extended(source: str, built_in: Mapping[str, T], field: str) -> tuple[T, dict[str, Any]]:
    """The built-in settings that a TOML file starts from (`extends`, "nano" where it says nothing), and its changes by
    dotted key; none for the name of built-in ones.

    Args:
        field: what messages call the source.

    Raises:
        InvalidRequest: no such settings or file, or the file is no TOML.
    """
    if source in built_in:
        return built_in[source], {}
    known, path = ", ".join(built_in), Path(source)
    if path.suffix != ".toml" or not os.path.isfile(source):  # noqa: PTH113 - Path.is_file raises for a name too long
        problem = f"{source!r} is neither one of {known} nor an existing .toml file{did_you_mean(source, built_in)}"
        raise InvalidRequest.of(field, problem)
    try:
        changes = tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest.of(field, f"{path} is not TOML: {error}") from error
    except OSError as error:
        raise InvalidRequest.of(field, f"{path} can't be read: {error.strerror}") from error
    base = changes.pop("extends", "nano")
    if not isinstance(base, str) or base not in built_in:
        raise InvalidRequest.of(f"{field}.extends", f"{base!r} is not one of {known}")
    try:
        return built_in[base], flat(changes)
    except RecursionError as error:
        raise InvalidRequest.of(field, f"{path} is nested too deeply") from error


def parse_changes(words: Iterable[str], option: str = "--set") -> dict[str, Any]:
    """The `KEY=VALUE` of a command line's option by dotted key; a value that is no TOML is a text.

    Raises:
        InvalidRequest: a word is not of this form.
    """
    changes: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key.strip() and equals):
            raise InvalidRequest.of(option, f"{word!r} is not of the form KEY=VALUE")
        changes |= flat({key.strip(): _value(value)})
    return changes


def _from_environment() -> dict[str, Any]:
    return {
        name.removeprefix(VARIABLE).lower().replace("__", "."): _value(value)
        for name, value in os.environ.items()
        if name.startswith(VARIABLE)
    }


def _value(text: str) -> Any:
    text = text.encode(errors="replace").decode()  # an argument may hold bytes that are no text
    try:
        return tomllib.loads(f"value = {text}")["value"] if "\n" not in text else text
    except (ValueError, RecursionError):
        return text


def flat(settings: Any) -> dict[str, Any]:
    """Settings, or the tables of a TOML file, by dotted key. An empty table is a value."""
    values: dict[str, Any] = {}
    for key, value in (settings if isinstance(settings, Mapping) else dataclasses.asdict(settings)).items():
        if isinstance(value, Mapping) and value:
            values |= {f"{key}.{inner}": each for inner, each in flat(value).items()}
        else:
            values[key] = value
    return values


def changed(settings: T, changes: Mapping[str, Any]) -> T:
    """A copy of settings with some keys replaced.

    Args:
        changes: in tables or by dotted key, as TOML has the values.

    Raises:
        InvalidRequest: keys that are unknown, of the wrong type or out of their ranges: a violation for each.
    """
    whole: dict[str, Any] = dataclasses.asdict(settings)  # type: ignore[call-overload]
    for key, value in flat(changes).items():
        *path, last = key.split(".")
        table = whole
        for name in path:
            if not isinstance(table.get(name), dict):
                table[name] = {}
            table = table[name]
        if not (value == {} and isinstance(table.get(last), dict)):
            table[last] = value
    try:
        # As JSON, where strict types still let a list be a tuple, and a table a dataclass.
        return TypeAdapter(type(settings)).validate_json(json.dumps(whole, default=str))
    except ValidationError as error:
        raise InvalidRequest(*(_violation(each, settings) for each in error.errors(include_url=False))) from error


def _violation(error: ErrorDetails, settings: Any) -> FieldViolation:
    keys = [key for key in error["loc"] if isinstance(key, str)]
    if error["type"] == INCONSISTENT:
        return FieldViolation(".".join(filter(None, [*keys, error["ctx"]["key"]])), error["msg"])
    if error["type"] == "unexpected_keyword_argument":
        known = sorted(each.name for each in dataclasses.fields(reduce(getattr, keys[:-1], settings)))
        return FieldViolation(
            ".".join(keys), f"unknown key, known are {', '.join(known)}{did_you_mean(keys[-1], known)}"
        )
    wanted = re.sub(r"^\w+ should", "it must", error["msg"])
    for theirs, ours in _PLAINER.items():
        wanted = wanted.replace(theirs, ours)
    return FieldViolation(".".join(keys), f"is {short_repr(error['input'])}, {wanted}")


def to_toml(settings: Any) -> str:
    """All settings as TOML, one dotted key a line."""
    # JSON writes texts, numbers, true and false as TOML does, where numbers are finite.
    lines = (f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in flat(settings).items())
    return "".join(lines).replace("\x7f", "\\u007f")


def schema(built_in: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema of a TOML file that starts from one of the built-in settings and changes some keys."""
    whole = TypeAdapter(type(next(iter(built_in.values())))).json_schema()
    for table in (whole, *whole.get("$defs", {}).values()):
        table.pop("required", None)
    extends = {"enum": list(built_in), "default": "nano", "description": "The built-in settings that the file changes."}
    return whole | {"properties": {"extends": extends, **whole["properties"]}}
