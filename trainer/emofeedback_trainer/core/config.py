"""What every configuration of a run shares: it is kept as TOML, and read by the keys that it once had."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any

from emofeedback.profiles.overrides import flat


class RenamedKey(FutureWarning):
    """A configuration names a key as it was once called."""


def to_toml(config: Any) -> str:
    """The whole configuration as TOML, one dotted key a line."""
    # JSON writes texts, numbers, true and false as TOML does, where numbers are finite.
    lines = (f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in flat(config).items())
    return "".join(lines).replace("\x7f", "\\u007f")


def renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Values by today's dotted keys, with a `RenamedKey` warning for each that has an old one.

    Args:
        names: the new key of each old one.
    """
    for old in values.keys() & names.keys():
        warnings.warn(f"the key {old} is now called {names[old]}", RenamedKey, stacklevel=2)
    return {names.get(key, key): value for key, value in values.items()}
