"""The embedded judge knows its own world, says so on small samples, and reads pictures as it did without."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emofeedback.domain.assessment import Assessment
from emofeedback.judge.domain import DOMAIN_FILE
from emofeedback.judge.local import LocalJudge
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback_trainer.nano.measure.judge import judged, png
from emofeedback_trainer.nano.models.judge_domain import drawn
from emofeedback_trainer.nano.world.foreign_pictures import KINDS, made, photographs


@pytest.fixture(scope="module")
def judge() -> Iterator[LocalJudge]:
    judge = LocalJudge.load(NANO_PROFILE.judge)
    yield judge
    judge.close()


def readings(judge: LocalJudge, pictures: Sequence[Image.Image]) -> list[Assessment]:
    """Of the pictures to which the judge gives a readable reply; to a few foreign ones it doesn't."""
    outcomes = asyncio.run(judged(judge, [png(picture) for picture in pictures]))
    return [outcome for outcome in outcomes if isinstance(outcome, Assessment)]


def test_drawn_scenes_are_of_its_world(judge: LocalJudge) -> None:
    felt = readings(judge, list(drawn("test", 60)))
    assert sum(one.in_domain is False for one in felt) <= 2
    assert np.median([one.domain_score for one in felt]) < 0.05  # so their confidence stays what it was


@pytest.mark.parametrize("kind", ["photographs", *KINDS])
def test_anything_else_is_not_and_its_emotion_is_a_guess(judge: LocalJudge, kind: str) -> None:
    pictures = photographs("test") if kind == "photographs" else made(kind, "test", 8)
    felt = readings(judge, list(islice(pictures, 0, None, 13 if kind == "photographs" else 1)))
    assert sum(one.in_domain is not False for one in felt) <= 1
    assert np.median([one.confidence for one in felt]) < 0.2


def test_readings_are_those_of_a_judge_that_can_not_tell(judge: LocalJudge, tmp_path: Path) -> None:
    plain = tmp_path / "judge"
    shutil.copytree(NANO_PROFILE.judge.checkpoint, plain, ignore=shutil.ignore_patterns(DOMAIN_FILE))
    unaware = LocalJudge.load(dataclasses.replace(NANO_PROFILE.judge, checkpoint=str(plain)))
    try:
        pictures = [*drawn("test", 6), *made("noise", "test", 3)]
        assert asyncio.run(unaware.model()).digest == asyncio.run(judge.model()).digest
        for told, untold in zip(readings(judge, pictures), readings(unaware, pictures), strict=True):
            assert (told.valence, told.arousal, told.emotion) == (untold.valence, untold.arousal, untold.emotion)
            assert untold.in_domain is None and told.confidence <= untold.confidence
    finally:
        unaware.close()
