from collections import Counter

import numpy as np
import pytest

from emofeedback.domain.replies import answer
from emofeedback.judge.prompts import description_conversation, question_conversation
from emofeedback_trainer.nano.question_lessons import Asker, about, description, description_of_two, in_words, told
from emofeedback_trainer.nano.world.language import Album, Lesson
from emofeedback_trainer.nano.world.numbered import scene_at
from emofeedback_trainer.nano.world.reading import named_parts, parts_present
from emofeedback_trainer.nano.world.scenes import affect, dominance, emotion

SCENES = [scene_at("evaluation", index) for index in range(60)]


def answer_of(lesson: Lesson) -> str:
    return answer(lesson.reply)


@pytest.fixture(scope="module")
def asker() -> Asker:
    return Asker(Album(SCENES))


def options_of(lesson: Lesson) -> list[str]:
    """None for an open question."""
    asked = lesson.conversation[0].parts[-1]
    assert isinstance(asked, str)
    return [line.removeprefix("- ") for line in asked.splitlines()[1:-1]]


def test_an_answer_is_one_of_its_question_s_options_and_the_right_one_stands_anywhere(asker: Asker) -> None:
    rng = np.random.default_rng(0)
    lessons = [asker.ask(rng) for _ in range(800)]
    closed = [(lesson, options) for lesson in lessons if (options := options_of(lesson))]
    assert 0.75 < len(closed) / len(lessons) < 0.95
    assert all(answer_of(lesson) in options for lesson, options in closed)
    of_two = Counter(options.index(answer_of(lesson)) for lesson, options in closed if len(options) == 2)
    assert abs(of_two[0] - of_two[1]) < 0.2 * of_two.total()
    assert {len(lesson.pictures) for lesson in lessons} == {1, 2}


def test_the_right_option_is_in_the_scene_and_the_others_are_not() -> None:
    rng = np.random.default_rng(1)
    for scene in SCENES:
        lesson = about(scene, rng).lesson
        options = options_of(lesson)
        there = {name for _, name in parts_present(scene)} | {scene.subject, scene.place, emotion(scene).value}
        asked = str(lesson.conversation[0].parts[-1])
        if asked.startswith("Does this picture show"):
            extra = asked.split("?")[0].split()[-1]
            assert answer_of(lesson) == ("Yes" if extra in scene.extras else "No")
        elif not asked.startswith("What makes"):
            assert {text for text in options if text in there} == {answer_of(lesson)}
        else:
            wrong = [text for text in options if text != answer_of(lesson)]
            assert not any(named_parts(text) <= parts_present(scene) for text in wrong if named_parts(text))


def test_a_scene_s_labels_are_its_own() -> None:
    for scene in SCENES:
        sample = told(scene)
        assert sample.dominance == pytest.approx(dominance(scene), abs=1e-3)
        assert sample.valence == pytest.approx(affect(scene).valence, abs=1e-3)
        assert len({place.label for place in sample.ranking}) == 3
        assert sample.label == sample.ranking[0].label


def test_a_description_names_the_feeling_and_what_is_there() -> None:
    for first, second in zip(SCENES[::2], SCENES[1::2], strict=True):
        one, two = description(first), description_of_two(first, second)
        assert one.conversation == description_conversation([b""])
        assert two.conversation == description_conversation([b"", b""])
        assert one.reply.startswith(f"It evokes {emotion(first)} most")
        assert named_parts(one.reply) >= parts_present(first)
        assert named_parts(two.reply) == parts_present(first) | parts_present(second)


def test_an_open_question_has_no_options() -> None:
    lesson = in_words(SCENES[0], np.random.default_rng(0))
    assert not options_of(lesson)
    asked = str(lesson.conversation[0].parts[-1]).splitlines()[0]
    assert lesson.conversation == question_conversation([b""], asked)


def test_each_of_the_trained_tasks_is_answered_behind_thoughts(asker: Asker) -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        lesson = asker.task(rng)
        assert lesson.reply.startswith("<think>It shows ") and lesson.reply.endswith("</answer>")
