import numpy as np
import pytest
from PIL import Image

from emofeedback_trainer.evaluation.picture_statistics import (
    brightness,
    diversity,
    edges,
    saturation,
    to_array,
)


def plain(color: tuple[int, int, int], size: int = 64) -> Image.Image:
    return Image.new("RGB", (size, size), color)


def halves(left: int, right: int) -> Image.Image:
    picture = plain((left, left, left))
    picture.paste((right, right, right), (32, 0, 64, 64))
    return picture


def test_brightness_goes_from_black_to_white_and_green_is_brighter_than_blue() -> None:
    levels = [brightness(to_array(plain(color))) for color in ((0, 0, 0), (0, 0, 255), (0, 255, 0), (255, 255, 255))]
    assert levels == pytest.approx([0.0, 0.0722, 0.7152, 1.0])


def test_saturation_is_none_in_grays_and_full_in_pure_colors() -> None:
    assert saturation(to_array(plain((90, 90, 90)))) == 0
    assert saturation(to_array(plain((255, 0, 0)))) == 1
    assert saturation(to_array(plain((4, 0, 0)))) < 0.02  # the grain of a black sky


def test_an_even_picture_has_no_edges_and_one_step_counts_by_its_height_and_length() -> None:
    assert edges(to_array(plain((200, 30, 90)))) == 0
    assert edges(to_array(halves(0, 255))) == pytest.approx(1 / 63)
    assert edges(to_array(halves(0, 51))) == pytest.approx(0.2 / 63)


def test_blurring_takes_edges_and_leaves_brightness() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    soft = noise.resize((16, 16), Image.Resampling.BOX).resize((64, 64))
    assert edges(to_array(soft)) < 0.3 * edges(to_array(noise))
    assert brightness(to_array(soft)) == pytest.approx(brightness(to_array(noise)), abs=0.01)


def test_diversity_is_nothing_for_copies_and_the_mean_difference_of_all_pairs_else() -> None:
    black, white = plain((0, 0, 0)), plain((255, 255, 255))
    assert diversity([black, black, black]) == 0
    assert diversity([black, white]) == 1
    assert diversity([black, black, white]) == pytest.approx(2 / 3)


def test_diversity_is_of_what_is_shown_and_hardly_of_its_grain() -> None:
    rng = np.random.default_rng(1)
    grainy = [Image.fromarray((128 + rng.normal(0, 20, (128, 128, 3))).clip(0, 255).astype(np.uint8)) for _ in range(3)]
    assert diversity(grainy) < 0.03 < diversity([halves(60, 200), halves(200, 60)])
