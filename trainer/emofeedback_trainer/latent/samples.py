"""Lessons for reasoning tokens from a data folder: pictures with ratings, emotion and words about them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from emofeedback.domain.affect import SCALE_MAX, AffectPoint
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.reasoning import Imagination
from emofeedback.judge.prompts import rating_conversation, reasoning_conversation
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.storage import read_split
from emofeedback_trainer.evaluation.judge import image_of
from emofeedback_trainer.judge.tasks import reply
from emofeedback_trainer.latent.lessons import Imagine, Known, Look, Rating, Way

_NO_PICTURE = b""


class SampleLessons:
    """Lessons of a data folder's split `train`.

    What people said about a picture is its thought, else the prompt that carries its feeling. A picture is one of
    those that its own neutral prompt and ratings might be imagined as.

    Raises:
        InvalidRequest: no sample has a picture, both ratings, an emotion and words.
    """

    def __init__(self, folder: Path) -> None:
        self._samples = [sample for sample in read_split(folder, "train") if _told(sample)]
        self._asked = [sample for sample in self._samples if sample.neutral_prompt]
        if not self._asked:
            raise InvalidRequest.of(
                "lessons", f"{folder} has no sample with picture, valence, arousal, emotion, neutral prompt and words"
            )

    def looks(self, count: int, rng: np.random.Generator) -> Sequence[Look]:
        """Random pictures."""
        return [
            Look(picture=_picture(sample), rating=_rating(sample, rng), thought=_thought(sample))
            for sample in _drawn(self._samples, count, rng)
        ]

    def imaginations(self, count: int, rng: np.random.Generator) -> Sequence[Imagine]:
        """Random prompts, each with the feeling of its picture."""
        return [
            Imagine(
                imagination=Imagination(prompt=sample.neutral_prompt, target=_point(sample)),
                ways=(Way(rating=_rating(sample, rng), thought=_thought(sample)),),
            )
            for sample in _drawn(self._asked, count, rng)
        ]

    def known(self, count: int, rng: np.random.Generator) -> Sequence[Known]:
        """Short ratings and reasoned ones, half each."""
        return [
            _short(sample, rng) if rng.random() < 0.5 else _aloud(sample)
            for sample in _drawn(self._samples, count, rng)
        ]


def _short(sample: Sample, rng: np.random.Generator) -> Known:
    rating = _rating(sample, rng)
    return Known(
        pictures=(_picture(sample),), conversation=rating_conversation(_NO_PICTURE), reply=rating.reply, rating=rating
    )


def _aloud(sample: Sample) -> Known:
    said = reply("assessment", sample)
    assert said is not None  # `_told` has seen to it
    return Known(pictures=(_picture(sample),), conversation=reasoning_conversation(_NO_PICTURE), reply=said)


def _drawn(samples: Sequence[Sample], count: int, rng: np.random.Generator) -> Sequence[Sample]:
    return [samples[int(index)] for index in rng.integers(len(samples), size=count)]


def _told(sample: Sample) -> bool:
    labels = (sample.image, sample.valence, sample.arousal, sample.emotion)
    return all(label is not None for label in labels) and bool(_thought(sample))


def _thought(sample: Sample) -> str:
    return sample.comments[0] if sample.comments else sample.emotional_prompt


def _point(sample: Sample) -> AffectPoint:
    assert sample.valence is not None and sample.arousal is not None  # `_told` has seen to it
    return AffectPoint(sample.valence, sample.arousal)


def _rating(sample: Sample, rng: np.random.Generator) -> Rating:
    """Whole numbers, rounded up as often as the fraction says, so that their expectation is exact."""
    point = _point(sample)
    known = (point.valence, point.arousal, *([sample.dominance] if sample.dominance is not None else []))
    valence, arousal, *control = (min(int(SCALE_MAX), int(value + rng.random())) for value in known)
    reply = " ".join(map(str, (valence, arousal, sample.emotion, *control)))
    return Rating(reply=reply, point=point, dominance=sample.dominance)


def _picture(sample: Sample) -> Image.Image:
    return Image.open(io.BytesIO(image_of(sample))).convert("RGB")
