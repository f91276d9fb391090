"""A page that needs nothing beside it: no script, no font, no picture is fetched."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
"""Colors for light and dark, type, and the pieces that all reports have."""


def document(title: str, body: str, *, style: str = STYLE) -> str:
    """The page as a whole. The title is text, the body HTML."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)} · EmoFeedback</title><style>{style}</style></head>\n"
        f"<body><main>{body}</main></body></html>\n"
    )


def picture(png: bytes, alt: str) -> str:
    """A picture in the page itself."""
    return f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{escape(alt)}">'
