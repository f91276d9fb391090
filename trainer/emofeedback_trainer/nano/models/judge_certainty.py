"""`emofeedback-train nano judge-certainty`: the exported judge's certainty is brought to what it is worth.

On drawn scenes, worn ones among them, that no model has learned from: a temperature under which the emotions that are
right are likeliest, and for each axis the width at which its interval holds as many ratings as it should. Likewise a
temperature for the options of closed questions about such scenes, none of them worn. The figures before and after come
from other scenes, which nothing was fitted on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from emofeedback.domain.assessment import INTERVAL, Assessment, AssessmentOutcome
from emofeedback.judge.answers import Chosen
from emofeedback.judge.certainty import Certainty, tempered
from emofeedback.judge.engines.qwen import Qwen
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback_trainer.core.tables import table
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.evaluation.metrics import expected_calibration_error
from emofeedback_trainer.judge.judging import choices, short
from emofeedback_trainer.nano.dataset import SceneData, scene_sample
from emofeedback_trainer.nano.measure.questions import asked
from emofeedback_trainer.nano.question_lessons import Asker, Choice
from emofeedback_trainer.nano.world.language import Album
from emofeedback_trainer.nano.world.numbered import scene_at

AXES = ("valence", "arousal", "dominance")
_FITTED_ON, _MEASURED_ON = 1500, 1000
_ASKED_TO_FIT, _ASKED_TO_MEASURE = 1000, 600
"""Questions, each about one or two of as many scenes."""
_FIRST = {"judge": 60_000, "evaluation": 60_000}
"""The scenes of a split of `numbered`, from this number on: to fit on, and to measure on."""
_TEMPERATURES = (0.2, 5.0)
Intervals = NDArray[np.float64]
"""Shape (pictures, 4): the truth, the judge's rating, and the ends of its interval, on 1-9."""
_LEAST = 1e-4
"""Of a share in the likelihood: what was not among the likeliest tokens has none."""
Answered = tuple[Chosen, int]
"""What a judge chose of a question's options, and the index of the right one."""
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class CertaintyFigures:
    """Whether a judge's certainty can be believed; nothing is drawn, so a figure is exact for its pictures."""

    n: int
    """Pictures with a readable reply that has all its probabilities."""
    ece: float
    """Expected calibration error of the confidence in the emotion, in ten bins."""
    accuracy: float
    confidence: float
    """Mean."""
    valence_held: float
    """Share of the pictures whose rating lies within the interval; it should be `INTERVAL`."""
    arousal_held: float
    dominance_held: float | None
    """None for a judge or samples without dominance."""
    valence_length: float
    """Of the interval, in points of the 1-9 scale; mean."""
    arousal_length: float
    dominance_length: float | None


@dataclass(frozen=True, kw_only=True)
class ChoiceFigures:
    """Whether a judge's confidence in its answers among options can be believed; exact for its questions."""

    n: int
    """Questions with a reply that is an option and has its probabilities."""
    accuracy: float
    confidence: float
    """Mean."""
    ece: float
    """Expected calibration error of the confidence, in ten bins."""


def fit_certainty(folder: Path) -> str:
    """Fits the certainty of the judge in a folder, writes it beside its weights, and tells what came of it."""
    qwen = Qwen.load(replace(NANO_PROFILE.judge, checkpoint=str(folder)))
    seen, fresh = scenes("judge", _FITTED_ON), scenes("evaluation", _MEASURED_ON)
    fitted_on, measured_on = (short(qwen, some, max_pixels=NANO_PROFILE.judge.max_pixels) for some in (seen, fresh))
    answers_on = answered(qwen, questions("judge", _ASKED_TO_FIT))
    answers_after = answered(qwen, questions("evaluation", _ASKED_TO_MEASURE))
    certainty = replace(fitted(fitted_on, seen), choice_temperature=fitted_choices(answers_on))
    certainty.save(folder)
    before, after = figures(measured_on, fresh), figures(list(map(certainty.apply, measured_on)), fresh)
    said, worth = (choice_figures(answers_after, warmth) for warmth in (1.0, certainty.choice_temperature))
    of_ratings = _compared("scenes", before, after, _WHAT)
    return f"{of_ratings}\n\n{_compared('questions', said, worth, _WHAT_OF_CHOICES)}"


def scenes(split: str, count: int) -> list[Sample]:
    """Drawn scenes that no model has learned from; as many of them worn as in a data set of scenes."""
    rng = np.random.default_rng(_FIRST[split])
    return [
        scene_sample(
            scene_at(split, _FIRST[split] + index),
            rng,
            id=f"{split}-{index}",
            split=split,
            worn=bool(rng.random() < SceneData().worn),
        )
        for index in range(count)
    ]


def questions(split: str, count: int) -> list[Choice]:
    """Closed questions about drawn scenes, as many as these, that no model has learned from."""
    asker = Asker(Album([scene_at(split, _FIRST[split] + index) for index in range(count)]))
    rng = np.random.default_rng(_FIRST[split])
    return [asker.choice(rng) for _ in range(count)]


def answered(qwen: Qwen, closed: Sequence[Choice]) -> list[Answered]:
    """Of those questions to which the judge gives one of the options."""
    settings = NANO_PROFILE.judge
    said = choices(
        qwen,
        list(map(asked, closed)),
        max_pixels=settings.max_pixels,
        max_new_tokens=settings.max_reasoning_tokens,
    )
    return [(one, choice.options.index(choice.right)) for one, choice in zip(said, closed, strict=True) if one]


def fitted(outcomes: Sequence[AssessmentOutcome], samples: Sequence[Sample]) -> Certainty:
    """The certainty under which a judge's outcomes, by its own word, are worth what they say of these samples."""
    pairs = _pairs(outcomes, samples)
    felt = [({one.emotion: one.share for one in said.emotions}, sample.emotion) for said, sample in pairs]
    return Certainty(
        temperature=_temperature([(shares, right) for shares, right in felt if right]),
        **{f"{axis}_width": round(_width(_intervals(pairs, axis)), 3) for axis in AXES},
    )


def fitted_choices(said: Sequence[Answered]) -> float:
    """The `Certainty.choice_temperature` under which the right options of a judge's answers are likeliest."""
    return _temperature([(dict(enumerate(one.shares)), right) for one, right in said if one.shares])


def figures(outcomes: Sequence[AssessmentOutcome], samples: Sequence[Sample]) -> CertaintyFigures:
    """What a judge's certainty is worth on samples whose ratings and emotions are known."""
    pairs = _pairs(outcomes, samples)
    right = [float(said.emotion is sample.emotion) for said, sample in pairs]
    confidences = [said.confidence for said, _ in pairs]
    valence, arousal, dominance = (_intervals(pairs, axis) for axis in AXES)
    return CertaintyFigures(
        n=len(pairs),
        ece=expected_calibration_error(confidences, right),
        accuracy=float(np.mean(right)),
        confidence=float(np.mean(confidences)),
        valence_held=_held(valence),
        arousal_held=_held(arousal),
        dominance_held=_held(dominance) if len(dominance) else None,
        valence_length=_length(valence),
        arousal_length=_length(arousal),
        dominance_length=_length(dominance) if len(dominance) else None,
    )


def choice_figures(said: Sequence[Answered], temperature: float) -> ChoiceFigures:
    """What a judge's confidence in its answers is worth under a `Certainty.choice_temperature`."""
    known = [
        (confidence, float(one.option == right))
        for one, right in said
        if (confidence := one.confidence(temperature)) is not None
    ]
    confidences, hits = np.array(known).T
    return ChoiceFigures(
        n=len(known),
        accuracy=float(hits.mean()),
        confidence=float(confidences.mean()),
        ece=expected_calibration_error(confidences, hits),
    )


def _temperature(known: Sequence[tuple[Mapping[Item, float], Item]]) -> float:
    """The one under which what is right is likeliest, by the shares of all that it is one of."""

    def surprise(log_temperature: float) -> float:
        temperature = math.exp(log_temperature)
        return -sum(math.log(max(tempered(shares, temperature)[right], _LEAST)) for shares, right in known)

    low, high = map(math.log, _TEMPERATURES)
    return round(math.exp(minimize_scalar(surprise, bounds=(low, high), method="bounded").x), 3)


def _compared(
    what: str,
    before: CertaintyFigures | ChoiceFigures,
    after: CertaintyFigures | ChoiceFigures,
    names: Mapping[str, str],
) -> str:
    found = [(told, getattr(before, name), getattr(after, name)) for name, told in names.items()]
    rows = [(told, f"{one:.3f}", f"{other:.3f}") for told, one, other in found if one is not None]
    return table((f"{after.n:,} {what}", "by its own word", "fitted"), rows)


def _width(intervals: Intervals) -> float:
    """By how much the half of an interval that points to the truth has to grow to reach it, in `INTERVAL` of them; 1
    where there are none."""
    if not len(intervals):
        return 1.0
    ratios = []
    for true, rating, low, high in intervals:
        half = high - rating if true > rating else rating - low
        ratios.append(abs(true - rating) / half if true != rating else 0.0)
    return float(np.quantile(ratios, min(1.0, INTERVAL * (1 + 1 / len(ratios)))))


def _held(intervals: Intervals) -> float:
    true, _, low, high = intervals.T
    return float(np.mean((low <= true) & (true <= high)))


def _length(intervals: Intervals) -> float:
    _, _, low, high = intervals.T
    return float(np.mean(high - low))


def _intervals(pairs: Sequence[tuple[Assessment, Sample]], axis: str) -> Intervals:
    """Of those samples whose rating on an axis is known, and that the judge rated there."""
    known = [
        (getattr(sample, axis), getattr(said, axis), over.low, over.high)
        for said, sample in pairs
        if getattr(sample, axis) is not None and (over := getattr(said, f"{axis}_distribution")) is not None
    ]
    return np.array(known).reshape(-1, 4)


def _pairs(outcomes: Sequence[AssessmentOutcome], samples: Sequence[Sample]) -> list[tuple[Assessment, Sample]]:
    """Those that were read, with all their probabilities."""
    return [
        (said, sample)
        for said, sample in zip(outcomes, samples, strict=True)
        if isinstance(said, Assessment)
        and said.emotions
        and said.valence_distribution is not None
        and said.arousal_distribution is not None
    ]


_WHAT = {
    "accuracy": "emotion right",
    "confidence": "confidence in it, mean",
    "ece": "ECE of the confidence",
    **{f"{axis}_held": f"{axis} within its {INTERVAL:.0%} interval" for axis in AXES},
    **{f"{axis}_length": f"length of {axis}'s interval, mean" for axis in AXES},
}
_WHAT_OF_CHOICES = {
    "accuracy": "answer right",
    "confidence": "confidence in it, mean",
    "ece": "ECE of the confidence",
}
