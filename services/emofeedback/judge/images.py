"""Encoded bytes from outside become RGB pictures here, or an error that says what is wrong with them.

What a picture costs is judged from its file's structure and its header, before any pixel is decoded: a few bytes can
claim gigabytes, or minutes.
"""

from __future__ import annotations

import io
import math
from contextlib import suppress

from PIL import Image, ImageOps, PngImagePlugin

from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.limits import LIMITS
from emofeedback.judge.structure import MAX_PARTS, Structure, structure

FORMATS = ("PNG", "JPEG", "WEBP")
"""What a request may carry."""
CONVERTED = ("GIF", "TIFF", "BMP", "AVIF", "HEIF")
"""What is brought to PNG before it is sent, where Pillow or a plug-in of it can read it."""
_PNG_EXTRAS = 16 * 1024 * 1024
"""Bytes that one text or color profile of a PNG may unpack to: workflows of painting programs have a few million."""
PngImagePlugin.MAX_TEXT_CHUNK = _PNG_EXTRAS  # Pillow has it as a setting of the process, at 1 MiB
_STRIP_PIXELS = 2**17
"""So many are brought to RGB at a time: at once, a picture with transparency would be held five times. A strip of a
megapixel leaves a core's cache, and where Pillow keeps Python's lock it does so eight times as long."""


def read_image(data: bytes, *, field: str, max_pixels: int | None = None) -> Image.Image:
    """A still picture as 8-bit RGB, upright, scaled down to `max_pixels` where it has more.

    16-bit gray is brought to 8 bits, CMYK and palettes to RGB, and what is transparent stands on white.

    Args:
        data: a PNG, JPEG or WebP file.
        field: its dotted name in the request, for the error: `images[3]`.
        max_pixels: area that the result must not exceed; None leaves its size alone.

    Raises:
        InvalidRequest: empty, no picture, cut off, animated, over `LIMITS.image_pixels`, too thin, a PNG that carries
            far too long a text or color profile, or a JPEG whose scans go over far too many pixels.
    """
    return decoded(opened(data, field=field), field=field, max_pixels=max_pixels)


def opened(data: bytes, *, field: str) -> Image.Image:
    """A picture whose header is read and within the limits, and nothing of it decoded. Raises as `read_image`."""
    if not data:
        raise InvalidRequest.of(field, "is empty, it must be a PNG, JPEG or WebP image")
    found = structure(data)
    _check_parts(found, field)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_large(field) from error
    except Exception as error:  # on hostile bytes Pillow's format plug-ins raise whatever their parsing runs into
        raise InvalidRequest.of(field, _extras(error) or "is not a readable PNG, JPEG or WebP image") from error
    _check_header(image, field)
    _check_scans(image, found, field)
    return image


def decoded(image: Image.Image, *, field: str, max_pixels: int | None = None) -> Image.Image:
    """What `read_image` makes of an opened picture. Raises as it."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
        image.load()
    except Exception as error:
        problem = _extras(error) or f"is cut off or damaged: its {image.format} data can't be decoded"
        raise InvalidRequest.of(field, problem) from error
    return _scaled(_rgb(image), max_pixels)


def as_png(data: bytes, *, field: str) -> tuple[bytes, str]:
    """A picture in one of `CONVERTED` as an upright PNG, for those who ask a judge, and what is left out of it.

    Returns:
        The PNG and a sentence, empty where nothing is left out.

    Raises:
        InvalidRequest: no such picture, cut off, over `LIMITS.image_pixels`, or too thin.
    """
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    Image.init()
    formats = [name for name in CONVERTED if name in Image.OPEN]
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError as error:
        raise _too_large(field) from error
    except Exception as error:  # as in `read_image`
        without = "" if "HEIF" in formats else "; HEIC needs pip install 'emofeedback[heic]'"
        problem = f"is not a readable PNG, JPEG, WebP, {', '.join(formats[:-1])} or {formats[-1]} image{without}"
        raise InvalidRequest.of(field, problem) from error
    frames = getattr(image, "n_frames", 1)
    _check_size(image, field)
    try:
        upright = _rgb(ImageOps.exif_transpose(image))
    except Exception as error:
        raise InvalidRequest.of(field, f"is cut off or damaged: its {image.format} data can't be decoded") from error
    file = io.BytesIO()
    upright.save(file, "PNG")
    kind = "frames" if getattr(image, "is_animated", False) and image.format in ("GIF", "AVIF") else "pages"
    return file.getvalue(), f"has {frames} {kind}, the first is looked at" if frames > 1 else ""


def _check_parts(found: Structure, field: str) -> None:
    if found.parts > MAX_PARTS:
        raise InvalidRequest.of(field, f"is made of over {MAX_PARTS:,} parts, save it anew")
    if found.profiles > 1:
        raise InvalidRequest.of(field, f"carries {found.profiles} color profiles, it may carry one")


def _check_scans(image: Image.Image, found: Structure, field: str) -> None:
    """Libjpeg goes over a whole picture in every scan, however few bytes that has."""
    work = found.scans * image.width * image.height
    if work > LIMITS.image_scan_pixels:
        raise InvalidRequest.of(
            field,
            f"goes over its {image.width} x {image.height} pixels in {found.scans} scans, all scans together may have "
            f"{LIMITS.image_scan_pixels:,}; save it anew, as a baseline JPEG",
        )


def _check_header(image: Image.Image, field: str) -> None:
    """What can be said of a picture before it is decoded."""
    _check_size(image, field)
    # An MPO is a photograph whose JPEG carries further views behind the first; only the first is looked at.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise InvalidRequest.of(field, "is animated, it must be a still picture")


def _check_size(image: Image.Image, field: str) -> None:
    width, height = image.size
    if width * height > LIMITS.image_pixels:
        raise _too_large(field, f"{width} x {height} pixels")
    if max(width, height) > LIMITS.image_aspect * min(width, height):
        raise InvalidRequest.of(
            field,
            f"is {width} x {height} pixels, its longer side may be at most {LIMITS.image_aspect:g} times the shorter",
        )


def _extras(error: Exception) -> str:
    """What is wrong with what a PNG carries beside its picture; empty where the error isn't about that."""
    if "MAX_TEXT" not in str(error):
        return ""
    return f"carries a text or a color profile of over {_PNG_EXTRAS:,} bytes, save it without"


def _too_large(field: str, size: str = "far") -> InvalidRequest:
    return InvalidRequest.of(field, f"is {size} over the limit of {LIMITS.image_pixels:,} pixels")


def _rgb(image: Image.Image) -> Image.Image:
    """Any of Pillow's modes as RGB."""
    whole = Image.new("RGB", image.size)
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        whole.paste(_strip_as_rgb(strip), (0, top))
    return whole


def _strip_as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # Pillow's own conversion would clip 16 bits at 255 instead of scaling them
        return image.convert("I").point(lambda value: value / 256).convert("L").convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        on_white = Image.new("RGB", layer.size, "white")
        on_white.paste(layer, mask=layer)  # as `Image.alpha_composite`, which would keep Python's lock meanwhile
        return on_white
    return image.convert("RGB")


def _scaled(image: Image.Image, max_pixels: int | None) -> Image.Image:
    """The picture with its proportions and at most this area."""
    if max_pixels is None or image.width * image.height <= max_pixels:
        return image
    scale = math.sqrt(max_pixels / (image.width * image.height))
    size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC)
