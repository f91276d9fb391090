"""Pages that need nothing beside them, from Jinja templates: no script, no font, no picture is fetched, and every text
is escaped."""

from __future__ import annotations

import base64
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
"""Colors for light and dark, type, and the pieces that all reports have."""


def environment(package: str = __package__) -> Environment:
    """The templates of a package, which may extend `base.html` of this one.

    Drawings that are HTML already are handed in as `Markup`; all else is escaped.
    """
    loaders = [PackageLoader(name) for name in dict.fromkeys((package, __package__))]
    pages = Environment(
        loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    pages.filters["data_url"] = _data_url
    return pages


def _data_url(png: bytes) -> str:
    """A picture in the page itself."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
