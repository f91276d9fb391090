"""EEmo-Logic's stages: what is asked, how replies are scored, and what a variant gained over its start."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest

from emofeedback.domain.affect import Emotion
from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.data.eemodb.questions import Question
from emofeedback_trainer.data.records import RankedEmotion, Sample
from emofeedback_trainer.evaluation.provenance import Data, Model, Provenance
from emofeedback_trainer.judge.comparison import BASE, with_their_starts
from emofeedback_trainer.judge.stages import STAGES, Asked, Quiz, StageReplies
from emofeedback_trainer.judge.stages_table import StageRow, stage_rows, to_json, to_markdown

RANKED = ("joy", "surprise", "fear")
TEST = [
    Sample(
        id=str(n),
        source="made up",
        license="",
        valence=2.0 + n,
        arousal=5.0,
        dominance=4.0,
        emotion=Emotion.AWE,
        label="joy",
        ranking=tuple(RankedEmotion(label=label, weight=1.0) for label in RANKED),
    )
    for n in range(4)
]
QUESTIONS = [
    Question(
        id=f"{task}-{n}",
        images=("0", "1")[: 1 + (task == "pair")],
        task=task,
        kind="What/How",
        dimension="valence",
        question="How does it feel?",
        options=("positive", "negative"),
        answer="A",
    )
    for task in ("perception", "pair")
    for n in range(4)
]
QUIZ = Quiz.of(TEST, QUESTIONS, limit=None, seed=0)


def rated(sample: Sample, error: float) -> str:
    return (
        f'<think>It glows.</think><answer>{{"valence": {(sample.valence or 0) + error}, "arousal": 5.0, '
        '"emotion": "awe", "dominance": 4.0}</answer>'
    )


def answered(text: str) -> str:
    return f"<think>It glows.</think><answer>{text}</answer>"


def found(name: str, replies: dict[Asked, Sequence[str]]) -> StageReplies:
    (variant,) = [variant for variant in STAGES if variant.name == name]
    return StageReplies(variant=variant, model=Model(role=name, name=name, digest=""), replies=replies)


@cache
def table() -> list[StageRow]:
    """The judge before training gets half of the questions right and one reply in four is unreadable, the fine-tuned
    one knows all but that it is one point off in valence."""
    before = found(
        BASE,
        {
            "perception": ["positive", "negative", "Negative.", "positive"],
            "pair": ["positive", "positive", "", "I see a dog"],
            "ranking": [answered("[joy, surprise, fear]"), "nothing", answered("[neutral]"), answered("[anger]")],
            "vad": ["high", *[rated(sample, 2.0) for sample in TEST[1:]]],
            "emotion": [answered("joy"), "joy", answered("awe"), answered("fear")],
        },
    )
    tuned = found(
        "sft",
        {
            "perception": ["positive"] * 4,
            "pair": ["positive"] * 4,
            "ranking": [answered("[joy, surprise, fear]")] * 4,
            "vad": [rated(sample, 1.0) for sample in TEST],
            "emotion": [answered("Joy.")] * 4,
        },
    )
    return stage_rows([before, tuned], QUIZ, seed=0)


def test_unreadable_replies_are_wrong_ones_and_counted() -> None:
    before, tuned = table()
    assert {task: score.value for task, score in before.scores.items()} == {
        "perception": 50.0,
        "pair": 50.0,
        "ranking": 25.0,
        "emotion": 25.0,
    }
    assert {score.value for score in tuned.scores.values()} == {100.0}
    assert (before.readable, tuned.readable) == (1 - 6 / 20, 1.0)


def test_ratings_are_measured_over_the_replies_that_say_them() -> None:
    before, tuned = table()
    assert before.errors["valence"].value == pytest.approx(2.0)
    assert before.errors["valence"].n == 3
    assert tuned.errors["valence"].value == pytest.approx(1.0)
    assert tuned.errors["dominance"].value == 0.0
    assert tuned.correlations["valence"].value == pytest.approx(1.0)


def test_a_stage_gains_over_what_it_begins_with_question_by_question() -> None:
    before, tuned = table()
    assert before.gained == {}
    assert {task: gain.value for task, gain in tuned.gained.items()} == {
        "perception": 50.0,
        "pair": 50.0,
        "ranking": 75.0,
        "emotion": 75.0,
    }


def test_the_table_has_a_line_a_variant_and_says_where_it_comes_from() -> None:
    data = Data(name="runs/eemodb", digest="sha256:" + "1" * 64, n=4)
    provenance = Provenance(command="emofeedback-train judge-compare", seed=0, models=(), data=(data,))
    text = to_markdown(table(), provenance)
    assert "| stage 1 alone: SFT on questions and labels | 100.0 [100.0, 100.0] | 100.0 [100.0, 100.0]" in text
    assert "emofeedback-train judge-compare" in text
    assert [row["name"] for row in to_json(table(), provenance)["rows"]] == [BASE, "sft"]


def test_labels_that_the_data_lacks_are_not_asked_for() -> None:
    bare = [replace(sample, ranking=(), dominance=None) for sample in TEST]
    quiz = Quiz.of(bare, QUESTIONS, limit=None, seed=0)
    replies: dict[Asked, Sequence[str]] = {
        "perception": ["positive"] * 4,
        "pair": ["positive"] * 4,
        "ranking": [],
        "vad": [],
        "emotion": [answered("joy")] * 4,
    }
    (row,) = stage_rows([found(BASE, replies)], quiz, seed=0)
    assert set(row.scores) == {"perception", "pair", "emotion"}
    assert row.errors == {}


def test_a_limit_draws_as_many_questions_of_either_sort_by_its_seed() -> None:
    some = Quiz.of(TEST, QUESTIONS, limit=2, seed=1)
    assert {task: len(asked) for task, asked in some.closed.items()} == {"perception": 2, "pair": 2}
    assert some.of_task("ranking") == TEST[:2]
    assert some.ids == Quiz.of(TEST, QUESTIONS, limit=2, seed=1).ids
    assert {tuple(Quiz.of(TEST, QUESTIONS, limit=2, seed=seed).ids) for seed in range(8)} != {tuple(some.ids)}


def test_a_question_about_a_picture_of_another_split_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"questions.pair-0: is about '1', which the split doesn't have"):
        Quiz.of(TEST[:1], QUESTIONS[4:], limit=None, seed=0)


def test_each_task_is_added_to_the_one_before_after_the_same_first_stage() -> None:
    assert [variant.name for variant in with_their_starts(["both"], STAGES)] == [BASE, "sft", "both"]
    after = [variant for variant in STAGES if variant.start == "sft"]
    assert [variant.tasks for variant in after] == [("ranking",), ("ranking", "vad"), ("ranking", "vad", "emotion")]
    (alone,) = [variant for variant in STAGES if variant.start == BASE and variant.rewards is not None]
    assert alone.tasks == after[-1].tasks
