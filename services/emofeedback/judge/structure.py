"""What a picture's file says of the work in it, before any library reads it: parts, color profiles and scans.

A decoder runs to its end in whichever thread it was given, so its work is bounded beforehand instead: by the picture's
pixels, by the times they are gone over, and by the parts that stand before and behind them. Then no picture takes more
than seconds, and no process has to be killed over one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_PARTS = 20_000
"""Segments of a JPEG or chunks of a PNG: Pillow reads them one by one in Python. 64 MiB in the 8 KiB chunks that PNGs
are commonly written in are 8,192."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
"""Of a JPEG, but the restarts within a scan, of which there may be millions. libjpeg looks for the next one likewise:
whatever stands between is passed over."""
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_WITHOUT_LENGTH = (0x01, 0xD8)


@dataclass(frozen=True)
class Structure:
    """What is in a file."""

    parts: int = 0
    """Segments or chunks, counted up to one over `MAX_PARTS`."""
    scans: int = 1
    """How often a decoder goes over all pixels: once but in a JPEG, whose scans each do."""
    profiles: int = 0
    """Packed color profiles of a PNG, each of which Pillow unpacks."""


def structure(data: bytes) -> Structure:
    """Of a file of any kind; only PNG and JPEG have parts that cost something."""
    if data.startswith(_PNG):
        return _of_png(data)
    return _of_jpeg(data) if data.startswith(_JPEG) else Structure()


def _of_png(data: bytes) -> Structure:
    position, parts, profiles = len(_PNG), 0, 0
    while position < len(data) and parts <= MAX_PARTS:
        profiles += data[position + 4 : position + 8] == b"iCCP"
        position += 12 + int.from_bytes(data[position : position + 4])
        parts += 1
    return Structure(parts=parts, profiles=profiles)


def _of_jpeg(data: bytes) -> Structure:
    position, parts, scans = len(_JPEG), 0, 0
    while parts <= MAX_PARTS and (found := _MARKER.search(data, position)):
        marker, position = data[found.end() - 1], found.end()
        if marker == _END_OF_IMAGE:
            break
        parts += 1
        scans += marker == _START_OF_SCAN
        if marker not in _WITHOUT_LENGTH:
            position += max(int.from_bytes(data[position : position + 2]), 2)
    return Structure(parts=parts, scans=max(scans, 1))
