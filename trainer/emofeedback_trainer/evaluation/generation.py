"""A generator measured with and without each feedback: base, reward feedback, textual feedback, both (Figure 5).

Every way delivers one picture for each pair of prompt and target, the one that the judge chose. Its valence and arousal
are measured by the judge, as the paper does, and by an independent witness, since a judge that chooses flatters itself;
the pictures by whatever scores have a checkpoint. Beside it stands the mean picture of a way's last round, which nobody
chose.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from emofeedback.domain.affect import AffectPoint, distance
from emofeedback.domain.errors import FailedPrecondition
from emofeedback_trainer.core.jsonl import add_line, read_kept
from emofeedback_trainer.core.pairs import MIDDLE
from emofeedback_trainer.core.tables import table
from emofeedback_trainer.evaluation.ablation import Delivered
from emofeedback_trainer.evaluation.metrics import Estimate, correlation, estimate, mae
from emofeedback_trainer.evaluation.provenance import Provenance, plain, shown
from emofeedback_trainer.evaluation.runs import IMAGES, ROUNDS


@dataclass(frozen=True, kw_only=True)
class Impression:
    """One picture in the independent witness's eyes."""

    point: AffectPoint
    subject: str = ""
    """Empty where the witness names none."""


Witness = Callable[[Sequence[bytes]], Awaitable[list[Impression | None]]]
"""Says what is seen in pictures, None where it can't."""
Scores = Callable[[Sequence[bytes], Sequence[str]], Mapping[str, list[float]]]
"""`scorers.ImageScores.measure`."""

METRICS = {
    "judge_valence_error": "V-Error, judge",
    "judge_arousal_error": "A-Error, judge",
    "valence_error": "V-Error, independent",
    "arousal_error": "A-Error, independent",
    "valence_correlation": "correlation V, independent",
    "arousal_correlation": "correlation A, independent",
    "error": "error, independent",
    "subject_accuracy": "subject seen, independent",
    "unchosen_error": "error of the last round's mean picture, independent",
    "middle_error": "error of always the middle",
}
"""By judge and independent witness. Errors are on the 1-9 scale, those without an axis are |dV| + |dA|; the share of
pictures in which the witness sees the prompt's subject is in [0, 1], and there where both name one."""
SCORES = {
    "clip_score": "CLIP-Score",
    "clip_iqa": "CLIP-IQA",
    "aesthetic": "aesthetic",
    "pick_score": "PickScore",
}


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
    subject_seen: bool | None = None
    """Whether the witness sees the prompt's subject; None where one of both names none."""
    scores: Mapping[str, float]


_SEEN: TypeAdapter[Witnessed | None] = TypeAdapter(Witnessed | None)


@dataclass(frozen=True, kw_only=True)
class Way:
    """One line of the table."""

    name: str
    metrics: Mapping[str, Estimate]
    """By the names of `METRICS` and `SCORES`."""
    unseen: int
    """Pairs left out because judge or witness could read no picture of them."""


async def witnessed(
    delivered: Sequence[Delivered], witness: Witness, scores: Scores, *, kept: Path | None = None
) -> list[Witnessed]:
    """Looks at what a way delivered; pictures that the witness can't read are left out.

    Args:
        kept: file of JSON lines, one a picture, from which a measurement that was cut goes on; None: nothing is kept.

    Raises:
        FailedPrecondition: the file holds something else, or can't be written.
        ResourceExhausted: the disk is full; what was seen before is kept.
        EmoFeedbackError: as the witness and the scores raise.
    """
    seen = read_kept(kept, "picture", _seen_before)[: len(delivered)] if kept else []
    for one in delivered[len(seen) :]:
        found = await _witnessed(one, witness, scores)
        if kept:
            add_line(kept, {"picture": len(seen), "seen": _SEEN.dump_python(found, mode="json")})
        seen.append(found)
    return [found for found in seen if found is not None]


async def _witnessed(one: Delivered, witness: Witness, scores: Scores) -> Witnessed | None:
    chosen = one.chosen.read_bytes()
    seen, *others = await witness([chosen, *(path.read_bytes() for path in one.last)])
    errors = [distance(other.point, one.pair.target) for other in others if other]
    if seen is None or not errors:
        return None
    scored = scores([chosen], [one.pair.prompt])
    return Witnessed(
        prompt=one.pair.prompt,
        target=one.pair.target,
        judged=one.judged,
        seen=seen.point,
        subject_seen=seen.subject == one.pair.subject if seen.subject and one.pair.subject else None,
        unchosen_error=float(np.mean(errors)),
        scores={name: values[0] for name, values in scored.items()},
    )


def _seen_before(line: Mapping[str, Any]) -> Witnessed | None:
    return _SEEN.validate_python(line["seen"])


def way(name: str, pictures: Sequence[Witnessed], *, pairs: int, seed: int = 0) -> Way:
    """The metrics of one way.

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
    metrics: dict[str, Estimate] = {}
    for column, axis in enumerate(("valence", "arousal")):
        metrics[f"judge_{axis}_error"] = estimate(mae, targets[:, column], judged[:, column], seed=seed)
        metrics[f"{axis}_error"] = estimate(mae, targets[:, column], seen[:, column], seed=seed)
        metrics[f"{axis}_correlation"] = estimate(correlation, targets[:, column], seen[:, column], seed=seed)
    means: dict[str, list[float]] = {
        "error": [distance(one.target, one.seen) for one in pictures],
        "unchosen_error": [one.unchosen_error for one in pictures],
        "middle_error": [distance(one.target, MIDDLE) for one in pictures],
        "subject_accuracy": [float(one.subject_seen) for one in pictures if one.subject_seen is not None],
        **{score: [one.scores[score] for one in pictures] for score in pictures[0].scores},
    }
    for metric, values in means.items():
        if values:
            metrics[metric] = estimate(lambda drawn: float(np.mean(drawn)), values, seed=seed)
    return Way(name=name, metrics=metrics, unseen=pairs - len(pictures))


def to_json(ways: Sequence[Way], provenance: Provenance) -> dict[str, Any]:
    """As `--json` prints it."""
    content: dict[str, Any] = plain(
        {"ways": {one.name: {**one.metrics, "unseen": one.unseen} for one in ways}, "provenance": provenance}
    )
    return content


def to_markdown(ways: Sequence[Way], provenance: Provenance) -> str:
    """A row a metric, a column a way: the order of the paper's table, transposed for its intervals."""
    rows = [
        [title, *(shown(one.metrics.get(name)) for one in ways)]
        for name, title in {**METRICS, **SCORES}.items()
        if any(name in one.metrics for one in ways)
    ]
    unseen = ", ".join(f"{one.unseen} by {one.name}" for one in ways if one.unseen)
    missing = [title for name, title in SCORES.items() if not any(name in one.metrics for one in ways)]
    notes = [
        f"Without textual feedback the judge chooses among {IMAGES} pictures, with it among up to {ROUNDS * IMAGES}.",
        *([f"Left out, because judge or witness could read no picture: {unseen}."] if unseen else []),
        *([f"Not measured, for want of a checkpoint: {', '.join(missing)}."] if missing else []),
    ]
    return "\n".join([table(["", *(one.name for one in ways)], rows), "", *notes, "", provenance.to_markdown()])
