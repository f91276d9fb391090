"""The extras of nano scenes: each has its own places beside, above or before the subject, so that two go together."""

import math
import random

from emofeedback_trainer.nano.world.brush import Brush, Color, Point
from emofeedback_trainer.nano.world.scenes import Scene

_BRIGHT: tuple[Color, ...] = ((236, 62, 70), (252, 200, 50), (70, 150, 240), (120, 200, 80), (214, 90, 200))
_GROUND = ("candles", "fire", "tombstones", "garbage")


def draw_behind(brush: Brush, scene: Scene, rng: random.Random) -> None:
    """What stands or flies behind the subject."""
    for extra in scene.extras:
        if extra == "fireworks":
            _fireworks(brush, rng)
        elif extra == "balloons":
            _balloons(brush, rng)
        elif extra == "crows":
            _crows(brush, rng)
        elif extra == "ghosts":
            _ghosts(brush, rng)
        elif extra == "tombstones":
            _tombstones(brush, rng, _sides(scene, extra))
        elif extra == "fire" and scene.subject != "kettle":
            _fire(brush, rng, _sides(scene, extra))
        elif extra == "fire":
            _flames(brush, 50 + rng.uniform(-2, 2), 94, 13, 16, rng)


def draw_in_front(brush: Brush, scene: Scene, rng: random.Random) -> None:
    """What lies, stands or falls before the subject."""
    for extra in scene.extras:
        if extra == "flowers":
            _flowers(brush, rng)
        elif extra == "candles":
            _candles(brush, rng, _sides(scene, extra))
        elif extra == "garbage":
            _garbage(brush, rng, _sides(scene, extra))
        elif extra == "slime":
            _slime(brush, rng)
        elif extra == "butterflies":
            _butterflies(brush, rng)
        elif extra == "leaves":
            _leaves(brush, rng)


def rainbow(brush: Brush, rng: random.Random) -> None:
    """An arc over the whole sky, behind the land."""
    x, y = 50 + rng.uniform(-4, 4), 62.0
    colors: tuple[Color, ...] = (
        (232, 70, 70),
        (246, 150, 50),
        (250, 226, 80),
        (90, 196, 100),
        (70, 140, 230),
        (140, 90, 200),
    )
    for i, color in enumerate(colors):
        r = 50 - i * 2.3
        brush.arc(x, y, r, r * 1.02, 180, 360, color, 2.4, lit=True)


def _sides(scene: Scene, extra: str) -> tuple[float, ...]:
    """Centers of the places for things on the ground: both sides, or one each where two extras share the ground."""
    sharing = [name for name in scene.extras if name in _GROUND]
    if len(sharing) < 2:
        return (14.0, 86.0)
    return (14.0,) if sharing[0] == extra else (86.0,)


def _fireworks(brush: Brush, rng: random.Random) -> None:
    for x, y, r in ((19, 19, 13.0), (80, 22, 14.0), (50, 10, 9.0)):
        brush.star(x + rng.uniform(-3, 3), y + rng.uniform(-3, 3), r, 12, rng.choice(_BRIGHT), 1.3, rng.uniform(0, 1))


def _balloons(brush: Brush, rng: random.Random) -> None:
    first = rng.randrange(5)
    spots: tuple[Point, ...] = ((14, 24), (27, 40), (84, 27), (73, 12))
    for i, (x, y) in enumerate(spots):
        x, y = x + rng.uniform(-3, 3), y + rng.uniform(-3, 3)
        color = _BRIGHT[(first + i) % 5]
        brush.line(((x, y + 8), (x + 1, y + 19)), (230, 230, 230), 0.7)
        brush.ellipse(x, y, 6.6, 8.0, color)
        brush.polygon(((x, y + 7.4), (x - 1.6, y + 9.8), (x + 1.6, y + 9.8)), color)
        brush.ellipse(x - 2.2, y - 3, 1.5, 2.0, (255, 255, 255))


def _crows(brush: Brush, rng: random.Random) -> None:
    ink: Color = (16, 14, 20)
    spots: tuple[Point, ...] = ((15, 15), (36, 8), (85, 30), (66, 14), (13, 36))
    for x, y in spots:
        x, y = x + rng.uniform(-3, 3), y + rng.uniform(-3, 3)
        brush.polygon(
            (
                (x - 9, y - 4),
                (x - 4, y - 3),
                (x, y + 1),
                (x + 4, y - 3),
                (x + 9, y - 4),
                (x + 3, y + 3.4),
                (x, y + 5),
                (x - 3, y + 3.4),
            ),
            ink,
            lit=True,
        )


def _ghosts(brush: Brush, rng: random.Random) -> None:
    spots: tuple[Point, ...] = ((15, 34), (85, 40))
    for x, y in spots:
        x, y = x + rng.uniform(-2, 2), y + rng.uniform(-4, 4)
        white: Color = (226, 232, 246)
        brush.ellipse(x, y, 9.5, 10, white, lit=True)
        hem = [(x - 9.5, y)]
        hem += [(x - 9.5 + i * 3.17, y + (22 if i % 2 == 0 else 17)) for i in range(7)]
        brush.polygon([*hem, (x + 9.5, y)], white, lit=True)
        for side in (-1, 1):
            brush.ellipse(x + side * 3.6, y - 1, 1.9, 2.8, (24, 20, 40), lit=True)
        brush.ellipse(x, y + 6.4, 2.2, 3.2, (24, 20, 40), lit=True)


def _tombstones(brush: Brush, rng: random.Random, sides: tuple[float, ...]) -> None:
    for side in sides:
        for dx, foot, k in ((-5, 76, 0.85), (5, 86, 1.1)):
            x = side + dx + rng.uniform(-1.5, 1.5)
            brush.box(x - 6 * k, foot - 15 * k, x + 6 * k, foot, (128, 130, 138))
            brush.ellipse(x, foot - 15 * k, 6 * k, 6 * k, (128, 130, 138))
            brush.box(x - 0.9, foot - 17 * k, x + 0.9, foot - 6 * k, (62, 62, 72))
            brush.box(x - 3.2 * k, foot - 14 * k, x + 3.2 * k, foot - 12 * k, (62, 62, 72))


def _fire(brush: Brush, rng: random.Random, sides: tuple[float, ...]) -> None:
    for side in sides:
        _flames(brush, side + rng.uniform(-2, 2), 84, 13, 36, rng)


def _flames(brush: Brush, x: float, foot: float, half: float, height: float, rng: random.Random) -> None:
    """Tongues of fire in three tones, from the outer red to the yellow heart."""
    tones: tuple[Color, ...] = ((226, 58, 24), (250, 134, 30), (255, 222, 90))
    leans = [rng.uniform(-1.5, 1.5) for _ in range(3)]
    for tone, k in zip(tones, (1.0, 0.7, 0.4), strict=True):
        for dx, tall, lean in ((-0.55, 0.62, leans[0]), (0.55, 0.72, leans[1]), (0.0, 1.0, leans[2])):
            at, wide, high = x + dx * half * k, half * 0.62 * k, height * tall * k
            brush.polygon(
                (
                    (at - wide, foot - high * 0.25),
                    (at - wide * 0.5, foot - high * 0.6),
                    (at + lean, foot - high),
                    (at + wide * 0.6, foot - high * 0.5),
                    (at + wide, foot - high * 0.25),
                    (at, foot),
                ),
                tone,
                lit=True,
            )
            brush.ellipse(at, foot - high * 0.22, wide, high * 0.22, tone, lit=True)


def _flowers(brush: Brush, rng: random.Random) -> None:
    first = rng.randrange(3)
    for i in range(8):
        x, y = 5 + i * 13 + rng.uniform(-2.5, 2.5), 87 + (i % 2) * 6 + rng.uniform(-1.5, 1.5)
        color = ((240, 90, 140), (250, 246, 250), (250, 200, 60))[(first + i) % 3]
        brush.line(((x, y), (x, y + 9)), (54, 130, 54), 1.3)
        for petal in range(5):
            angle = petal * math.tau / 5
            brush.ellipse(x + 2.5 * math.cos(angle), y + 2.5 * math.sin(angle), 2.1, 2.1, color)
        brush.ellipse(x, y, 1.5, 1.5, (224, 130, 40))


def _candles(brush: Brush, rng: random.Random, sides: tuple[float, ...]) -> None:
    for side in sides:
        for dx, foot, height in ((-7, 90, 12), (1, 95, 16), (8, 89, 10)):
            x = side + dx + rng.uniform(-1, 1)
            brush.ellipse(x, foot - height - 4, 4.2, 5.6, (255, 196, 90), lit=True)
            brush.box(x - 2.1, foot - height, x + 2.1, foot, (246, 236, 216), lit=True)
            brush.ellipse(x, foot - height - 4, 1.8, 3.6, (255, 250, 200), lit=True)


def _garbage(brush: Brush, rng: random.Random, sides: tuple[float, ...]) -> None:
    for side in sides:
        x = side + rng.uniform(-2, 2)
        brush.ellipse(x, 90, 13, 5, (112, 100, 70))
        brush.ellipse(x - 4, 83, 8, 9, (48, 50, 54))
        brush.polygon(((x - 6, 76), (x - 8, 71), (x - 1, 71), (x - 3, 76)), (48, 50, 54))
        brush.box(x + 3, 83, x + 9, 92, (160, 74, 60))
        brush.polygon(((x - 1, 93), (x + 2, 88), (x + 5, 94)), (196, 190, 96))
        for i in range(5):
            angle = rng.uniform(-2.9, -0.2)
            brush.ellipse(
                x + 13 * math.cos(angle), 78 + (9 + i * 2) * math.sin(angle), 1.1, 0.9, (10, 10, 10), lit=True
            )


def _slime(brush: Brush, rng: random.Random) -> None:
    green, shine = (122, 178, 30), (190, 226, 90)
    for i in range(9):
        x, length = i * 12.5, (8, 17, 11, 21, 9, 15, 22, 10, 18)[(i + rng.randrange(9)) % 9]
        brush.box(x - 6.6, -4, x + 6.6, 5, green)
        brush.box(x - 3.2, 0, x + 3.2, length, green, round_by=3.1)
        brush.ellipse(x - 1, length - 3.5, 0.9, 1.5, shine)
    for x, y, r in ((16, 94, 15), (83, 95, 16)):
        x += rng.uniform(-2, 2)
        brush.ellipse(x, y, r, 4.4, green)
        brush.ellipse(x - 4, y - 1, 3.5, 1.2, shine)


def _butterflies(brush: Brush, rng: random.Random) -> None:
    first = rng.randrange(5)
    spots: tuple[Point, ...] = ((15, 44), (25, 66), (84, 50), (76, 30), (88, 72))
    for i, (x, y) in enumerate(spots):
        x, y = x + rng.uniform(-3, 3), y + rng.uniform(-3, 3)
        color = _BRIGHT[(first + i) % 5]
        for side in (-1, 1):
            brush.ellipse(x + side * 3.6, y - 2.2, 3.6, 3.4, color, lit=True)
            brush.ellipse(x + side * 3.0, y + 2.6, 2.6, 2.5, color, lit=True)
            brush.ellipse(x + side * 3.8, y - 2.2, 1.3, 1.3, (255, 255, 255), lit=True)
        brush.ellipse(x, y, 0.9, 4.0, (40, 30, 30), lit=True)


def _leaves(brush: Brush, rng: random.Random) -> None:
    tones: tuple[Color, ...] = ((214, 110, 36), (182, 70, 36), (226, 160, 50))
    spots: tuple[Point, ...] = (
        (10, 16),
        (26, 30),
        (44, 9),
        (70, 20),
        (88, 36),
        (14, 52),
        (84, 60),
        (24, 76),
        (74, 82),
        (10, 90),
        (90, 90),
        (58, 95),
        (36, 93),
    )
    for i, (x, y) in enumerate(spots):
        x, y, turn = x + rng.uniform(-4, 4), y + rng.uniform(-4, 4), rng.uniform(0, math.pi)
        c, s = math.cos(turn), math.sin(turn)
        shape = ((-4.6, 0.0), (-1.5, -2.6), (2.0, -2.2), (4.8, 0.0), (2.0, 2.2), (-1.5, 2.6))
        brush.polygon([(x + a * c - b * s, y + a * s + b * c) for a, b in shape], tones[i % 3])
