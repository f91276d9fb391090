"""The plane as one picture: valence to the right, arousal up."""

import io

import pytest
from PIL import Image

from emofeedback.domain.affect import AffectPoint
from emofeedback.runs.plane import Cell, draw_plane, grid_targets, share_out

COLORS = {(0, 0): (0, 0, 255), (1, 0): (0, 160, 0), (0, 1): (255, 0, 0), (1, 1): (255, 200, 0)}


def cell(color: tuple[int, int, int]) -> Cell:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), color).save(file, "PNG")
    return Cell(image=file.getvalue(), judged=AffectPoint(5, 5))


def center(picture: Image.Image, color: tuple[int, int, int]) -> tuple[float, float]:
    """Where the pixels of a color lie on average, from the left and from the top."""
    places = [(x, y) for x in range(picture.width) for y in range(picture.height) if picture.getpixel((x, y)) == color]
    return sum(x for x, _ in places) / len(places), sum(y for _, y in places) / len(places)


def test_pleasant_is_right_and_stirred_is_up() -> None:
    drawn = draw_plane("a boat", 2, {place: cell(color) for place, color in COLORS.items()})
    centers = {place: center(Image.open(io.BytesIO(drawn)), color) for place, color in COLORS.items()}
    assert centers[0, 0][0] == centers[0, 1][0] < centers[1, 0][0] == centers[1, 1][0]
    assert centers[0, 1][1] == centers[1, 1][1] < centers[0, 0][1] == centers[1, 0][1]


def test_missing_cells_stay_empty_and_a_long_prompt_fits() -> None:
    drawn = Image.open(io.BytesIO(draw_plane("a boat " * 50, 2, {(1, 1): cell((255, 0, 0))})))
    edge = drawn.crop((drawn.width - 30, 0, drawn.width, drawn.height)).convert("RGB")
    assert edge.getcolors() == [(edge.width * edge.height, edge.getpixel((0, 0)))]


@pytest.mark.parametrize(("grid", "places"), [(2, [3, 7]), (4, [2, 4, 6, 8]), (5, [1.8, 3.4, 5.0, 6.6, 8.2])])
def test_targets_are_the_centers_of_equal_parts_of_the_scale(grid: int, places: list[float]) -> None:
    assert grid_targets(grid) == pytest.approx(places)


def test_the_nearest_pairs_are_joined_first_and_no_image_stands_twice() -> None:
    targets = {(0, 0): AffectPoint(3, 3), (1, 0): AffectPoint(7, 3), (1, 1): AffectPoint(7, 7)}
    images = [AffectPoint(6, 3), AffectPoint(7, 3.5)]
    assert share_out(targets, images) == {(1, 0): 1, (0, 0): 0}
    assert share_out(targets, []) == {}
