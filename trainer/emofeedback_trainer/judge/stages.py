"""EEmo-Logic's two stages (arXiv 2602.01173, table 4): what each is worth, and each task of the second.

Stage 1 is supervised fine-tuning on the questions of `data build-eemodb` and on the labels themselves, stage 2 GRPO on
ranking, valence-arousal-dominance and class, each behind its gate (`grpo.reward_functions`). A judge is then asked the
test split's closed questions in the judge service's words, and those three tasks in GRPO's. Every GRPO has as many
steps, so that a task added leaves fewer for the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from emofeedback.domain.assessment import Conversation, Message
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.taxonomies import EKMAN
from emofeedback.judge.engines.qwen import Qwen
from emofeedback.judge.prompts import question_conversation
from emofeedback_trainer.data.eemodb.questions import Question
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.evaluation.judge import image_of
from emofeedback_trainer.evaluation.provenance import Model
from emofeedback_trainer.judge.comparison import BASE, Plan, Variant, answers_of, trained_variants
from emofeedback_trainer.judge.judging import said
from emofeedback_trainer.judge.tasks import TaskName, is_known, question

Asked = Literal["perception", "pair", "ranking", "vad", "emotion"]
"""What a judge is measured on: closed questions about one picture or two, and the tasks of the second stage."""
_CLOSED: tuple[Asked, ...] = ("perception", "pair")
_REWARDED: tuple[Literal["ranking", "vad", "emotion"], ...] = ("ranking", "vad", "emotion")
_TAUGHT: tuple[TaskName, ...] = ("assessment", "ranking", "emotion")

STAGES = (
    Variant(name=BASE, what="before any training", start=""),
    Variant(name="sft", what="stage 1 alone: SFT on questions and labels", start=BASE, tasks=_TAUGHT),
    Variant(name="grpo", what="stage 2 alone: GRPO on all three", start=BASE, rewards={}, tasks=_REWARDED),
    Variant(name="ranking", what="stage 1, then GRPO on the ranking", start="sft", rewards={}, tasks=_REWARDED[:1]),
    Variant(name="vad", what="the same, V-A-D added", start="sft", rewards={}, tasks=_REWARDED[:2]),
    Variant(name="both", what="both stages: the class added", start="sft", rewards={}, tasks=_REWARDED),
)
"""In the order in which they are trained, as `comparison.VARIANTS`."""


@dataclass(frozen=True, kw_only=True)
class Quiz:
    """What every variant is asked."""

    closed: Mapping[Asked, Sequence[Question]]
    """Questions with options, about one picture and about two."""
    pictures: Mapping[str, Sample]
    """By id, those that the closed questions are about."""
    samples: Sequence[Sample]
    """Asked for ranking, valence-arousal-dominance and class, as far as they are labelled."""

    @classmethod
    def of(cls, test: Sequence[Sample], questions: Sequence[Question], *, limit: int | None, seed: int) -> Quiz:
        """Of a test split and its questions.

        Args:
            limit: use so many pictures for each task, and draw so many closed questions of either sort; None: all.
            seed: of that drawing.

        Raises:
            InvalidRequest: a question is about a picture that isn't in the split.
        """
        by_id = {sample.id: sample for sample in test}
        for one in questions:
            if unknown := [name for name in one.images if name not in by_id]:
                raise InvalidRequest.of(f"questions.{one.id}", f"is about {unknown[0]!r}, which the split doesn't have")
        rng = np.random.default_rng(seed)
        closed = {
            task: [of_task[number] for number in rng.permutation(len(of_task))[:limit]]
            for task in _CLOSED
            for of_task in [[one for one in questions if one.task == task and one.options]]
        }
        return cls(closed=closed, pictures=by_id, samples=test[:limit])

    def of_task(self, task: TaskName) -> list[Sample]:
        """The pictures whose labels can score a reply to it."""
        return [sample for sample in self.samples if is_known(task, sample)]

    @property
    def ids(self) -> list[str]:
        """Of everything that is asked."""
        closed = [" ".join((one.id, *one.images)) for task in _CLOSED for one in self.closed[task]]
        return closed + [f"{task} {sample.id}" for task in _REWARDED for sample in self.of_task(task)]


@dataclass(frozen=True, kw_only=True)
class StageReplies:
    """What a variant replies to a quiz."""

    variant: Variant
    model: Model
    replies: Mapping[Asked, Sequence[str]]
    """In the quiz's order."""


def compare_stages(plan: Plan, names: Sequence[str], quiz: Quiz) -> list[StageReplies]:
    """Trains the named variants and those that they begin with, and asks each of them.

    Raises:
        EmoFeedbackError: as the trainings do; what was finished is kept.
    """
    found = []
    for variant in trained_variants(plan, names):
        model, kept = answers_of(plan, variant, quiz.ids, partial(_replies, plan, variant, quiz))
        found.append(
            StageReplies(variant=variant, model=model, replies={task: kept[task] for task in (*_CLOSED, *_REWARDED)})
        )
    return found


def _replies(plan: Plan, variant: Variant, quiz: Quiz, qwen: Qwen) -> dict[str, Any]:
    asked: dict[Asked, list[tuple[str, Conversation]]] = {
        **{task: [(one.id, _closed_question(one, quiz)) for one in quiz.closed[task]] for task in _CLOSED},
        **{task: [(one.id, _task_question(task, one)) for one in quiz.of_task(task)] for task in _REWARDED},
    }
    replies: dict[str, Any] = {}
    for task, conversations in asked.items():
        plan.console.print(f"{variant.name}: {task}, {len(conversations):,} questions")
        replies[task] = said(
            qwen,
            conversations,
            max_pixels=plan.grpo.model.max_pixels,
            max_new_tokens=plan.grpo.max_new_tokens,
        )
    return replies


def _closed_question(one: Question, quiz: Quiz) -> Conversation:
    images = [image_of(quiz.pictures[name]) for name in one.images]
    return question_conversation(images, one.question, one.options)


def _task_question(task: TaskName, sample: Sample) -> Conversation:
    return (Message(role="user", parts=(image_of(sample), question(task, EKMAN))),)
