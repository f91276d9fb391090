"""What every configuration of a run shares: dotted keys, TOML, and changes from the command line.

A configuration is a frozen tree of dataclasses; each run keeps its own in its folder as TOML.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from emofeedback.domain.errors import FieldViolation, InvalidRequest


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """The values of a configuration by their dotted keys."""
    values: dict[str, Any] = {}
    for each in dataclasses.fields(config):
        value = getattr(config, each.name)
        nested = flat(value, f"{prefix}{each.name}.") if dataclasses.is_dataclass(value) else None
        values |= nested if nested is not None else {prefix + each.name: value}
    return values


def to_toml(config: Any) -> str:
    """The whole configuration as TOML, one dotted key a line."""
    # JSON writes texts, numbers, true and false as TOML does, where numbers are finite.
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in flat(config).items())


def out_of_range(
    values: Mapping[str, Any], holds: Callable[[Any], bool], what: str, *keys: str
) -> Iterator[tuple[str, str]]:
    """Those of the dotted keys whose value must be `what` and isn't, each with what is wrong."""
    for key in keys:
        if not holds(values[key]):
            yield key, f"is {values[key]!r}, it must be {what}"


def refuse(problems: Iterable[tuple[str, str]]) -> None:
    """Raises `InvalidRequest` with one violation for each key and what is wrong with it, where there is any."""
    violations = [FieldViolation(key, problem) for key, problem in problems]
    if violations:
        raise InvalidRequest(*violations)


def parse_changes(words: Iterable[str], option: str = "--set") -> dict[str, Any]:
    """The `KEY=VALUE` of a command line's option as one nested table; a value that is no TOML is a text.

    Raises:
        InvalidRequest: a word is not of this form.
    """
    changes: dict[str, Any] = {}
    for word in words:
        _merge(changes, _change(word, option))
    return changes


def _change(text: str, option: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise InvalidRequest.of(option, f"{text!r} is not of the form KEY=VALUE")
    for line in (f"{key} = {value}", f'{key} = "{value}"'):
        try:
            return tomllib.loads(line)
        except tomllib.TOMLDecodeError:
            continue
    raise InvalidRequest.of(option, f"{text!r} is not of the form KEY=VALUE")


def _merge(changes: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(changes.get(key), dict):
            _merge(changes[key], value)
        else:
            changes[key] = value
