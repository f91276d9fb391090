"""Lessons of a fusion: from a file, from the nano world, and as turns."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.distillation.teacher import HELD_OUT
from emofeedback_trainer.fusion.config import FusionConfig
from emofeedback_trainer.fusion.lessons import Lesson, load_lessons
from emofeedback_trainer.fusion.states import States
from emofeedback_trainer.fusion.turns import Curriculum
from emofeedback_trainer.nano.fusion_lessons import lesson
from emofeedback_trainer.nano.task import TASK

POINT = AffectPoint(7, 3)


def written(folder: Path, **line: object) -> str:
    (folder / "lessons.jsonl").write_text(json.dumps({"prompt": "a dog", **line}) + "\n")
    return str(folder / "lessons.jsonl")


def test_a_file_of_lessons_comes_again_and_again(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "dog.png")
    source = written(tmp_path, told="a sad dog", valence=2, arousal=3, image="dog.png", variations=[1])
    made = load_lessons(source)
    assert (made(0).told, made(5).target, made(5).variations) == ("a sad dog", AffectPoint(2, 3), (1,))
    assert (picture := made(3).picture) and picture().getpixel((0, 0)) == (255, 0, 0)
    plain = load_lessons(written(tmp_path))(0)
    assert (plain.told, plain.target) == ("a dog", None)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"valence": 3}, "needs both numbers"),
        ({"valence": 3, "arousal": 12, "variations": [0]}, "arousal is 12"),
        ({"valence": 3, "arousal": 2}, "needs a picture or variations"),
        ({"valence": 3, "arousal": 2, "variations": [0, 1]}, "none can be chosen without a picture"),
        ({"valence": 3, "arousal": 2, "variations": [9]}, "whole numbers from 0 to 7"),
        ({"valence": 3, "arousal": 2, "image": "../dog.png"}, "outside the folder"),
        ({"variations": [0]}, "has neither a picture nor variations"),
        ({"told": ""}, "texts of 1 to"),
        ({"mood": "sad"}, "unknown key 'mood'"),
    ],
)
def test_a_bad_line_is_named(line: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=rf"lessons\[0\].*{said}"):
        load_lessons(written(tmp_path, **line))


@pytest.mark.parametrize("source", ["nowhere.jsonl", "no.such.module:lesson", "lesson"])
def test_a_source_that_cannot_be_had_is_named(source: str) -> None:
    with pytest.raises(InvalidRequest, match="lessons"):
        load_lessons(source)


def test_lessons_of_the_world_ask_for_no_held_out_place_and_in_the_stated_shares() -> None:
    lessons = [lesson(number) for number in range(300)]
    held_out = {pair.prompt for pair in TASK.evaluation}
    assert not any(one.prompt.endswith(prompt) for one in lessons for prompt in held_out)
    imagined = np.mean([bool(one.variations) for one in lessons])
    looked = np.mean([bool(one.picture and not one.variations) for one in lessons])
    assert abs(imagined - 0.55) < 0.1 and abs(looked - 0.3) < 0.1
    assert all(one.told == one.prompt for one in lessons if one.target is None)
    assert {variation for one in lessons for variation in one.variations} == {0, 1, 2, 3}
    assert lesson(7).told == lessons[7].told


def test_a_mood_that_the_prompt_names_stays_in_what_is_told() -> None:
    named = [one for number in range(300) if (one := lesson(number)).variations and " stormy " in one.prompt]
    assert named and all(" stormy " in one.told for one in named)


def test_turns_come_in_the_configured_shares_and_read_what_they_should() -> None:
    both = Lesson(prompt="p", told="t", target=POINT, picture=lambda: Image.new("RGB", (1, 1)), variations=(2,))
    plain = Lesson(prompt="p, valence 5, arousal 5", told="p, valence 5, arousal 5")
    lessons = [both] * HELD_OUT + [both, plain]
    states = States(
        looked=torch.ones(len(lessons), 2, 3),
        imagined=torch.full((len(lessons), 2, 3), 2.0),
        variation=torch.full((len(lessons),), 2),
    )
    curriculum = Curriculum(
        lessons, states, shares := FusionConfig(adapter_rate=1e-3, look_share=0.25, numbers_share=0.5, null_share=0.75)
    )
    assert curriculum.learned.tolist() == [HELD_OUT, HELD_OUT + 1]
    rng = np.random.default_rng(0)
    felt = [curriculum.turn(HELD_OUT, rng) for _ in range(400)]
    assert all(turn.feels and turn.has_rows for turn in felt)
    assert abs(np.mean([float(turn.states.mean()) == 1 for turn in felt]) - 0.25) < 0.07
    assert abs(np.mean([turn.caption == "p, valence 7, arousal 3" for turn in felt]) - 0.5) < 0.07
    bare = [curriculum.turn(HELD_OUT + 1, rng) for _ in range(400)]
    assert not any(turn.feels for turn in bare) and {turn.caption for turn in bare} == {plain.prompt}
    assert abs(np.mean([turn.has_rows for turn in bare]) - 0.75) < 0.07
    # Where the adapter stays as it is nothing can be learned without rows.
    still = Curriculum(lessons, states, replace(shares, adapter_rate=0.0))
    assert all(still.turn(HELD_OUT + 1, rng).has_rows for _ in range(20))


def test_without_a_judge_nothing_is_learned_of_what_is_only_looked_at() -> None:
    looked = Lesson(prompt="p", told="t", target=POINT, picture=lambda: Image.new("RGB", (1, 1)))
    imagined = Lesson(prompt="p", told="t", target=POINT, variations=(1,))
    curriculum = Curriculum([looked] * HELD_OUT + [looked, imagined], None, FusionConfig())
    assert curriculum.learned.tolist() == [HELD_OUT + 1]
    turn = curriculum.turn(HELD_OUT + 1, np.random.default_rng(0))
    assert (turn.point, turn.variation) == ((7, 3), 1)
