"""Samples as TRL reads them: a row for each picture and task, with the truth in columns of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Image, List, Value

from emofeedback.domain.errors import InvalidRequest
from emofeedback.judge.prompts import description_conversation, question_conversation
from emofeedback_trainer.data.eemodb.questions import Question
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.judge.tasks import TaskName, is_known, question, ranked_labels, reply, taxonomy, thoughts

_MESSAGES = List({"role": Value("string"), "content": Value("string")})
_TRUTH = Features(
    {
        "task": Value("string"),
        **{axis: Value("float64") for axis in ("valence", "arousal", "dominance")},
        "mikels": Value("string"),
        "label": Value("string"),
        "ranking": List(Value("string")),
    }
)
"""Of rewards. No column is named after a task's reward, which TRL would take for an argument of another meaning."""


def grpo_rows(samples: Sequence[Sample], tasks: Sequence[TaskName]) -> Dataset:
    """Questions with their truth, for GRPO; raises as `sft_rows`."""
    emotions = taxonomy(samples)
    rows = (
        {
            "prompt": [{"role": "user", "content": question(task, emotions)}],
            "image": _image(sample),
            "task": task,
            "valence": sample.valence,
            "arousal": sample.arousal,
            "dominance": sample.dominance,
            "mikels": sample.emotion,
            "label": sample.label,
            "ranking": list(ranked_labels(sample)),
        }
        for sample, task in _asked(samples, tasks, is_known)
    )
    return Dataset.from_list(list(rows), Features({"prompt": _MESSAGES, "image": Image(), **_TRUTH}))


def sft_rows(samples: Sequence[Sample], tasks: Sequence[TaskName], questions: Sequence[Question] = ()) -> Dataset:
    """Questions with the replies to learn, for supervised fine-tuning.

    Args:
        questions: further ones, about one sample or two.

    Raises:
        InvalidRequest: no sample has the labels that a task asks for, or a question is about none of the samples.
    """
    emotions = taxonomy(samples)
    lessons = [
        (question(task, emotions), reply(task, sample), [_image(sample)])
        for sample, task in _asked(samples, tasks, reply)
    ]
    by_id = {sample.id: sample for sample in samples}
    for one in questions:
        if unknown := [name for name in one.images if name not in by_id]:
            raise InvalidRequest.of(f"questions.{one.id}", f"is about {unknown[0]!r}, which is no sample of the split")
        about = [by_id[name] for name in one.images]
        lessons.append((*_said(one, about), list(map(_image, about))))
    rows = (
        {
            "prompt": [{"role": "user", "content": asked}],
            "completion": [{"role": "assistant", "content": answered}],
            "images": images,
        }
        for asked, answered, images in lessons
    )
    return Dataset.from_list(
        list(rows), Features({"prompt": _MESSAGES, "completion": _MESSAGES, "images": List(Image())})
    )


def _said(one: Question, about: Sequence[Sample]) -> tuple[str, str]:
    """Question and answer as the judge service asks and reads them: an option stands behind thoughts.

    A blank before it makes its first token the one that it has in the question.
    """
    images = [b""] * len(about)
    if one.task == "description":
        (message,) = description_conversation(images)
    else:
        (message,) = question_conversation(images, one.question, one.options)
    thought = thoughts(about[0]) if len(about) == 1 else _of_both(*map(thoughts, about))
    answered = f"<think>{thought}</think><answer> {one.answered}</answer>" if one.options else one.answered
    return str(message.parts[-1]), answered


def _of_both(first: str, second: str) -> str:
    return f"The first: {first} The second: {second}"


def _asked(
    samples: Sequence[Sample], tasks: Sequence[TaskName], knows: Callable[[TaskName, Sample], object]
) -> Iterable[tuple[Sample, TaskName]]:
    """Every sample with every task that its labels are enough for."""
    for task in tasks:
        if not any(knows(task, sample) for sample in samples):
            raise InvalidRequest.of("tasks", f"no sample has the labels of {task!r}: leave it out, or name other data")
    return ((sample, task) for sample in samples for task in tasks if knows(task, sample))


def _image(sample: Sample) -> dict[str, Any]:
    """A picture as `datasets` stores it: decoded only when a batch needs it."""
    return (
        {"path": str(sample.image), "bytes": None}
        if isinstance(sample.image, Path)
        else {"path": None, "bytes": sample.image}
    )
