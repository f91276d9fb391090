"""The objects among the subjects of nano scenes."""

from collections.abc import Callable

from emofeedback_trainer.nano.world.brush import Brush, shade


def _house(brush: Brush, x: float, foot: float, k: float, variant: int) -> None:
    wall, roof = (((240, 222, 186), (190, 66, 54)), ((206, 220, 232), (66, 92, 150)))[variant]
    brush.box(x + 10 * k, foot - 50 * k, x + 16 * k, foot - 34 * k, (140, 84, 70))
    brush.box(x - 20 * k, foot - 30 * k, x + 20 * k, foot, wall)
    brush.polygon(((x - 26 * k, foot - 28 * k), (x, foot - 54 * k), (x + 26 * k, foot - 28 * k)), roof)
    brush.box(x - 5 * k, foot - 18 * k, x + 5 * k, foot, (120, 76, 50), round_by=1)
    for side in (-1, 1):
        brush.box(
            x + side * 13 * k - 4 * k,
            foot - 22 * k,
            x + side * 13 * k + 4 * k,
            foot - 13 * k,
            (255, 224, 130),
            lit=True,
        )
        brush.line(((x + side * 13 * k, foot - 22 * k), (x + side * 13 * k, foot - 13 * k)), (110, 80, 60), 0.9)


def _castle(brush: Brush, x: float, foot: float, k: float, variant: int) -> None:
    stone, roof = ((178, 174, 184), ((150, 60, 130), (50, 110, 160))[variant])
    brush.box(x - 17 * k, foot - 28 * k, x + 17 * k, foot, stone)
    for i in range(5):
        brush.box(x - 16 * k + i * 7 * k, foot - 32 * k, x - 12.5 * k + i * 7 * k, foot - 28 * k, stone)
    for side in (-1, 1):
        tower = x + side * 19 * k
        brush.box(tower - 6 * k, foot - 38 * k, tower + 6 * k, foot, shade(stone, 0.88))
        brush.polygon(((tower - 8 * k, foot - 37 * k), (tower, foot - 55 * k), (tower + 8 * k, foot - 37 * k)), roof)
        brush.box(tower - 1.6 * k, foot - 30 * k, tower + 1.6 * k, foot - 23 * k, (64, 56, 70))
    brush.box(x - 5.5 * k, foot - 16 * k, x + 5.5 * k, foot + 0.5, (84, 60, 48), round_by=5)
    brush.line(((x, foot - 32 * k), (x, foot - 46 * k)), (80, 76, 84), 1)
    brush.polygon(((x, foot - 46 * k), (x + 10 * k, foot - 43 * k), (x, foot - 40 * k)), (224, 60, 60))


def _boat(brush: Brush, x: float, foot: float, k: float, variant: int) -> None:
    hull = ((196, 74, 56), (60, 90, 150))[variant]
    brush.line(((x, foot - 10 * k), (x, foot - 58 * k)), (110, 78, 52), 2)
    brush.polygon(
        ((x + 2 * k, foot - 56 * k), (x + 2 * k, foot - 18 * k), (x + 25 * k, foot - 18 * k)), (250, 246, 236)
    )
    brush.polygon(
        ((x - 2 * k, foot - 50 * k), (x - 2 * k, foot - 18 * k), (x - 19 * k, foot - 18 * k)), (232, 224, 208)
    )
    brush.polygon(
        ((x - 27 * k, foot - 14 * k), (x + 29 * k, foot - 14 * k), (x + 19 * k, foot), (x - 18 * k, foot)), hull
    )
    brush.box(x - 27 * k, foot - 15 * k, x + 29 * k, foot - 12 * k, (246, 240, 230))
    for i in range(5):
        brush.arc(x - 24 * k + i * 12 * k, foot + 1, 6 * k, 3, 180, 360, (226, 242, 250), 1.4)


def _tree(brush: Brush, x: float, foot: float, k: float, variant: int) -> None:
    leaf = ((74, 156, 66), (150, 176, 60))[variant]
    brush.polygon(
        ((x - 5 * k, foot), (x - 3 * k, foot - 26 * k), (x + 3 * k, foot - 26 * k), (x + 5 * k, foot)), (112, 76, 48)
    )
    for dx, dy, r in ((-12, -32, 12), (12, -32, 12), (0, -44, 15), (0, -32, 13)):
        brush.ellipse(x + dx * k, foot + dy * k, r * k, r * 0.92 * k, shade(leaf, 0.86))
    for dx, dy, r in ((-10, -37, 8), (5, -48, 9), (10, -36, 7)):
        brush.ellipse(x + dx * k, foot + dy * k, r * k, r * 0.8 * k, shade(leaf, 1.12))
    for dx, dy in ((-13, -30), (-2, -40), (11, -42), (7, -29), (-8, -46)):
        brush.ellipse(x + dx * k, foot + dy * k, 2 * k, 2 * k, (222, 54, 48))


def _car(brush: Brush, x: float, foot: float, k: float, variant: int) -> None:
    paint = ((216, 56, 52), (44, 136, 176))[variant]
    brush.polygon(
        (
            (x - 15 * k, foot - 22 * k),
            (x - 9 * k, foot - 37 * k),
            (x + 11 * k, foot - 37 * k),
            (x + 18 * k, foot - 22 * k),
        ),
        paint,
    )
    brush.polygon(
        (
            (x - 11.5 * k, foot - 23 * k),
            (x - 7 * k, foot - 34 * k),
            (x - 0.5 * k, foot - 34 * k),
            (x - 0.5 * k, foot - 23 * k),
        ),
        (196, 226, 240),
    )
    brush.polygon(
        (
            (x + 1.5 * k, foot - 23 * k),
            (x + 1.5 * k, foot - 34 * k),
            (x + 9 * k, foot - 34 * k),
            (x + 14 * k, foot - 23 * k),
        ),
        (196, 226, 240),
    )
    brush.box(x - 28 * k, foot - 24 * k, x + 28 * k, foot - 6 * k, paint, round_by=5 * k)
    brush.box(x - 28 * k, foot - 11 * k, x + 28 * k, foot - 8 * k, shade(paint, 0.7))
    brush.ellipse(x + 25 * k, foot - 17 * k, 2.6 * k, 2.6 * k, (255, 240, 170), lit=True)
    for side in (-1, 1):
        brush.ellipse(x + side * 15 * k, foot - 6 * k, 7 * k, 7 * k, (40, 40, 46))
        brush.ellipse(x + side * 15 * k, foot - 6 * k, 3.2 * k, 3.2 * k, (190, 190, 196))


def _kettle(brush: Brush, x: float, foot: float, k: float, variant: int) -> None:
    metal = ((72, 150, 150), (190, 110, 70))[variant]
    for side in (-1, 1):
        brush.line(((x + side * 12 * k, foot - 12 * k), (x + side * 16 * k, foot)), (70, 64, 62), 2.4)
    brush.arc(x, foot - 36 * k, 13 * k, 14 * k, 180, 360, (70, 58, 54), 2.6 * k)
    brush.polygon(
        (
            (x + 14 * k, foot - 20 * k),
            (x + 27 * k, foot - 38 * k),
            (x + 30 * k, foot - 36 * k),
            (x + 17 * k, foot - 12 * k),
        ),
        shade(metal, 0.8),
    )
    brush.ellipse(x, foot - 22 * k, 19 * k, 15 * k, metal)
    brush.ellipse(x - 6 * k, foot - 26 * k, 6 * k, 5 * k, shade(metal, 1.35))
    brush.ellipse(x, foot - 36 * k, 10 * k, 3 * k, shade(metal, 0.8))
    brush.ellipse(x, foot - 39 * k, 2.6 * k, 2.6 * k, (60, 50, 48))


OBJECT_FIGURES: dict[str, Callable[[Brush, float, float, float, int], None]] = {
    "house": _house,
    "castle": _castle,
    "boat": _boat,
    "tree": _tree,
    "car": _car,
    "kettle": _kettle,
}
"""How each object is drawn: brush, middle, foot, scale and color variant."""
