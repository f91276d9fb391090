"""Things of one's own by name, as configurations name them: `module:attribute`."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

from emofeedback.domain.errors import InvalidRequest

DOTTED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""What such a name looks like: a path or a short name does not."""


def imported(source: str, key: str) -> Any:
    """What `module:attribute` names, as Python finds modules: installed, or in PYTHONPATH.

    Args:
        source: one that matches `DOTTED`.
        key: of the configuration, under which it is refused.

    Raises:
        InvalidRequest: there is no such module, or no such attribute in it.
    """
    module, _, attribute = source.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        where = " (a folder of yours goes into PYTHONPATH)" if isinstance(error, ModuleNotFoundError) else ""
        raise InvalidRequest.of(key, f"{source!r} can't be imported: {error}{where}") from error


def imported_function(source: str, key: str) -> Callable[..., Any]:
    """As `imported`, and refused where it can't be called."""
    function = imported(source, key)
    if not callable(function):
        raise InvalidRequest.of(key, f"{source!r} is no function but a {type(function).__name__}")
    called: Callable[..., Any] = function
    return called
