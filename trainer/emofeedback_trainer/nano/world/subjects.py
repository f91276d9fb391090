"""The subjects of nano scenes: people and animals share a head with a readable face, objects have their own shapes."""

import random

from emofeedback_trainer.nano.world.brush import Brush, Color, shade
from emofeedback_trainer.nano.world.objects import OBJECT_FIGURES
from emofeedback_trainer.nano.world.scenes import LIVING, Scene

_INK: Color = (38, 30, 34)


def draw_subject(brush: Brush, scene: Scene, rng: random.Random) -> None:
    """The subject: big, near the middle, standing on the lower part of the picture."""
    x, foot, scale = 50.0 + rng.uniform(-4, 4), 92.0 + rng.uniform(-1.5, 1.5), rng.uniform(0.95, 1.07)
    variant = rng.randrange(2)
    brush.ellipse(x, foot, 19 * scale, 3.2, shade(brush.haze[0], 0.35) if brush.haze[1] else (40, 44, 44))
    if scene.subject in LIVING:
        _living(brush, scene, x, foot, scale, variant)
    else:
        OBJECT_FIGURES[scene.subject](brush, x, foot, scale, variant)


def _living(brush: Brush, scene: Scene, x: float, foot: float, k: float, variant: int) -> None:
    head = foot - 38 * k
    coat = {
        "girl": ((214, 66, 96), (236, 186, 60)),
        "man": ((52, 96, 170), (70, 130, 84)),
        "dog": ((176, 118, 66), (206, 160, 104)),
        "cat": ((236, 148, 60), (92, 92, 104)),
        "rabbit": ((240, 236, 232), (178, 150, 130)),
        "owl": ((132, 92, 58), (104, 110, 136)),
    }[scene.subject][variant]
    {
        "girl": _girl,
        "man": _man,
        "dog": _dog,
        "cat": _cat,
        "rabbit": _rabbit,
        "owl": _owl,
    }[scene.subject](brush, x, foot, head, k, coat, scene.expression)
    _face(
        brush,
        x,
        head,
        13.5 * k,
        scene.expression,
        beak=scene.subject == "owl",
        snout=scene.subject in ("dog", "cat", "rabbit"),
    )


def _arms(brush: Brush, x: float, shoulder: float, k: float, color: Color, expression: str) -> None:
    """Raised in joy, on the hips in anger, before the body in fear, else hanging."""
    lift = {"smiling": -13.0, "angry": 6.0, "frightened": -4.0}.get(expression, 13.0)
    spread = {"smiling": 17.0, "angry": 18.0, "frightened": 15.0}.get(expression, 14.0)
    for side in (-1, 1):
        hand = (x + side * spread * k, shoulder + lift * k)
        brush.line(((x + side * 7 * k, shoulder + 2), hand), color, 4.6 * k)
        brush.ellipse(*hand, 2.9 * k, 2.9 * k, (240, 196, 164))


def _girl(brush: Brush, x: float, foot: float, head: float, k: float, coat: Color, expression: str) -> None:
    hair = (112, 62, 34)
    brush.ellipse(x, head + 3 * k, 16.5 * k, 17 * k, hair)
    for side in (-1, 1):
        brush.box(x + side * 5 * k - 2.2, foot - 8 * k, x + side * 5 * k + 2.2, foot, (240, 196, 164))
    brush.polygon(
        (
            (x - 6 * k, head + 10 * k),
            (x + 6 * k, head + 10 * k),
            (x + 14 * k, foot - 6 * k),
            (x - 14 * k, foot - 6 * k),
        ),
        coat,
    )
    _arms(brush, x, head + 14 * k, k, shade(coat, 0.85), expression)
    brush.ellipse(x, head, 13.5 * k, 13 * k, (246, 208, 178))
    brush.polygon(
        (
            (x - 13 * k, head - 3 * k),
            (x - 9 * k, head - 12 * k),
            (x + 9 * k, head - 12 * k),
            (x + 13 * k, head - 3 * k),
            (x, head - 7.5 * k),
        ),
        hair,
    )
    brush.ellipse(x, head - 11 * k, 10 * k, 4.4 * k, hair)
    for side in (-1, 1):
        brush.polygon(
            (
                (x + 11 * k, head - 12 * k),
                (x + 11 * k + side * 5 * k, head - 16 * k),
                (x + 11 * k + side * 5 * k, head - 9 * k),
            ),
            coat,
        )


def _man(brush: Brush, x: float, foot: float, head: float, k: float, coat: Color, expression: str) -> None:
    for side in (-1, 1):
        brush.box(x + side * 5 * k - 3.6, foot - 12 * k, x + side * 5 * k + 3.6, foot, (58, 58, 74))
    brush.box(x - 10 * k, head + 9 * k, x + 10 * k, foot - 10 * k, coat, round_by=3)
    _arms(brush, x, head + 14 * k, k, shade(coat, 0.85), expression)
    brush.ellipse(x, head, 13 * k, 13 * k, (236, 190, 156))
    brush.box(x - 15 * k, head - 10.5 * k, x + 15 * k, head - 7 * k, (66, 52, 46), round_by=1.5)
    brush.box(x - 9.5 * k, head - 20 * k, x + 9.5 * k, head - 8 * k, (66, 52, 46), round_by=2)
    brush.box(x - 9.5 * k, head - 12 * k, x + 9.5 * k, head - 10 * k, coat)


def _animal_body(brush: Brush, x: float, foot: float, head: float, k: float, coat: Color, expression: str) -> None:
    """Sitting, seen from the front; the paws rise in joy and fear."""
    brush.ellipse(x, foot - 12 * k, 14 * k, 13.5 * k, coat)
    brush.ellipse(x, foot - 10 * k, 8 * k, 9 * k, shade(coat, 1.25))
    for side in (-1, 1):
        if expression in ("smiling", "frightened"):
            brush.line(
                (
                    (x + side * 9 * k, foot - 17 * k),
                    (x + side * 18 * k, foot - (27 if expression == "smiling" else 20) * k),
                ),
                shade(coat, 0.86),
                5.5 * k,
            )
        else:
            brush.ellipse(x + side * 8 * k, foot - 3 * k, 5.4 * k, 3.6 * k, shade(coat, 0.86))


def _dog(brush: Brush, x: float, foot: float, head: float, k: float, coat: Color, expression: str) -> None:
    brush.line(((x + 11 * k, foot - 8 * k), (x + 21 * k, foot - 17 * k)), coat, 4 * k)
    _animal_body(brush, x, foot, head, k, coat, expression)
    brush.ellipse(x, head, 14 * k, 13 * k, coat)
    for side in (-1, 1):
        brush.ellipse(x + side * 13.5 * k, head + 1 * k, 5 * k, 11.5 * k, shade(coat, 0.62))
    brush.ellipse(x, head + 5.5 * k, 8 * k, 6.4 * k, shade(coat, 1.3))


def _cat(brush: Brush, x: float, foot: float, head: float, k: float, coat: Color, expression: str) -> None:
    brush.arc(x + 17 * k, foot - 13 * k, 6 * k, 11 * k, 60, 280, coat, 4 * k)
    _animal_body(brush, x, foot, head, k, coat, expression)
    for side in (-1, 1):
        brush.polygon(
            ((x + side * 13.5 * k, head - 2), (x + side * 12.5 * k, head - 20 * k), (x + side * 3 * k, head - 10 * k)),
            coat,
        )
        brush.polygon(
            (
                (x + side * 11.5 * k, head - 6 * k),
                (x + side * 11 * k, head - 15.5 * k),
                (x + side * 6 * k, head - 10 * k),
            ),
            (240, 160, 160),
        )
    brush.ellipse(x, head, 14.5 * k, 12.5 * k, coat)
    for side in (-1, 1):
        for dy in (3.0, 6.0):
            brush.line(
                ((x + side * 9 * k, head + dy * k), (x + side * 18 * k, head + (dy * 1.2 - 1) * k)),
                (250, 250, 250),
                0.7,
            )


def _rabbit(brush: Brush, x: float, foot: float, head: float, k: float, coat: Color, expression: str) -> None:
    _animal_body(brush, x, foot, head, k, coat, expression)
    for side in (-1, 1):
        brush.ellipse(x + side * 6.5 * k, head - 20 * k, 4.4 * k, 13 * k, coat)
        brush.ellipse(x + side * 6.5 * k, head - 19 * k, 2.2 * k, 10 * k, (240, 168, 172))
    brush.ellipse(x, head, 13.5 * k, 12.5 * k, coat)


def _owl(brush: Brush, x: float, foot: float, head: float, k: float, coat: Color, expression: str) -> None:
    for side in (-1, 1):
        tip = {"smiling": (24, 8), "frightened": (23, 14)}.get(expression, (17, 34))
        brush.polygon(
            (
                (x + side * 10 * k, head + 8 * k),
                (x + side * tip[0] * k, head + tip[1] * k),
                (x + side * 11 * k, head + 28 * k),
            ),
            shade(coat, 0.7),
        )
        brush.ellipse(x + side * 5 * k, foot - 0.5, 4 * k, 2 * k, (236, 160, 50))
    brush.ellipse(x, foot - 18 * k, 14 * k, 19 * k, coat)
    brush.ellipse(x, foot - 14 * k, 9 * k, 13 * k, shade(coat, 1.4))
    for side in (-1, 1):
        brush.polygon(
            ((x + side * 14 * k, head - 4 * k), (x + side * 13 * k, head - 19 * k), (x + side * 3 * k, head - 10 * k)),
            shade(coat, 0.7),
        )
    brush.ellipse(x, head, 15.5 * k, 12.5 * k, coat)
    for side in (-1, 1):
        brush.ellipse(x + side * 6 * k, head - 1 * k, 6.6 * k, 7 * k, (238, 222, 190))


def _face(brush: Brush, x: float, y: float, r: float, expression: str, *, beak: bool, snout: bool) -> None:
    """Eyes, brows and mouth of a head with radius r: the same signs for people and animals."""
    eye = y - 0.08 * r
    mouth = y + 0.5 * r
    if expression == "angry":
        brush.ellipse(x, y + 0.1 * r, 0.86 * r, 0.72 * r, (226, 74, 52))
    if expression == "frightened":
        brush.ellipse(x, y + 0.1 * r, 0.86 * r, 0.78 * r, (206, 222, 240))
    for side in (-1, 1):
        ex = x + side * 0.42 * r
        if expression in ("sleeping", "crying"):
            brush.arc(ex, eye, 0.24 * r, 0.2 * r, 0, 180, _INK, 0.13 * r)
        elif expression == "smiling":
            brush.arc(ex, eye + 0.1 * r, 0.24 * r, 0.28 * r, 180, 360, _INK, 0.15 * r)
        elif expression == "frightened":
            brush.ellipse(ex, eye, 0.3 * r, 0.36 * r, (255, 255, 255), lit=True)
            brush.ellipse(ex, eye, 0.1 * r, 0.12 * r, _INK)
        else:
            brush.ellipse(ex, eye, 0.16 * r, 0.2 * r, _INK)
        if expression == "angry":
            brush.line(((ex - side * 0.26 * r, eye - 0.2 * r), (ex + side * 0.28 * r, eye - 0.48 * r)), _INK, 0.17 * r)
        elif expression == "crying":
            brush.line(((ex - side * 0.2 * r, eye - 0.46 * r), (ex + side * 0.26 * r, eye - 0.3 * r)), _INK, 0.1 * r)
            brush.box(
                ex - 0.13 * r, eye + 0.2 * r, ex + 0.13 * r, eye + 0.95 * r, (70, 160, 255), round_by=0.12 * r, lit=True
            )
        elif expression == "smiling":
            brush.ellipse(x + side * 0.68 * r, y + 0.3 * r, 0.17 * r, 0.12 * r, (244, 130, 130))
    if beak:
        brush.polygon(((x - 0.16 * r, y + 0.14 * r), (x + 0.16 * r, y + 0.14 * r), (x, y + 0.45 * r)), (240, 164, 44))
        mouth += 0.16 * r
    elif snout:
        brush.ellipse(x, y + 0.2 * r, 0.16 * r, 0.11 * r, _INK)
    if expression == "smiling":
        brush.polygon(
            (
                (x - 0.36 * r, mouth - 0.1 * r),
                (x + 0.36 * r, mouth - 0.1 * r),
                (x + 0.2 * r, mouth + 0.22 * r),
                (x - 0.2 * r, mouth + 0.22 * r),
            ),
            (160, 32, 48),
        )
    elif expression in ("crying", "angry"):
        brush.arc(x, mouth + 0.24 * r, 0.3 * r, 0.26 * r, 190, 350, _INK, 0.13 * r)
    elif expression == "frightened":
        brush.ellipse(x, mouth + 0.08 * r, 0.18 * r, 0.26 * r, (70, 20, 36))
    else:
        brush.arc(x, mouth - 0.12 * r, 0.2 * r, 0.14 * r, 20, 160, _INK, 0.1 * r)
    if expression == "sleeping":
        for i, (dx, dy) in enumerate(((1.35, -0.7), (1.75, -1.25))):
            s, zx, zy = (0.24 + 0.1 * i) * r, x + dx * r, y + dy * r
            brush.line(
                ((zx - s, zy - s), (zx + s, zy - s), (zx - s, zy + s), (zx + s, zy + s)),
                (250, 250, 255),
                0.13 * r,
                lit=True,
            )
