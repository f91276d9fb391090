"""What a PNG carries beside its picture: texts, put in and read without a look at the pixels.

The chunks of the PNG specification, third edition (W3C, 2025): texts are `iTXt`, UTF-8, here never compressed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping

SIGNATURE = b"\x89PNG\r\n\x1a\n"

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's word for a picture that a trained model made."""
_SYNTHETIC_KEY = "XML:com.adobe.xmp"
SYNTHETIC: Mapping[str, str] = {
    _SYNTHETIC_KEY: f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}\
</Iptc4xmpExt:DigitalSourceType></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>"""
}
"""The same in XMP, where programs look for it."""
_MANIFEST = b"caBX"
"""The chunk of a C2PA manifest (C2PA specification, "Embedding manifests into PNG")."""


def read_text(png: bytes, keyword: str) -> str | None:
    """The first uncompressed international text of a PNG under a keyword; None where there is none, or no PNG."""
    for kind, body in _chunks(png):
        if kind == b"iTXt" and body.startswith(keyword.encode("latin-1") + b"\0\0"):
            # Behind the keyword: compressed or not, by what method, language, translated keyword, text.
            return body[len(keyword) + 3 :].split(b"\0", 2)[-1].decode(errors="replace")
    return None


def with_texts(png: bytes, texts: Mapping[str, str]) -> bytes:
    """The PNG with these texts in the place of those under the same keywords; its pixels stay as they are.

    Raises:
        ValueError: it is no PNG.
    """
    if not png.startswith(SIGNATURE):
        raise ValueError("is not a PNG")
    keys = tuple(keyword.encode("latin-1") + b"\0" for keyword in texts)
    kept = [(kind, body) for kind, body in _chunks(png) if kind != b"iTXt" or not body.startswith(keys)]
    header, *rest = kept
    added = [(b"iTXt", key + b"\0\0\0\0" + text.encode()) for key, text in zip(keys, texts.values(), strict=True)]
    return SIGNATURE + b"".join(_packed(kind, body) for kind, body in (header, *added, *rest))


def marked_synthetic(png: bytes) -> bytes:
    """The PNG with IPTC's digital source type `trainedAlgorithmicMedia` in its XMP.

    Raises:
        ValueError: it is no PNG.
    """
    return with_texts(png, SYNTHETIC)


def is_marked_synthetic(png: bytes) -> bool:
    """Whether its XMP says that a trained model made it."""
    return "trainedAlgorithmicMedia" in (read_text(png, _SYNTHETIC_KEY) or "")


def is_signed(png: bytes) -> bool:
    """Whether it holds a C2PA manifest: one change of the file, and that would no longer verify."""
    return any(kind == _MANIFEST for kind, _ in _chunks(png))


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each chunk, up to where the file is cut off; nothing where it is no PNG."""
    place = len(SIGNATURE) if png.startswith(SIGNATURE) else len(png)
    while place + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, place)
        if place + 12 + length > len(png):
            return
        yield png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        place += 12 + length


def _packed(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
