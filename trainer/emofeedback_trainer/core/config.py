"""Configurations of runs are read by the keys that they once had, too."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any


class RenamedKey(FutureWarning):
    """A configuration names a key as it was once called."""


def renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Values by today's dotted keys, with a `RenamedKey` warning for each that has an old one.

    Args:
        names: the new key of each old one.
    """
    for old in (key for key in values if key in names):
        warnings.warn(f"the key {old} is now called {names[old]}", RenamedKey, stacklevel=2)
    return {names.get(key, key): value for key, value in values.items()}
