"""Plain statistics of pictures. Pure functions, numpy only.

They are there to show what a reward doesn't: pictures that go dark, gray or flat, groups in which all
pictures are the same, taken from sRGB values in [0, 1], without any model.
"""

from __future__ import annotations

from collections.abc import Sequence

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
