"""Profiles and other settings by name, or from TOML files that change some keys of a built-in one."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from emofeedback.domain.errors import InvalidRequest
from emofeedback.profiles.builtin import PROFILES
from emofeedback.profiles.profile import (
    Profile,
)
from emofeedback.storage.texts import read_text

T = TypeVar("T")


def load_profile(name: str) -> Profile:
    """A built-in profile by name, or one from a TOML file (see the module's docstring).

    Raises:
        InvalidRequest: no such profile or file, an unknown key, or a value of the wrong type; the dotted key is named.
    """
    if name in PROFILES:
        return PROFILES[name]
    base, changes = extended(name, PROFILES, "profile")
    return changed(base, {"name": Path(name).stem, **changes}, "profile")


def extended(source: str, built_in: Mapping[str, T], field: str) -> tuple[T, dict[str, Any]]:
    """The built-in settings that a TOML file starts from (`extends`, "nano" where it says nothing), and its changes;
    none for the name of built-in ones.

    Args:
        field: what messages call the source.

    Raises:
        InvalidRequest: no such settings or file, or the file is no TOML.
    """
    if source in built_in:
        return built_in[source], {}
    known, path = ", ".join(built_in), Path(source)
    try:
        if path.suffix != ".toml" or not path.is_file():
            raise InvalidRequest.of(field, f"{source!r} is neither one of {known} nor an existing .toml file")
        changes = tomllib.loads(read_text(path))
    except OSError as error:
        raise InvalidRequest.of(field, f"{path} can't be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest.of(field, f"{path} is not TOML: {error}") from error
    base = changes.pop("extends", "nano")
    if base not in built_in:
        raise InvalidRequest.of(f"{field}.extends", f"{base!r} is not one of {known}")
    return built_in[base], changes


def changed(settings: T, changes: Mapping[str, Any], where: str) -> T:
    """A copy of a settings dataclass with some keys replaced, tables descended into.

    Args:
        changes: as TOML has them; a list replaces a tuple of texts.
        where: what the dotted keys in messages start with; empty: the settings are the root.

    Raises:
        InvalidRequest: an unknown key, or a value of another type than the present one.
    """
    assert dataclasses.is_dataclass(settings) and not isinstance(settings, type)
    known = {f.name for f in dataclasses.fields(settings)}
    replaced: dict[str, Any] = {}
    for key, value in changes.items():
        dotted = f"{where}.{key}" if where else key
        if key not in known:
            raise InvalidRequest.of(dotted, f"unknown key, known are {', '.join(sorted(known))}")
        current = getattr(settings, key)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise InvalidRequest.of(dotted, "must be a table")
            replaced[key] = changed(current, value, dotted)
            continue
        if isinstance(current, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if isinstance(current, tuple) and isinstance(value, list) and all(isinstance(item, str) for item in value):
            value = tuple(value)
        if type(value) is not type(current):
            raise InvalidRequest.of(dotted, f"must be of type {type(current).__name__}, not {type(value).__name__}")
        replaced[key] = value
    return dataclasses.replace(settings, **replaced)
