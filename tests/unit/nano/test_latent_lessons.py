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


def test_what_is_known_of_a_scene_s_dominance_is_a_part_of_its_rating(lessons: WorldLessons) -> None:
    looked = [look.rating for look in lessons.looks(20, np.random.default_rng(0))]
    known = [one.rating for one in lessons.known(120, np.random.default_rng(0)) if one.rating]
    assert known
    for rating in (*looked, *known):
        valence, arousal, emotion, control = rating.reply.split()
        assert rating.dominance is not None
        assert emotion == rating.emotion
        written = zip(
            (valence, arousal, control), (rating.point.valence, rating.point.arousal, rating.dominance), strict=True
        )
        assert all(abs(int(whole) - true) < 1 for whole, true in written)


def test_the_embedded_judge_s_tokens_say_what_it_sees_and_imagines() -> None:
    scenes = [scene_at("evaluation", index) for index in range(20)]
    metrics = token_metrics(Path(NANO / "judge"), scenes, reasons=8, variations=WAYS)
    assert metrics["look_text_right"] > 0.75
    assert metrics["tokens_valence_mae"] < 0.7
    assert metrics["imagined_target_mae"] < 0.2
    assert metrics["imagined_error"] < 2.5
    assert metrics["imagined_different"] > 3
