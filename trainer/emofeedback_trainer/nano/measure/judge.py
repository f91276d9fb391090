"""The judge and the alignment scorer measured on rendered scenes that nobody was trained on."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from math import nan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from emofeedback.domain.affect import LEXICON, SCALE_MIDDLE, AffectPoint, Emotion
from emofeedback.domain.assessment import Assessment, AssessmentOutcome, Judge
from emofeedback.domain.reasoning import Reasoning
from emofeedback_trainer.data.records import AXES
from emofeedback_trainer.evaluation.metrics import (
    HIT_WEIGHTS,
    Estimate,
    estimate,
    expected_calibration_error,
    mae,
    ranking_score,
)
from emofeedback_trainer.nano.dataset import ranking
from emofeedback_trainer.nano.world.captions import emotional_caption
from emofeedback_trainer.nano.world.contrasts import mentioned, one_word_changed, rewrite
from emofeedback_trainer.nano.world.reading import named_parts, parts_present
from emofeedback_trainer.nano.world.rendering import render
from emofeedback_trainer.nano.world.scenes import Scene, affect, dominance, emotion

_CALL = 32
"""Pictures in one call."""
_TOGETHER = 0.5
"""Points of the 1-9 scale by which two readings of one picture may differ, on either axis."""


def png(picture: Image.Image) -> bytes:
    """A picture as the services take it."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


async def judged(
    judge: Judge, images: Sequence[bytes], *, reasoning: bool | Reasoning = False
) -> list[AssessmentOutcome]:
    """Outcomes of any number of pictures."""
    outcomes: list[AssessmentOutcome] = []
    for start in range(0, len(images), _CALL):
        outcomes += await judge.assess(images[start : start + _CALL], reasoning=reasoning)
    return outcomes


def mean(values: ArrayLike) -> float:
    """Of units that are drawn."""
    return float(np.asarray(values, np.float64).mean())


def share(parts: ArrayLike, wholes: ArrayLike) -> float:
    """Of all parts in all wholes; 0 of nothing."""
    return float(np.sum(parts)) / max(1.0, float(np.sum(wholes)))


def estimated(statistic: Callable[..., float], *columns: Sequence[Any]) -> Estimate:
    """As `metrics.estimate`; NaN where there is nothing to measure."""
    return estimate(statistic, *columns) if columns[0] else Estimate(value=nan, low=nan, high=nan, n=0)


async def judge_metrics(judge: Judge, scenes: Sequence[Scene], *, aloud: int) -> dict[str, float | Estimate]:
    """Errors of the short way on all scenes, and of both ways on the first `aloud` of them.

    Unreadable replies count against `parsable` and are left out of the errors.
    """
    images = [png(render(scene)) for scene in scenes]
    short = await judged(judge, images)
    reasoned = await judged(judge, images[:aloud], reasoning=True)
    short_errors = errors(short, scenes)
    both = [errors(outcomes[:aloud], scenes[:aloud]) for outcomes in (short, reasoned)]
    named = [
        (named_parts(outcome.reasoning), parts_present(scene))
        for outcome, scene in zip(reasoned, scenes, strict=False)
        if isinstance(outcome, Assessment)
    ]
    gaps = [abs(both[0][f"{axis}_mae"].value - both[1][f"{axis}_mae"].value) for axis in ("valence", "arousal")]
    return {
        **short_errors,
        "aloud_parsable": both[1]["parsable"],
        "aloud_valence_mae": both[1]["valence_mae"],
        "aloud_arousal_mae": both[1]["arousal_mae"],
        "ways_together": _together(short[:aloud], reasoned),
        "ways_differ": max(gaps),
        "named_are_there": estimated(
            share, [len(said & there) for said, there in named], [len(said) for said, _ in named]
        ),
    }


def baseline(scenes: Sequence[Scene]) -> dict[str, float]:
    """What always answering with the middle scene would score."""
    points = np.array([(affect(scene).valence, affect(scene).arousal, dominance(scene)) for scene in scenes])
    errors = np.abs(points - np.median(points, axis=0)).mean(axis=0)
    return {f"{axis}_mae": float(error) for axis, error in zip(AXES, errors, strict=True)}


def labels(scenes: Sequence[Scene]) -> dict[str, float]:
    """How often the world's own table names an emotion on the other side of the middle from its valence."""
    return {"other_side": other_side([(affect(scene), emotion(scene)) for scene in scenes]).value}


def other_side(felt: Sequence[tuple[AffectPoint, Emotion]]) -> Estimate:
    """Share in which a pleasant emotion stands beside a valence below the middle of the scale, or the reverse."""
    sides = [(LEXICON[name].point.valence - SCALE_MIDDLE) * (point.valence - SCALE_MIDDLE) for point, name in felt]
    return estimated(mean, [side < -1e-9 for side in sides])


async def scorer_metrics(judge: Judge, scenes: Sequence[Scene], seed: int) -> dict[str, float]:
    """How often the scorer prefers the true caption, and where its cosines lie when the subject is kept or lost.

    The quantiles are what the drift guard's floors are chosen by: `kept_low` is the fifth percentile of the good
    ones, `lost_high` the 95th of the bad ones.
    """
    rng = np.random.default_rng(seed)
    right: list[bool] = []
    kept, lost, aligned, strayed = (list[float]() for _ in range(4))
    for scene in scenes:
        picture = [png(render(scene))]
        part = mentioned(scene, rng)
        wrong = one_word_changed(part, scene, rng)
        true, false = [
            (await judge.score(picture, emotional_caption(one, np.random.default_rng(seed))))[0]
            for one in (part, wrong)
        ]
        right.append(true > false)
        pair = rewrite(scene, rng)
        similar = await judge.compare_texts(pair.prompt, [pair.kept, pair.lost])
        kept.append(similar[0])
        lost.append(similar[1])
        bare = Scene(subject=scene.subject, place=scene.place, expression="", weather="", extras=(), light="", layout=0)
        other = one_word_changed(bare, scene, rng)
        for one, cosines in ((bare, aligned), (other, strayed)):
            cosines += await judge.score(picture, emotional_caption(one, np.random.default_rng(seed)))
    return {
        "prefers_the_right_caption": float(np.mean(right)),
        "text_kept_low": float(np.quantile(kept, 0.05)),
        "text_lost_high": float(np.quantile(lost, 0.95)),
        "text_kept_median": float(np.median(kept)),
        "text_lost_median": float(np.median(lost)),
        "image_kept_low": float(np.quantile(aligned, 0.05)),
        "image_kept_median": float(np.median(aligned)),
        "image_lost_median": float(np.median(strayed)),
        "image_lost_high": float(np.quantile(strayed, 0.95)),
    }


def errors(outcomes: Sequence[AssessmentOutcome], scenes: Sequence[Scene]) -> dict[str, Estimate]:
    """Of the readable replies, and how many are. What the judge doesn't say of any, dominance or shares of emotions, is
    left out."""
    pairs = [
        (outcome, scene) for outcome, scene in zip(outcomes, scenes, strict=True) if isinstance(outcome, Assessment)
    ]
    points = [affect(scene) for _, scene in pairs]
    right = [float(outcome.emotion is emotion(scene)) for outcome, scene in pairs]
    sensed = [(o.dominance, dominance(scene)) for o, scene in pairs if o.dominance is not None]
    scores = [_ranking_score(outcome, scene) for outcome, scene in pairs if outcome.emotions]
    return {
        "parsable": estimated(mean, [isinstance(outcome, Assessment) for outcome in outcomes]),
        "valence_mae": estimated(mae, [o.valence for o, _ in pairs], [point.valence for point in points]),
        "arousal_mae": estimated(mae, [o.arousal for o, _ in pairs], [point.arousal for point in points]),
        **({"dominance_mae": estimated(mae, *zip(*sensed, strict=True))} if sensed else {}),
        "class_accuracy": estimated(mean, right),
        **({"ranking_score": estimated(mean, scores)} if scores else {}),
        "ece": estimated(expected_calibration_error, [outcome.confidence for outcome, _ in pairs], right),
        "other_side": other_side([(outcome.point, outcome.emotion) for outcome, _ in pairs]),
    }


def _ranking_score(outcome: Assessment, scene: Scene) -> float:
    """EEmo-Bench's, of the three emotions with the largest shares against the scene's own three, in [0, 100]."""
    truth = [place.label for place in ranking(scene)[: len(HIT_WEIGHTS)]]
    return ranking_score(truth, list(outcome.ranking())[: len(truth)])


def _together(short: Sequence[AssessmentOutcome], reasoned: Sequence[AssessmentOutcome]) -> Estimate:
    """Share of the pictures, of those readable both ways, of which both ways say the same within `_TOGETHER`."""
    gaps = [
        max(abs(one.valence - other.valence), abs(one.arousal - other.arousal))
        for one, other in zip(short, reasoned, strict=True)
        if isinstance(one, Assessment) and isinstance(other, Assessment)
    ]
    return estimated(mean, [gap <= _TOGETHER for gap in gaps])
