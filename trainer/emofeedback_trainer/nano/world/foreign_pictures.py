"""Pictures that are not of the nano world: photographs, and everything a user may hold out to the judge by mistake.

The photographs are those that scikit-learn, scikit-image and matplotlib ship. They are few, so each is shown whole and
in crops, and no photograph is in both splits. The other kinds are made from a seed: noise, flat colors, gradients,
patterns, a single pixel, pages, charts, windows of programs, loose shapes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

PHOTOGRAPHS: dict[str, tuple[str, ...]] = {
    "calibration": (
        "sklearn.datasets.images/china.jpg",
        "skimage.data/chelsea.png",
        "skimage.data/camera.png",
        "skimage.data/coffee.png",
        "skimage.data/motorcycle_left.png",
        "skimage.data/moon.png",
        "skimage.data/ihc.png",
        "skimage.data/brick.png",
        "skimage.data/lfw_subset.npy",
        "skimage.data/clock_motion.png",
        "skimage.data/page.png",
        "skimage.data/logo.png",
    ),
    "test": (
        "sklearn.datasets.images/flower.jpg",
        "skimage.data/astronaut.png",
        "skimage.data/rocket.jpg",
        "skimage.data/hubble_deep_field.jpg",
        "skimage.data/retina.jpg",
        "skimage.data/coins.png",
        "skimage.data/cell.png",
        "skimage.data/grass.png",
        "skimage.data/gravel.png",
        "skimage.data/color.png",
        "skimage.data/text.png",
        "skimage.data/horse.png",
        "matplotlib.mpl-data/sample_data/grace_hopper.jpg",
    ),
}
"""What ships with the libraries, by split; a photograph's crops are in its own split."""

_CROPS = 20
"""Crops of a photograph, the whole picture aside."""
_SPLITS = {"calibration": 11, "test": 12}


def photographs(split: str) -> Iterator[Image.Image]:
    """Every photograph of a split, whole and in crops of a fifth of a side and more."""
    rng = np.random.default_rng(_SPLITS[split])
    for name in PHOTOGRAPHS[split]:
        yield from _crops(_photograph(name), rng)


def made(kind: str, split: str, count: int) -> Iterator[Image.Image]:
    """`count` pictures of one of `KINDS`, RGB, of many sizes."""
    rng = np.random.default_rng((_SPLITS[split], sorted(KINDS).index(kind)))
    for _ in range(count):
        yield KINDS[kind](rng)


def _photograph(name: str) -> Image.Image:
    package, _, path = name.partition("/")
    top, _, inner = package.partition(".")
    file = files(top).joinpath(*inner.split("."), path)
    data = file.read_bytes()
    if name.endswith(".npy"):  # small faces, here as a sheet of them
        faces = np.load(io.BytesIO(data), allow_pickle=False)[:100].reshape(10, 10, 25, 25)
        return Image.fromarray((faces.swapaxes(1, 2).reshape(250, 250) * 255).astype(np.uint8)).convert("RGB")
    return Image.open(io.BytesIO(data)).convert("RGB")


def _crops(photograph: Image.Image, rng: np.random.Generator) -> Iterator[Image.Image]:
    yield photograph
    for _ in range(_CROPS):
        share, squeeze = rng.uniform(0.2, 1.0), rng.uniform(0.6, 1.0)
        width = max(24, int(photograph.width * share))
        height = max(24, int(photograph.height * share * squeeze))
        left = int(rng.integers(0, max(1, photograph.width - width)))
        top = int(rng.integers(0, max(1, photograph.height - height)))
        yield photograph.crop((left, top, left + width, top + height))


# --- kinds that are made -----------------------------------------------------------------------------------------


def _size(rng: np.random.Generator) -> tuple[int, int]:
    """Height and width, mostly square."""
    side = int(rng.choice((64, 112, 128, 224, 400)))
    return (side, side) if rng.random() < 0.6 else (side, int(side * rng.uniform(0.6, 1.6)))


def _color(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in rng.integers(0, 256, 3))
    return red, green, blue


def _image(values: NDArray[np.floating]) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _noise(rng: np.random.Generator) -> Image.Image:
    """White, binary, on a flat color, coarse, soft or with a spectrum of 1 / f; gray or colored."""
    height, width = _size(rng)
    channels = 3 if rng.random() < 0.6 else 1
    values: NDArray[np.floating]
    match int(rng.integers(5)):
        case 0:
            values = rng.uniform(0, 255, (height, width, channels))
        case 1:
            values = 255.0 * (rng.random((height, width, channels)) < rng.uniform(0.2, 0.8))
        case 2:
            values = np.array(_color(rng)) + rng.normal(0, rng.uniform(15, 70), (height, width, channels))
        case 3:
            coarse = rng.uniform(0, 255, (max(2, height // int(rng.integers(3, 24))),) * 2 + (3,))
            how = Image.Resampling.NEAREST if rng.random() < 0.5 else Image.Resampling.BICUBIC
            return _image(coarse).resize((width, height), how)
        case _:
            frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
            frequency[0, 0] = 1.0
            spectrum = np.fft.fft2(rng.normal(size=(channels, height, width)))
            layers = np.fft.ifft2(spectrum / frequency ** rng.uniform(0.6, 1.6)).real
            layers = (layers - layers.mean()) / layers.std()
            values = (128 + 55 * layers).transpose(1, 2, 0)
    return _image(np.broadcast_to(values, (height, width, 3)))


def _flat(rng: np.random.Generator) -> Image.Image:
    """One color; every fourth is black, white, gray or a pure one."""
    height, width = _size(rng)
    plain = ((0, 0, 0), (255, 255, 255), (128, 128, 128), (255, 0, 0), (0, 255, 0), (0, 0, 255))
    color = plain[int(rng.integers(len(plain)))] if rng.random() < 0.25 else _color(rng)
    return Image.new("RGB", (width, height), color)


def _gradient(rng: np.random.Generator) -> Image.Image:
    """From one color to another, along a line or from the middle outwards."""
    height, width = _size(rng)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    way = x * np.cos(angle) + y * np.sin(angle) if rng.random() < 0.7 else np.hypot(x - 0.5, y - 0.5)
    way = (way - way.min()) / max(1e-9, float(np.ptp(way)))
    return _image(np.array(_color(rng)) * (1 - way[..., None]) + np.array(_color(rng)) * way[..., None])


def _pattern(rng: np.random.Generator) -> Image.Image:
    """A checkerboard, stripes or a grid of dots in two colors."""
    height, width = _size(rng)
    period = int(rng.integers(2, max(3, height // 3)))
    y, x = np.mgrid[0:height, 0:width]
    match int(rng.integers(4)):
        case 0:
            on = (x // period + y // period) % 2
        case 1:
            on = x // period % 2
        case 2:
            on = (x + y) // period % 2
        case _:
            on = np.hypot(x % period - period / 2, y % period - period / 2) < period * 0.3
    return _image(np.where(on[..., None] > 0, np.array(_color(rng)), np.array(_color(rng))))


def _tiny(rng: np.random.Generator) -> Image.Image:
    """One pixel, or a few of any color."""
    side = int(rng.integers(1, 5)) if rng.random() < 0.5 else 1
    return _image(rng.uniform(0, 255, (side, side, 3)))


_WORDS = re.findall(
    r"\S+",
    "the of and report invoice total date page figure table account please sign here dear sir number price name city "
    "order tax value street open file edit view help new save close search settings user login error 404 12.50 2026",
)


def _font(size: float) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def _write(draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], rng: np.random.Generator) -> None:
    """Lines of words in a box, in one size and ink."""
    left, top, right, bottom = box
    size = float(rng.uniform(9, 22))
    ink = (20, 20, 24) if rng.random() < 0.8 else _color(rng)
    y = top
    while y + size < bottom:
        line = " ".join(rng.choice(_WORDS, 14))
        draw.text((left, y), line[: int((right - left) / (0.5 * size))], ink, font=_font(size))
        y += size * float(rng.choice((1.25, 1.25, 2.2)))


def _page(rng: np.random.Generator) -> Image.Image:
    """A page of text with a heading, now and then a table, on paper of some light color."""
    width, height = (int(side) for side in rng.integers(240, 640, 2))
    page = Image.new("RGB", (width, height), tuple(int(v) for v in rng.integers(225, 256, 3)))
    draw = ImageDraw.Draw(page)
    margin = width * 0.08
    draw.text((margin, margin / 2), " ".join(rng.choice(_WORDS, 3)), _color(rng), font=_font(30))
    _write(draw, (margin, margin + 34, width - margin, height * float(rng.uniform(0.5, 0.95))), rng)
    if rng.random() < 0.4:
        for row in range(6):
            y = height * 0.6 + row * height * 0.06
            draw.line((margin, y, width - margin, y), (60, 60, 60))
            draw.text((margin + 4, y + 1), " ".join(rng.choice(_WORDS, 4)), (20, 20, 20), font=_font(height * 0.04))
    return page


def _window(rng: np.random.Generator) -> Image.Image:
    """A program's window: a bar, a side panel, boxes, buttons, writing; light or dark."""
    width, height = int(rng.integers(320, 900)), int(rng.integers(260, 640))
    base, bar, panel = ((246, 247, 249), (222, 226, 232), (234, 236, 240))
    if rng.random() < 0.4:
        base, bar, panel = (30, 31, 36), (44, 46, 54), (38, 40, 46)
    window = Image.new("RGB", (width, height), base)
    draw = ImageDraw.Draw(window)
    draw.rectangle((0, 0, width, height * 0.08), bar)
    draw.rectangle((0, height * 0.08, width * 0.22, height), panel)
    _write(draw, (8, height * 0.12, width * 0.2, height * 0.8), rng)
    for _ in range(int(rng.integers(1, 6))):
        x, y = rng.uniform(width * 0.25, width * 0.7), rng.uniform(height * 0.12, height * 0.7)
        w, h = rng.uniform(width * 0.1, width * 0.3), rng.uniform(height * 0.06, height * 0.28)
        fill = _color(rng) if rng.random() < 0.5 else panel
        draw.rounded_rectangle((x, y, x + w, y + h), 6, fill, outline=(120, 124, 132))
        _write(draw, (x + 4, y + 4, x + w - 4, y + h), rng)
    return window


def _chart(rng: np.random.Generator) -> Image.Image:
    """A diagram with axes: lines, bars, points or a heat map."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(float(rng.uniform(3, 6)), float(rng.uniform(3, 5))), dpi=72)
    axes = figure.add_subplot()
    match int(rng.integers(4)):
        case 0:
            axes.plot(rng.normal(size=(40, int(rng.integers(1, 5)))).cumsum(axis=0))
        case 1:
            axes.bar(range(8), rng.uniform(0, 9, 8), color=np.array(_color(rng)) / 255)
        case 2:
            axes.scatter(rng.normal(size=90), rng.normal(size=90), c=rng.random(90))
        case _:
            axes.imshow(rng.random((9, 9)), cmap=str(rng.choice(("viridis", "magma", "coolwarm", "gray"))))
    axes.set_title(" ".join(rng.choice(_WORDS, 3)))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _shapes(rng: np.random.Generator) -> Image.Image:
    """Loose ellipses, boxes and lines on a flat or graded ground: drawn, but no scene."""
    picture = _flat(rng) if rng.random() < 0.5 else _gradient(rng)
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(1, 30))):
        xs = np.sort(rng.uniform(0, picture.width, 2)).tolist()
        ys = np.sort(rng.uniform(0, picture.height, 2)).tolist()
        box = (xs[0], ys[0], xs[1] + 1, ys[1] + 1)
        match int(rng.integers(3)):
            case 0:
                draw.ellipse(box, _color(rng))
            case 1:
                draw.rectangle(box, _color(rng))
            case _:
                draw.line(box, _color(rng), int(rng.integers(1, 9)))
    return picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1.2))))


KINDS: dict[str, Callable[[np.random.Generator], Image.Image]] = {
    "noise": _noise,
    "flat color": _flat,
    "gradient": _gradient,
    "pattern": _pattern,
    "one pixel": _tiny,
    "page": _page,
    "window": _window,
    "chart": _chart,
    "shapes": _shapes,
}
"""How a picture of each kind is made."""
