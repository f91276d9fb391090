"""How far off a judge is on pictures whose feelings are known, and what a refresh changed. Pure but for `readings`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, AffectPoint
from emofeedback.domain.assessment import Assessment
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.evaluation.metrics import Estimate, estimate
from emofeedback_trainer.judge.config import ModelConfig

Array = NDArray[np.float64]
_WORST = SCALE_MAX - SCALE_MIN


def readings(checkpoint: str, samples: Sequence[Sample], model: ModelConfig) -> Array:
    """Valence and arousal of each picture by a judge's short rating, (pictures, 2); NaN where it can't be read.

    Raises:
        FailedPrecondition: the checkpoint can't be had.
        InvalidRequest: a sample has no readable picture.
    """
    from emofeedback.judge.engines.qwen import Qwen
    from emofeedback_trainer.judge.judging import short

    settings = replace(
        NANO_PROFILE.judge,
        checkpoint=checkpoint,
        max_pixels=model.max_pixels,
        device=model.device,
        dtype=model.dtype,
    )
    outcomes = short(Qwen.load(settings), samples, max_pixels=model.max_pixels)
    return np.array(
        [(o.valence, o.arousal) if isinstance(o, Assessment) else (np.nan, np.nan) for o in outcomes], np.float64
    ).reshape(len(samples), 2)


def labels_of(samples: Sequence[Sample]) -> Array:
    """Valence and arousal of labelled samples, (samples, 2)."""
    return np.array([(sample.valence, sample.arousal) for sample in samples], np.float64).reshape(len(samples), 2)


def points(values: Sequence[AffectPoint]) -> Array:
    """Points as an array, (points, 2)."""
    return np.array([(value.valence, value.arousal) for value in values], np.float64).reshape(len(values), 2)


def misses(read: Array, truth: Array) -> Array:
    """Each picture's error in points, the mean of both axes' absolute errors; the largest possible, 8, where the judge
    could not read it."""
    errors: Array = np.nan_to_num(np.abs(read - truth).mean(axis=1), nan=_WORST)
    return errors


def difference(before: Array, after: Array) -> Estimate:
    """Mean change of the pictures' errors, after - before, with its paired 95 % bootstrap interval; in points."""
    return estimate(lambda drawn: float(np.mean(drawn)), after - before)


def relative_change(before: Array, after: Array) -> Estimate:
    """The same as a share of the error before: -0.04 is 4 % less."""
    return estimate(lambda one, other: float(np.mean(other) / np.mean(one) - 1), before, after)
