"""A generator measured with and without each feedback: base, reward feedback, textual feedback, both (Figure 5).

Every way delivers one picture for each pair of prompt and target, the one that the judge chose. Its valence and arousal
are measured by the judge, as the paper does, and by an independent witness, since a judge that chooses flatters itself;
the pictures by whatever scores have a checkpoint. What a way's last round painted without a choice stands beside it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emofeedback.domain.affect import AffectPoint, distance
from emofeedback.domain.errors import FailedPrecondition
from emofeedback_trainer.evaluation.ablation import Delivered
from emofeedback_trainer.evaluation.metrics import Figure, figure, mae, plcc
from emofeedback_trainer.evaluation.provenance import Provenance, plain, shown

Witness = Callable[[Sequence[bytes]], Awaitable[list[AffectPoint | None]]]
"""Says what pictures feel like, None where it can't."""
Scores = Callable[[Sequence[bytes], Sequence[str]], Mapping[str, list[float]]]
"""`scorers.ImageScores.measure`."""

ERRORS = {
    "judge_valence_error": "V-Error, judge",
    "judge_arousal_error": "A-Error, judge",
    "valence_error": "V-Error, independent",
    "arousal_error": "A-Error, independent",
    "valence_correlation": "correlation V, independent",
    "arousal_correlation": "correlation A, independent",
    "unchosen_error": "error of the last round's mean picture",
    "middle_error": "error of always the middle",
}
"""On the 1-9 scale; the last two are |dV| + |dA|, the first of them by the independent witness."""
SCORES = {
    "clip_score": "CLIP-Score",
    "clip_iqa": "CLIP-IQA",
    "aesthetic": "aesthetic",
    "pick_score": "PickScore",
}
_MIDDLE = AffectPoint(5.0, 5.0)


@dataclass(frozen=True, kw_only=True)
class Witnessed:
    """One delivered picture in everybody's eyes."""

    prompt: str
    target: AffectPoint
    judged: AffectPoint
    seen: AffectPoint
    """By the independent witness."""
    unchosen_error: float
    """|dV| + |dA| by the witness, mean over the last round's pictures."""
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Way:
    """One line of the table."""

    name: str
    figures: Mapping[str, Figure]
    """By the names of `ERRORS` and `SCORES`."""
    unseen: int
    """Pairs left out because judge or witness could read no picture of them."""


async def witnessed(delivered: Sequence[Delivered], witness: Witness, scores: Scores) -> list[Witnessed]:
    """Looks at what a way delivered; pictures that the witness can't read are left out.

    Raises:
        EmoFeedbackError: as the witness and the scores raise.
    """
    found = []
    for one in delivered:
        chosen = one.chosen.read_bytes()
        seen, *others = await witness([chosen, *(path.read_bytes() for path in one.last)])
        errors = [distance(point, one.pair.target) for point in others if point]
        if seen is None or not errors:
            continue
        scored = scores([chosen], [one.pair.prompt])
        found.append(
            Witnessed(
                prompt=one.pair.prompt,
                target=one.pair.target,
                judged=one.judged,
                seen=seen,
                unchosen_error=float(np.mean(errors)),
                scores={name: values[0] for name, values in scored.items()},
            )
        )
    return found


def way(name: str, pictures: Sequence[Witnessed], *, pairs: int, seed: int = 0) -> Way:
    """The figures of one way.

    Args:
        pairs: how many it was asked for.

    Raises:
        FailedPrecondition: none of its pictures could be read.
    """
    if not pictures:
        raise FailedPrecondition(f"{name}: judge or witness could read none of {pairs} pictures")
    targets, judged, seen = (
        np.array([(point.valence, point.arousal) for point in points])
        for points in zip(*((one.target, one.judged, one.seen) for one in pictures), strict=True)
    )
    figures: dict[str, Figure] = {}
    for column, axis in enumerate(("valence", "arousal")):
        figures[f"judge_{axis}_error"] = figure(mae, targets[:, column], judged[:, column], seed=seed)
        figures[f"{axis}_error"] = figure(mae, targets[:, column], seen[:, column], seed=seed)
        figures[f"{axis}_correlation"] = figure(plcc, targets[:, column], seen[:, column], seed=seed)
    means = {
        "unchosen_error": [one.unchosen_error for one in pictures],
        "middle_error": [distance(one.target, _MIDDLE) for one in pictures],
        **{score: [one.scores[score] for one in pictures] for score in pictures[0].scores},
    }
    for score, values in means.items():
        figures[score] = figure(lambda drawn: float(np.mean(drawn)), values, seed=seed)
    return Way(name=name, figures=figures, unseen=pairs - len(pictures))


def to_json(ways: Sequence[Way], provenance: Provenance) -> dict[str, Any]:
    """As `--json` prints it."""
    content: dict[str, Any] = plain(
        {"ways": {one.name: {**one.figures, "unseen": one.unseen} for one in ways}, "provenance": provenance}
    )
    return content


def to_markdown(ways: Sequence[Way], provenance: Provenance) -> str:
    """A row a figure, a column a way: the order of the paper's table, transposed for its intervals."""
    lines = [f"| | {' | '.join(one.name for one in ways)} |", "|---" * (len(ways) + 1) + "|"]
    for name, words in {**ERRORS, **SCORES}.items():
        if any(name in one.figures for one in ways):
            lines.append(f"| {words} | {' | '.join(shown(one.figures.get(name)) for one in ways)} |")
    unseen = ", ".join(f"{one.unseen} by {one.name}" for one in ways if one.unseen)
    missing = [words for name, words in SCORES.items() if not any(name in one.figures for one in ways)]
    notes = [
        *([f"Left out, because judge or witness could read no picture: {unseen}."] if unseen else []),
        *([f"Not measured, for want of a checkpoint: {', '.join(missing)}."] if missing else []),
    ]
    return "\n".join([*lines, "", *notes, "", provenance.to_markdown()])
