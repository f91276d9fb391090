"""What every drawing of the valence-arousal plane stands on: the frame, the axes, the emotions as landmarks."""

from __future__ import annotations

from emofeedback.domain.affect import LEXICON, SCALE_MAX, SCALE_MIN, AffectPoint, Emotion

SIDE = 400
"""Of the plane, in the units of the drawing."""
MARGIN = 44
"""Around it, for ticks and names of the axes."""
_LABEL_ANCHORS = {Emotion.CONTENTMENT: ("end", -6, 4), Emotion.FEAR: ("start", 6, -2)}
"""Words whose neighbours would cover them in the usual place, right of their point."""


def place(point: AffectPoint) -> tuple[float, float]:
    """Where a point lies in the drawing: valence to the right, arousal up."""
    span = SCALE_MAX - SCALE_MIN
    return (
        MARGIN + SIDE * (point.valence - SCALE_MIN) / span,
        MARGIN + SIDE * (SCALE_MAX - point.arousal) / span,
    )


def plane_ground(key: str = "") -> str:
    """The frame, tinted toward each corner's feeling, with ticks and the names of the axes.

    Of several planes on a page each needs a `key` of its own.
    """
    low, high, middle = MARGIN, MARGIN + SIDE, MARGIN + SIDE // 2
    corners = {"tense": (low, low), "thrilled": (high, low), "gloomy": (low, high), "serene": (high, high)}
    parts = ["<defs>"]
    for name, (corner_x, corner_y) in corners.items():
        center = f'cx="{corner_x}" cy="{corner_y}" r="{SIDE * 0.85:g}"'
        parts.append(
            f'<radialGradient id="{key}{name}" gradientUnits="userSpaceOnUse" {center}>'
            f'<stop class="{name}" offset="0"/><stop class="{name}" offset="1" stop-opacity="0"/></radialGradient>'
        )
    parts.append("</defs>")
    frame = f'x="{low}" y="{low}" width="{SIDE}" height="{SIDE}" rx="6"'
    parts.extend(f'<rect {frame} fill="url(#{key}{name})" opacity="0.28"/>' for name in corners)
    for value in range(int(SCALE_MIN), int(SCALE_MAX) + 1, 2):
        x, y = place(AffectPoint(value, value))
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{low}" y2="{high}"/>'
            f'<line class="grid" x1="{low}" x2="{high}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{x:.1f}" y="{high + 17}" text-anchor="middle">{value}</text>'
            f'<text class="tick" x="{low - 9}" y="{y + 4:.1f}" text-anchor="end">{value}</text>'
        )
    parts.append(
        f'<rect class="frame" {frame}/>'
        f'<text class="axis" x="{middle}" y="{high + 36}">unpleasant ← valence → pleasant</text>'
        f'<text class="axis" transform="translate({low - 30} {middle}) rotate(-90)">calm ← arousal → stirred</text>'
    )
    return "".join(parts)


def emotion_words() -> list[str]:
    """The eight emotions where the lexicon puts their words, as landmarks."""
    words = []
    for emotion, statistics in LEXICON.items():
        x, y = place(statistics.point)
        anchor, dx, dy = _LABEL_ANCHORS.get(emotion, ("start", 6, 4))
        words.append(
            f'<circle class="landmark" cx="{x:.1f}" cy="{y:.1f}" r="1.8"/>'
            f'<text class="word" x="{x + dx:.1f}" y="{y + dy:.1f}" text-anchor="{anchor}">{emotion}</text>'
        )
    return words
