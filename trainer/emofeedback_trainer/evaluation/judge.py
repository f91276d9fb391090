"""A judge measured on any data set: valence, arousal and dominance, emotion, ranking of emotions, confidence.

Whatever labels the samples have is measured; the rest is left out. A picture that the judge can't read is counted, and
left out of the errors. Beside the errors stands what always answering with the data's median would score.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter

from emofeedback.domain.assessment import Assessment, AssessmentOutcome, Decoding, Judge
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.taxonomies import TAXONOMIES
from emofeedback.observability.console import say
from emofeedback_trainer.core.jsonl import add_line, cut_back, read_lines
from emofeedback_trainer.core.tables import table
from emofeedback_trainer.data.records import AXES, Sample
from emofeedback_trainer.evaluation.confidence import (
    Calibration,
    Sampling,
    calibration,
    fit_temperature,
    self_consistent,
    tempered,
)
from emofeedback_trainer.evaluation.metrics import (
    Estimate,
    accuracy,
    correlation,
    estimate,
    expected_calibration_error,
    macro_f1,
    mae,
    ranking_score,
    srcc,
)
from emofeedback_trainer.evaluation.prompts import ranking_question
from emofeedback_trainer.evaluation.provenance import Provenance, plain, shown
from emofeedback_trainer.evaluation.replies import named_emotions

Way = Literal["short", "aloud", "sampled"]
"""How the judge looks: the short rating, one reasoned reply, or several sampled ones (`confidence.self_consistent`)."""

_CALL = 32
"""Pictures in memory at once."""
_RANKED = 3
_OUTCOME: TypeAdapter[AssessmentOutcome] = TypeAdapter(AssessmentOutcome)
_REPLY = Decoding(max_new_tokens=256)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One sample and what the judge made of it."""

    sample: Sample
    outcome: AssessmentOutcome
    ranking: tuple[str, ...] | None = None
    """The emotions that it ranked, none where the reply can't be read; None where it was not asked."""


@dataclass(frozen=True, kw_only=True)
class JudgeMetrics:
    """What came of it."""

    samples: int
    unreadable: int
    """Pictures of which the judge gave no readable assessment."""
    foreign: int | None
    """Pictures that are not of the judge's world, so that its reading means little; None where it can't tell."""
    unreadable_rankings: int
    """Their score is 0."""
    metrics: Mapping[str, Estimate]
    """By name, those that the labels allow: `valence_mae`, `valence_srcc`, `valence_plcc`, `valence_median_mae`,
    likewise for arousal, and for dominance where the judge says it; `accuracy`, `f1`, `majority_accuracy`;
    `ranking_score` of a ranking that was asked for, `shares_ranking_score` of the three emotions with the largest
    shares; `ece`. The scores of always answering with the median or the most frequent emotion are the ones to beat."""
    confidence: Calibration | None
    """How well the emotion's confidence is calibrated; None without such labels."""
    temperature: float | None
    """Fitted on the validation samples; None without them."""
    tempered: Calibration | None
    """`confidence` after the temperature."""

    def to_json(self, provenance: Provenance) -> dict[str, Any]:
        """As `--json` prints it."""
        content: dict[str, Any] = plain(
            {
                "samples": self.samples,
                "unreadable": self.unreadable,
                "foreign": self.foreign,
                "unreadable_rankings": self.unreadable_rankings,
                **self.metrics,
                "confidence": self.confidence,
                "temperature": self.temperature,
                "tempered": self.tempered,
                "provenance": provenance,
            }
        )
        return content

    def to_markdown(self, provenance: Provenance) -> str:
        """The metrics, the reliability table, and where they come from."""
        rows = [(_NAMES[name], shown(found), f"{found.n:,}") for name, found in self.metrics.items()]
        lines = [
            table(("judge", "value", "n"), rows),
            "",
            f"{self.samples:,} pictures, {self.unreadable:,} of them unreadable to the judge.",
        ]
        if self.foreign is not None:
            lines.append(f"Pictures that are not of the judge's world, whose reading means little: {self.foreign:,}.")
        if "ranking_score" in self.metrics:
            lines.append(f"Rankings that could not be read, with a score of 0: {self.unreadable_rankings:,}.")
        if self.confidence:
            lines += ["", *_reliability_lines(self.confidence)]
        if self.tempered:
            after = self.tempered
            lines += ["", f"With the temperature {self.temperature:.2f}: ECE {after.ece:.3f}, Brier {after.brier:.3f}."]
        return "\n".join([*lines, "", provenance.to_markdown()])


async def look(
    judge: Judge,
    samples: Sequence[Sample],
    way: Way,
    sampling: Sampling,
    *,
    with_ranking: bool = False,
    kept: Path | None = None,
) -> list[Seen]:
    """What the judge sees in every sample, in their order.

    Args:
        with_ranking: ask for a ranking of the emotions as well, one more reply for each sample that has one.
        kept: file of JSON lines, one a sample, from which a measurement that was cut goes on; None: nothing is kept.

    Raises:
        InvalidRequest: a sample has no readable picture; it is named.
        FailedPrecondition: the file holds something else, or can't be written.
        ResourceExhausted: the disk is full; what the judge saw before is kept.
        EmoFeedbackError: as the judge raises.
    """
    emotions = sorted({ranked.label for sample in samples for ranked in sample.ranking})
    seen = _seen_before(kept, samples) if kept else []
    for start in range(len(seen), len(samples), _CALL):
        some = samples[start : start + _CALL]
        images = [image_of(sample) for sample in some]
        try:
            if way == "sampled":
                outcomes = await self_consistent(judge, images, sampling)
            else:
                outcomes = await judge.assess(images, reasoning=way == "aloud")
        except InvalidRequest as error:
            raise InvalidRequest.of(f"samples {some[0].id} to {some[-1].id}", str(error)) from error
        rankings = await _rankings(judge, some, images, emotions) if with_ranking else {}
        for sample, outcome in zip(some, outcomes, strict=True):
            one = Seen(sample=sample, outcome=outcome, ranking=rankings.get(sample.id))
            if kept:
                said = {"outcome": _OUTCOME.dump_python(outcome, mode="json"), "ranking": one.ranking}
                add_line(kept, {"sample": len(seen), "id": sample.id, **said})
            seen.append(one)
        say(f"judge: {len(seen)} of {len(samples)} pictures", sys.stderr)
    return seen


def judge_metrics(seen: Sequence[Seen], *, validation: Sequence[Seen] = (), seed: int = 0) -> JudgeMetrics:
    """The metrics of what a judge saw.

    Args:
        validation: other samples, which the temperature is fitted on.

    Raises:
        InvalidRequest: no sample has a label, or the judge could read no picture that has one.
    """
    pairs = _readable(seen)
    ranked = [(one.sample.ranking, one.ranking) for one in seen if one.ranking is not None]
    confidences, right = _confidences(pairs)
    metrics = {**_axis_metrics(pairs, seed), **_emotion_metrics(pairs, seed), **_shares_metrics(pairs, seed)}
    if ranked:
        scores = [ranking_score([r.label for r in truth][:_RANKED], said) for truth, said in ranked]
        metrics["ranking_score"] = estimate(lambda drawn: float(np.mean(drawn)), scores, seed=seed)
    if confidences:
        metrics["ece"] = estimate(expected_calibration_error, confidences, right, seed=seed)
    if not metrics:
        raise InvalidRequest.of("data", "has no valence, arousal, emotion or ranking that the judge could be held to")
    known = [said.in_domain for _, said in pairs if said.in_domain is not None]
    fitted = _confidences(_readable(validation))
    temperature = fit_temperature(*fitted) if confidences and fitted[0] else None
    return JudgeMetrics(
        samples=len(seen),
        unreadable=len(seen) - len(pairs),
        foreign=known.count(False) if known else None,
        unreadable_rankings=sum(said == () for _, said in ranked),
        metrics=metrics,
        confidence=calibration(confidences, right) if confidences else None,
        temperature=temperature,
        tempered=calibration(tempered(confidences, temperature), right) if temperature else None,
    )


def image_of(sample: Sample) -> bytes:
    """A sample's picture.

    Raises:
        InvalidRequest: it has none, or the file can't be read.
    """
    if sample.image is None:
        raise InvalidRequest.of(f"sample {sample.id}", "has no picture to look at")
    if isinstance(sample.image, bytes):
        return sample.image
    try:
        return Path(sample.image).read_bytes()
    except OSError as error:
        raise InvalidRequest.of(f"sample {sample.id}", f"its picture can't be read: {error}") from error


def _seen_before(path: Path, samples: Sequence[Sample]) -> list[Seen]:
    """What the file holds; of a call that was cut nothing: what a judge says may depend on what it is asked beside it.

    Raises:
        FailedPrecondition: the file holds something else, or can't be written.
    """
    lines = read_lines(path, "sample")
    lines = lines if len(lines) == len(samples) else lines[: len(lines) - len(lines) % _CALL]
    if path.exists():
        cut_back(path, "sample", len(lines) - 1)
    try:
        return [
            Seen(
                sample=sample,
                outcome=_OUTCOME.validate_python(line["outcome"]),
                ranking=None if line["ranking"] is None else tuple(line["ranking"]),
            )
            for sample, line in zip(samples, lines, strict=False)
        ]
    except (LookupError, TypeError, ValueError) as error:
        raise FailedPrecondition(f"{path} can't be read: {error!r}") from error


async def _rankings(
    judge: Judge, samples: Sequence[Sample], images: Sequence[bytes], emotions: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """By sample, the emotions that the judge ranks, of those samples that have a ranking."""
    asked = [(sample.id, image) for sample, image in zip(samples, images, strict=True) if sample.ranking]
    if not asked:
        return {}
    replies = await judge.converse([ranking_question(image, emotions) for _, image in asked], _REPLY)
    return {name: named_emotions(reply, emotions) for (name, _), reply in zip(asked, replies, strict=True)}


def _readable(seen: Sequence[Seen]) -> list[tuple[Sample, Assessment]]:
    return [(one.sample, one.outcome) for one in seen if isinstance(one.outcome, Assessment)]


def _axis_metrics(pairs: Sequence[tuple[Sample, Assessment]], seed: int) -> dict[str, Estimate]:
    metrics = {}
    for axis in AXES:
        rated = [(getattr(sample, axis), getattr(said, axis)) for sample, said in pairs]
        known = [(true, rating) for true, rating in rated if true is not None and rating is not None]
        if not known:
            continue
        truth, predicted = np.array(known).T
        middle = np.full_like(truth, np.median(truth))
        for name, statistic in (("mae", mae), ("srcc", srcc), ("plcc", correlation)):
            metrics[f"{axis}_{name}"] = estimate(statistic, truth, predicted, seed=seed)
        metrics[f"{axis}_median_mae"] = estimate(mae, truth, middle, seed=seed)
    return metrics


def _emotion_metrics(pairs: Sequence[tuple[Sample, Assessment]], seed: int) -> dict[str, Estimate]:
    labeled = [(sample.emotion.value, said.emotion.value) for sample, said in pairs if sample.emotion]
    if not labeled:
        return {}
    truth, predicted = [true for true, _ in labeled], [said for _, said in labeled]
    [(commonest, _)] = Counter(truth).most_common(1)
    return {
        "accuracy": estimate(accuracy, truth, predicted, seed=seed),
        "f1": estimate(macro_f1, truth, predicted, seed=seed),
        "majority_accuracy": estimate(accuracy, truth, [commonest] * len(truth), seed=seed),
    }


def _shares_metrics(pairs: Sequence[tuple[Sample, Assessment]], seed: int) -> dict[str, Estimate]:
    """How well the emotions' shares rank what the data ranks, where its labels are those of a taxonomy that the shares
    can be told in."""
    ranked = [(sample.ranking, said) for sample, said in pairs if sample.ranking and said.emotions]
    labels = {place.label for truth, _ in ranked for place in truth}
    for taxonomy in TAXONOMIES if ranked else ():
        told = [list(said.ranking(taxonomy)) for _, said in ranked]
        if labels <= set(told[0]):
            scores = [
                ranking_score([place.label for place in truth][:_RANKED], said[:_RANKED])
                for (truth, _), said in zip(ranked, told, strict=True)
            ]
            return {"shares_ranking_score": estimate(lambda drawn: float(np.mean(drawn)), scores, seed=seed)}
    return {}


def _confidences(pairs: Sequence[tuple[Sample, Assessment]]) -> tuple[list[float], list[float]]:
    """Confidence in the emotion, and whether it is right, of those samples whose emotion is known."""
    known = [(said.confidence, float(said.emotion is sample.emotion)) for sample, said in pairs if sample.emotion]
    return [confidence for confidence, _ in known], [right for _, right in known]


def _reliability_lines(found: Calibration) -> list[str]:
    rows = [
        (f"{one.low:.1f} to {one.high:.1f}", f"{one.confidence:.3f}", f"{one.accuracy:.3f}", f"{one.n:,}")
        for one in found.table
        if one.n
    ]
    return [
        table(("confidence", "mean", "right", "n"), rows),
        "",
        f"Mean confidence {found.confidence:.3f}, right {found.accuracy:.3f}; ECE {found.ece:.3f}, "
        f"Brier {found.brier:.3f}.",
    ]


_NAMES = {
    **{
        f"{axis}_{name}": f"{axis}: {title}"
        for axis in AXES
        for name, title in (
            ("mae", "MAE"),
            ("srcc", "SRCC"),
            ("plcc", "PLCC"),
            ("median_mae", "MAE of always the median"),
        )
    },
    "accuracy": "emotion: right",
    "f1": "emotion: macro F1",
    "majority_accuracy": "emotion: right by always the most frequent",
    "ranking_score": "ranking of emotions: score of 100",
    "shares_ranking_score": "ranking by the emotions' shares: score of 100",
    "ece": "confidence: ECE",
}
