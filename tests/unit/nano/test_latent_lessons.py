from pathlib import Path

import numpy as np
import pytest

from emofeedback.domain.affect import distance
from emofeedback.profiles.builtin import NANO
from emofeedback_trainer.nano.latent_lessons import WorldLessons
from emofeedback_trainer.nano.measure.latent import token_metrics
from emofeedback_trainer.nano.world.numbered import scene_at
from emofeedback_trainer.nano.world.reading import named_parts

WAYS = 4


@pytest.fixture(scope="module")
def lessons(tmp_path_factory: pytest.TempPathFactory) -> WorldLessons:
    return WorldLessons(tmp_path_factory.mktemp("pictures"), WAYS, count=24)


def test_the_same_draws_give_the_same_lessons(lessons: WorldLessons) -> None:
    one, same = (lessons.imaginations(3, np.random.default_rng(1)) for _ in range(2))
    assert one == same
    assert one != lessons.imaginations(3, np.random.default_rng(2))


def test_an_imagination_tells_a_scene_for_each_variation(lessons: WorldLessons) -> None:
    for lesson in lessons.imaginations(20, np.random.default_rng(0)):
        assert len({frozenset(named_parts(way.thought)) for way in lesson.ways}) >= WAYS - 1
        assert all(distance(way.rating.point, lesson.imagination.target) == 0 for way in lesson.ways)


def test_the_starting_judge_is_no_model_for_emotions(lessons: WorldLessons) -> None:
    """The world's table of emotions is newer than it."""
    lessons_drawn = lessons.known(120, np.random.default_rng(0))
    rated = [one for one in lessons_drawn if one.rating]
    reasoned = [one for one in lessons_drawn if '"emotion"' in one.reply]
    assert rated and reasoned
    for one in (*rated, *reasoned):
        assert one.held is not None
        assert one.reply.startswith(one.held)
    assert all(one.held == " ".join(one.reply.split()[:2]) for one in rated)
    assert all((one.held or "").endswith('"emotion": "') for one in reasoned)
    assert all(one.held is None for one in lessons_drawn if one not in rated and one not in reasoned)


def test_the_embedded_judge_s_tokens_say_what_it_sees_and_imagines() -> None:
    scenes = [scene_at("evaluation", index) for index in range(20)]
    metrics = token_metrics(Path(NANO / "judge"), scenes, reasons=8, variations=WAYS)
    assert metrics["look_text_right"] > 0.75
    assert metrics["tokens_valence_mae"] < 0.7
    assert metrics["imagined_target_mae"] < 0.2
    assert metrics["imagined_error"] < 2.5
    assert metrics["imagined_different"] > 3
