"""What the held-out panel left of one measurement: its pictures, their targets, and what was seen in them.

DIR/panel/000010/pairs.json
DIR/panel/000010/03-1.png     pair 3, its second picture
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import FailedPrecondition

PANEL = "panel"


@dataclass(frozen=True, kw_only=True)
class PaintedPicture:
    """One picture of a pair."""

    seed: int
    path: Path
    seen: AffectPoint | None
    """By the independent judge, where there is one, else by the judge; None where nobody could read it."""


@dataclass(frozen=True, kw_only=True)
class PaintedPair:
    """One pair of prompt and target, and its pictures."""

    prompt: str
    target: AffectPoint
    pictures: tuple[PaintedPicture, ...]
    """Those whose files are still there."""

    @property
    def arrows(self) -> list[tuple[AffectPoint, AffectPoint]]:
        """Target and result of every picture that was read."""
        return [(self.target, picture.seen) for picture in self.pictures if picture.seen]


def measurements(folder: Path) -> dict[int, Path]:
    """The measurements of a run by iteration, those that have left pictures, in order."""
    found = (path.parent for path in (folder / PANEL).glob("*/pairs.json") if path.parent.name.isdecimal())
    return {int(path.name): path for path in sorted(found)}


def read_pairs(folder: Path) -> tuple[PaintedPair, ...]:
    """One measurement.

    Raises:
        FailedPrecondition: `pairs.json` can't be read.
    """
    path = folder / "pairs.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return tuple(_pair(folder, number, pair) for number, pair in enumerate(content["pairs"]))
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise FailedPrecondition(f"{path} can't be read: {error!r}") from error


def _pair(folder: Path, number: int, pair: Mapping[str, Any]) -> PaintedPair:
    pictures = []
    for index, image in enumerate(pair["images"]):
        path = folder / f"{number:02d}-{index}.png"
        seen = image["critic"] or image["judged"]
        if path.exists():
            pictures.append(PaintedPicture(seed=int(image["seed"]), path=path, seen=_point(seen) if seen else None))
    return PaintedPair(prompt=str(pair["prompt"]), target=_point(pair["target"]), pictures=tuple(pictures))


def _point(point: Mapping[str, Any]) -> AffectPoint:
    return AffectPoint(float(point["valence"]), float(point["arousal"]))
