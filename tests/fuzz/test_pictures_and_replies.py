"""Pictures and a model's replies after accidents: read, or refused in words of ours."""

from __future__ import annotations

import random
import time

import pytest

from emofeedback.domain.assessment import Assessment, AssessmentFailure
from emofeedback.domain.errors import InvalidRequest
from emofeedback.judge.engines.completion import Completion
from emofeedback.judge.images import read_image
from emofeedback.judge.parsing import parse_rating, parse_reasoning
from support.mutations import damaged
from support.pictures import ACCEPTED, REFUSED

REPLIES = (
    "7 3 awe",
    '<think>It glows.</think><answer>{"valence": 7.5, "arousal": 3.5, "emotion": "awe"}</answer>',
    '{"emotion": "fear", "arousal": "6.5", "valence": 2}',
    "Valence: 1e999, arousal: -0, emotion: sadness",
)
LARGEST = 200_000
"""Bytes of a picture that is damaged here; the large ones of `REFUSED` have tests of their own."""


def pictures(count: int, *, seed: int = 7) -> None:
    chance, slowest, read = random.Random(seed), 0.0, 0
    made = [make() for make, *_ in ACCEPTED.values()] + [make() for make, _ in REFUSED.values()]
    seeds = [data for data in made if 0 < len(data) < LARGEST]
    for number in range(count):
        data = damaged(seeds[number % len(seeds)], chance)
        began = time.process_time()
        try:
            assert read_image(data, field="image", max_pixels=10_000).mode == "RGB"
            read += 1
        except InvalidRequest as error:
            assert error.violations[0].field == "image"
        slowest = max(slowest, time.process_time() - began)
    print(f"{count} pictures: {read} read, the others refused, the slowest in {slowest:.2f} s")


def replies(count: int, *, seed: int = 7) -> None:
    chance, failed = random.Random(seed), 0
    for number in range(count):
        text = damaged(REPLIES[number % len(REPLIES)].encode(), chance).decode("utf-8", "replace")
        reply = Completion(text, (), number % 2 == 0)
        for parse in (parse_rating, parse_reasoning):
            outcome = parse(reply)
            failed += isinstance(outcome, AssessmentFailure)
            if isinstance(outcome, Assessment):
                assert 1 <= outcome.valence <= 9 and 1 <= outcome.arousal <= 9 and 0 <= outcome.confidence <= 1
    print(f"{count} replies, each read in two ways: {failed} failures that say why")


def test_some_pictures_after_accidents() -> None:
    pictures(150)


def test_some_replies_after_accidents() -> None:
    replies(1_000)


@pytest.mark.chaos
def test_ten_thousand_pictures_after_accidents() -> None:
    pictures(10_000)


@pytest.mark.chaos
def test_a_hundred_thousand_replies_after_accidents() -> None:
    replies(100_000)
