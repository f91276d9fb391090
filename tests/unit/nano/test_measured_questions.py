"""What the metrics of answers and descriptions count, on replies that are known."""

import asyncio

import numpy as np

from emofeedback.domain.questions import (
    AnswerOutcome,
    Description,
    DescriptionOutcome,
    Pictures,
    Question,
    QuestionAnswer,
    ReplyFailure,
)
from emofeedback_trainer.evaluation.metrics import Estimate
from emofeedback_trainer.nano.measure.questions import answer_metrics, description_metrics
from emofeedback_trainer.nano.question_lessons import Asker, feeling
from emofeedback_trainer.nano.world.language import Album
from emofeedback_trainer.nano.world.numbered import scene_at
from support.fakes import ScriptedJudge

SCENES = [scene_at("evaluation", index) for index in range(40)]
COUNT, SEED = 60, 3


def answering(*, right: bool, confidence: float | None = 1.0) -> ScriptedJudge:
    """Knows the questions that will come, and answers them all right or all wrong."""
    asker, rng = Asker(Album(SCENES)), np.random.default_rng(SEED)
    truth = iter([asker.choice(rng).right for _ in range(COUNT)])

    def answer(question: Question) -> AnswerOutcome:
        wanted = next(truth)
        chosen = next(option for option in question.options if (option == wanted) is right)
        return QuestionAnswer(text=chosen, option=question.options.index(chosen), confidence=confidence)

    return ScriptedJudge(answers=answer)


def value(found: float | Estimate) -> float:
    return found.value if isinstance(found, Estimate) else found


def test_right_answers_count_in_every_kind_and_sure_ones_are_calibrated() -> None:
    found = asyncio.run(answer_metrics(answering(right=True), SCENES, COUNT, SEED))
    of_kind = [found[kind] for kind in ("what", "yes_or_no", "pairs")]
    assert {value(one) for one in (found["all"], *of_kind)} == {1.0}
    assert sum(one.n for one in of_kind if isinstance(one, Estimate)) == COUNT
    assert 0.25 < value(found["guessing"]) < 0.5
    assert value(found["ece"]) == 0


def test_wrong_answers_and_replies_that_are_none_do_not() -> None:
    found = asyncio.run(answer_metrics(answering(right=False), SCENES, COUNT, SEED))
    assert (value(found["all"]), value(found["ece"])) == (0, 1)
    silent = ScriptedJudge(answers=lambda question: ReplyFailure(reason="no option"))
    found = asyncio.run(answer_metrics(silent, SCENES, COUNT, SEED))
    assert value(found["all"]) == 0
    assert "ece" not in found


def test_a_description_counts_by_its_emotion_and_by_what_it_names() -> None:
    truth = iter(map(feeling, SCENES))

    def describe(pictures: Pictures) -> DescriptionOutcome:
        return Description(text=next(truth) + " It has slime, ghosts, garbage and crows.")

    found = asyncio.run(description_metrics(ScriptedJudge(descriptions=describe), SCENES))
    assert found["emotion"].value == 1.0
    assert 0.4 < found["parts"].value < 0.9
