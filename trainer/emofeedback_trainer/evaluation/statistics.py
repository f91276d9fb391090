"""Plain statistics of pictures and of results against targets. Pure functions, numpy only.

The image statistics are there to show what a reward doesn't: pictures that go dark, gray or flat, groups in which all
pictures are the same. They are taken from sRGB values in [0, 1], without any model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float64]

_LUMA = np.array([0.2126, 0.7152, 0.0722])
"""Weights of red, green and blue (Rec. 709)."""
_THUMBNAIL = 32
"""Side of the pictures that diversity compares: what is in a picture counts, not its grain."""


def to_array(picture: Image.Image) -> Array:
    """Red, green and blue in [0, 1], shape (height, width, 3)."""
    return np.asarray(picture.convert("RGB"), np.float64) / 255


def brightness(picture: Array) -> float:
    """Mean luma, in [0, 1]: 0 is black, 1 is white."""
    return float((picture @ _LUMA).mean())


def saturation(picture: Array) -> float:
    """Mean distance between a pixel's largest and smallest channel, in [0, 1]: 0 is gray.

    Unlike HSV's saturation it is not divided by the value, so the grain of a black sky counts for nothing.
    """
    return float((picture.max(axis=2) - picture.min(axis=2)).mean())


def edges(picture: Array) -> float:
    """Mean length of the luma's gradient from pixel to pixel, in [0, sqrt(2)]: 0 is one even area."""
    luma = picture @ _LUMA
    down, right = luma[1:, :-1] - luma[:-1, :-1], luma[:-1, 1:] - luma[:-1, :-1]
    return float(np.hypot(down, right).mean())


def diversity(group: Sequence[Image.Image]) -> float:
    """How different the pictures of one prompt are: mean over all pairs of the root mean square difference of their
    thumbnails, in [0, 1]; 0 where all are the same.

    Args:
        group: two pictures or more.
    """
    side = (_THUMBNAIL, _THUMBNAIL)
    small = np.array([to_array(picture.resize(side, Image.Resampling.BOX)) for picture in group])
    first, second = np.triu_indices(len(group), k=1)
    return float(np.sqrt(np.square(small[first] - small[second]).mean(axis=(1, 2, 3))).mean())


def line(targets: Array, results: Array) -> tuple[float, float]:
    """Pearson's correlation of results with targets, and the slope of results against targets.

    A slope of 1 is obedience, 0 indifference. Both are 0 where one side doesn't vary.
    """
    x, y = targets - targets.mean(), results - results.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return (float(x @ y) / scale, float(x @ y) / float(x @ x)) if scale else (0.0, 0.0)


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float], count: int, *, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """A 95 % percentile interval of a statistic over `count` units, which are drawn with replacement.

    Args:
        statistic: of the units at these indices, shape (count,); an index may come more than once.
    """
    rng = np.random.default_rng(seed)
    drawn = [statistic(rng.integers(count, size=count)) for _ in range(draws)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)
