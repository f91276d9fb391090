"""Files of every kind that somebody may send as a picture: `REFUSED` with the reason, `ACCEPTED` with its colors."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

RED = (200, 30, 40)


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def red(mode: str = "RGB", size: tuple[int, int] = (16, 12)) -> Image.Image:
    return Image.new("RGB", size, RED).convert(mode)


def noise(size: int = 64) -> Image.Image:
    return Image.effect_noise((size, size), 80).convert("RGB")


def animated(format: str) -> bytes:
    return encoded(red(), format, save_all=True, append_images=[Image.new("RGB", (16, 12), "blue")])


def claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims this size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def carrying(kind: bytes, length: int, *, behind: bool = False) -> bytes:
    """A PNG with a text or a color profile that unpacks to this many bytes, before or behind its picture."""
    head = {
        b"tEXt": b"workflow\0",
        b"zTXt": b"workflow\0\0",
        b"iTXt": b"workflow\0\1\0\0\0",
        b"iCCP": b"printer\0\0",
    }[kind]
    body = head + (b"a" * length if kind == b"tEXt" else zlib.compress(b"a" * length))
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    plain = encoded(red())
    place = plain.index(b"IEND" if behind else b"IDAT") - 4
    return plain[:place] + chunk + plain[place:]


def chunked(kind: bytes, body: bytes, count: int) -> bytes:
    """A PNG with so many chunks of a kind before its picture."""
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    plain = encoded(red())
    place = plain.index(b"IDAT") - 4
    return plain[:place] + count * chunk + plain[place:]


def commented(count: int) -> bytes:
    """A JPEG with so many comments before its picture."""
    plain = encoded(red(), "JPEG")
    return plain[:2] + count * b"\xff\xfe\x00\x02" + plain[2:]


def scanned(count: int, size: tuple[int, int] = (16, 12)) -> bytes:
    """A progressive JPEG of ten scans, whose last one is there so many more times."""
    plain = encoded(red(size=size), "JPEG", progressive=True)
    last = plain.rindex(b"\xff\xda")
    return plain[:-2] + count * plain[last:-2] + plain[-2:]


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is empty"),
    "text": (lambda: b"not a picture at all", "is not a readable PNG, JPEG or WebP"),
    "html": (lambda: b"<html><body>404</body></html>", "is not a readable PNG, JPEG or WebP"),
    "only a PNG's magic": (lambda: b"\x89PNG\r\n\x1a\n", "is not a readable PNG, JPEG or WebP"),
    "another format": (lambda: encoded(red(), "BMP"), "is not a readable PNG, JPEG or WebP"),
    "still GIF": (lambda: encoded(red("P"), "GIF"), "is not a readable PNG, JPEG or WebP"),
    "truncated PNG": (lambda: encoded(noise())[:-3000], "is cut off or damaged"),
    "truncated JPEG": (lambda: encoded(noise(), "JPEG")[:-1000], "is cut off or damaged"),
    "truncated WebP": (lambda: encoded(noise(), "WEBP", lossless=True)[:-3000], "(cut off|not a readable)"),
    "animated PNG": (lambda: animated("PNG"), "is animated"),
    "animated WebP": (lambda: animated("WEBP"), "is animated"),
    "100 megapixels": (lambda: claims(10_000, 10_000), "10000 x 10000 pixels over the limit of 40,000,000"),
    "a bomb": (lambda: claims(100_000, 100_000), "over the limit of 40,000,000 pixels"),
    "endless text": (lambda: carrying(b"zTXt", 17 * 2**20), "carries a text or a color profile of over 16,777,216 by"),
    "endless text behind": (lambda: carrying(b"iTXt", 17 * 2**20, behind=True), "carries a text or a color profile"),
    "an endless profile": (lambda: carrying(b"iCCP", 17 * 2**20), "carries a text or a color profile of over"),
    "too many scans": (lambda: scanned(200, (2000, 2000)), "2000 x 2000 pixels in 210 scans, all scans together may"),
    "too many comments": (lambda: commented(20_001), "is made of over 20,000 parts"),
    "too many chunks": (lambda: chunked(b"prIv", b"", 20_001), "is made of over 20,000 parts"),
    "two profiles": (lambda: chunked(b"iCCP", b"printer\0\0" + zlib.compress(b"a"), 2), "carries 2 color profiles"),
    "a line": (
        lambda: encoded(red(size=(2020, 20))),
        "2020 x 20 pixels, its longer side may be at most 100 times",
    ),
}


def sixteen_bit() -> bytes:
    return encoded(Image.fromarray(np.full((12, 16), 200 * 257, dtype=np.uint16)))


def half_transparent() -> bytes:
    image = red("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 8, 12))
    return encoded(image)


def transparent_palette() -> bytes:
    palette = Image.new("P", (16, 12), 1)
    palette.putpalette([0, 0, 0, *RED])
    palette.paste(0, (0, 0, 8, 12))
    return encoded(palette, transparency=0)


WHITE = (255, 255, 255)
ACCEPTED: dict[str, tuple[Callable[[], bytes], tuple[int, int, int], tuple[int, int, int]]] = {
    "PNG": (lambda: encoded(red()), RED, RED),
    "JPEG": (lambda: encoded(red(), "JPEG", quality=95), RED, RED),
    "progressive JPEG": (lambda: encoded(red(), "JPEG", quality=95, progressive=True), RED, RED),
    "JPEG of many small scans": (lambda: scanned(200), RED, RED),
    "JPEG of many comments": (lambda: commented(1000), RED, RED),
    "WebP": (lambda: encoded(red(), "WEBP", lossless=True), RED, RED),
    "a long text": (lambda: carrying(b"tEXt", 3 * 2**20), RED, RED),
    "a long packed text": (lambda: carrying(b"zTXt", 3 * 2**20), RED, RED),
    "a long text behind": (lambda: carrying(b"iTXt", 3 * 2**20, behind=True), RED, RED),
    "a long profile": (lambda: carrying(b"iCCP", 3 * 2**20), RED, RED),
    "gray": (lambda: encoded(Image.new("L", (16, 12), 90)), (90, 90, 90), (90, 90, 90)),
    "black and white": (lambda: encoded(Image.new("1", (16, 12), 1)), WHITE, WHITE),
    "16-bit gray": (sixteen_bit, (200, 200, 200), (200, 200, 200)),
    "CMYK": (lambda: encoded(red("CMYK"), "JPEG", quality=95), RED, RED),
    "palette": (lambda: encoded(red().quantize(4)), RED, RED),
    "transparent": (half_transparent, WHITE, RED),
    "transparent palette": (transparent_palette, WHITE, RED),
    "transparent gray": (lambda: encoded(Image.new("LA", (16, 12), (0, 0))), WHITE, WHITE),
    "transparent WebP": (lambda: encoded(Image.new("RGBA", (16, 12)), "WEBP", lossless=True), WHITE, WHITE),
}
