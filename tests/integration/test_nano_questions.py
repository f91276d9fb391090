"""The embedded judge is asked about pictures, and describes them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest

from emofeedback.domain.affect import Emotion
from emofeedback.domain.questions import Description, Question, QuestionAnswer, ReplyFailure
from emofeedback.judge.local import LocalJudge
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback_trainer.nano.measure.judge import png
from emofeedback_trainer.nano.models.judge_domain import drawn
from emofeedback_trainer.nano.world.foreign_pictures import made
from emofeedback_trainer.nano.world.numbered import scene_at
from emofeedback_trainer.nano.world.reading import named_parts, parts_present
from emofeedback_trainer.nano.world.rendering import render
from emofeedback_trainer.nano.world.scenes import SUBJECTS, WEATHERS

SCENES = [png(picture) for picture in islice(drawn("test", 3), 3)]
[NOISE] = [png(picture) for picture in made("noise", "test", 1)]
FEELINGS = tuple(map(str, Emotion))


@pytest.fixture(scope="module")
def judge() -> Iterator[LocalJudge]:
    judge = LocalJudge.load(NANO_PROFILE.judge)
    yield judge
    judge.close()


def test_every_question_is_answered_or_it_is_said_why_not(judge: LocalJudge) -> None:
    asked = [
        *(
            Question(images=(scene,), text="Which emotion does this picture evoke most?", options=FEELINGS)
            for scene in SCENES
        ),
        Question(images=(SCENES[0], SCENES[1]), text="Which picture is more pleasant?", options=("first", "second")),
        Question(images=(SCENES[0],), text="What does this picture show?"),
    ]
    outcomes = asyncio.run(judge.ask(asked))
    assert len(outcomes) == len(asked)
    for question, outcome in zip(asked, outcomes, strict=True):
        if isinstance(outcome, ReplyFailure):
            assert outcome.reason
        elif question.options:
            assert outcome.option is not None and question.options[outcome.option] == outcome.text
            assert outcome.confidence is not None and 0 <= outcome.confidence <= 1
        else:
            assert outcome.text and outcome.option is None


def test_what_a_picture_shows_is_chosen_rightly_far_more_often_than_by_guessing(judge: LocalJudge) -> None:
    scenes = [scene_at("evaluation", index) for index in range(24)]
    images = [png(render(scene)) for scene in scenes]
    kinds = (("What is the sky like in this picture?", WEATHERS), ("What is this a picture of?", SUBJECTS))
    for text, names in kinds:
        truth = [scene.weather if names is WEATHERS else scene.subject for scene in scenes]
        asked = [
            Question(images=(image,), text=text, options=(*[name for name in names if name != true][:2], true))
            for image, true in zip(images, truth, strict=True)
        ]
        outcomes = asyncio.run(judge.ask(asked))
        right = [
            isinstance(outcome, QuestionAnswer) and outcome.text == true
            for outcome, true in zip(outcomes, truth, strict=True)
        ]
        assert np.mean(right) > 0.7


def test_a_description_names_what_is_felt_and_what_is_there(judge: LocalJudge) -> None:
    scenes = [scene_at("evaluation", index) for index in range(12)]
    [two] = asyncio.run(judge.describe([(SCENES[0], SCENES[1])]))
    assert isinstance(two, Description) and two.text.startswith("The first shows ") and "The second shows" in two.text
    described = asyncio.run(judge.describe([(png(render(scene)),) for scene in scenes]))
    texts = [one.text if isinstance(one, Description) else "" for one in described]
    assert all(text.startswith("It evokes ") for text in texts)
    named = [(named_parts(text), parts_present(scene)) for text, scene in zip(texts, scenes, strict=True)]
    assert sum(len(said & there) for said, there in named) > 0.75 * sum(len(said) for said, _ in named)


def test_of_two_pictures_the_one_that_is_less_of_its_world_counts(judge: LocalJudge) -> None:
    shown = [(SCENES[0],), (NOISE,), (SCENES[0], NOISE), (NOISE, SCENES[0])]
    scores = []
    for outcome in asyncio.run(judge.describe(shown)):
        assert isinstance(outcome, Description) and outcome.text
        assert outcome.domain_score is not None
        scores.append(outcome.domain_score)
    home, foreign, *pairs = scores
    assert home < 1 < foreign
    assert pairs == pytest.approx([foreign, foreign], abs=0.01)


def test_a_choice_about_noise_is_told_to_be_a_guess(judge: LocalJudge) -> None:
    question = Question(images=(NOISE,), text="Which emotion does this picture evoke most?", options=FEELINGS)
    [outcome] = asyncio.run(judge.ask([question]))
    if isinstance(outcome, QuestionAnswer):
        assert outcome.in_domain is False
        assert outcome.confidence is not None and outcome.confidence < 0.3
