"""The share of generated pictures that pass for drawn ones."""

import numpy as np
from PIL import Image

from emofeedback_trainer.nano.measure.realism import share_called_drawn

SIZE, COUNT = 32, 80


def flat(seed: int) -> list[Image.Image]:
    """Pictures of one color each."""
    colors = np.random.default_rng(seed).integers(0, 256, (COUNT, 3))
    return [Image.new("RGB", (SIZE, SIZE), tuple(color)) for color in colors.tolist()]


def noise(seed: int) -> list[Image.Image]:
    levels = np.random.default_rng(seed).integers(0, 256, (COUNT, SIZE, SIZE, 3), np.uint8)
    return [Image.fromarray(level) for level in levels]


def test_what_is_drawn_itself_passes_in_about_nine_of_ten_cases_whatever_a_network_leans_to() -> None:
    shares = [share_called_drawn(flat(1), flat(2), steps=8, seeds=[seed]) for seed in range(4)]
    assert 0.75 < np.mean(shares) <= 1.0
    assert min(shares) > 0.6


def test_what_can_be_told_does_not_pass() -> None:
    assert share_called_drawn(noise(1), flat(2), steps=40, seeds=range(2)) == 0.0
