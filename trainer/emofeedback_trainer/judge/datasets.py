"""Samples as TRL reads them: a row for each picture and task, with the truth in columns of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Image, List, Value

from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.data.eemodb.questions import LETTERS, Question
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.evaluation.prompts import closed_question
from emofeedback_trainer.judge.tasks import TaskName, answer, question, ranked_labels, reply, taxonomy

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
        for sample, task in _asked(samples, tasks)
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
        (question(task, emotions), reply(task, sample), [_image(sample)]) for sample, task in _asked(samples, tasks)
    ]
    by_id = {sample.id: sample for sample in samples}
    for one in questions:
        if unknown := [name for name in one.images if name not in by_id]:
            raise InvalidRequest.of(f"questions.{one.id}", f"is about {unknown[0]!r}, which is no sample of the split")
        lessons.append((*_said(one), [_image(by_id[name]) for name in one.images]))
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


def _said(one: Question) -> tuple[str, str]:
    """Question and answer as EEmo-Bench asks and reads them: a closed one is answered with its letter first."""
    if not one.options:
        return one.question, one.answer
    options = dict(zip(LETTERS, one.options, strict=False))
    (message,) = closed_question((), one.question, options)
    return " ".join(map(str, message.parts)), f"{one.answer}: {options[one.answer]}"


def _asked(samples: Sequence[Sample], tasks: Sequence[TaskName]) -> Iterable[tuple[Sample, TaskName]]:
    """Every sample with every task that its labels answer."""
    for task in tasks:
        if not any(answer(task, sample) for sample in samples):
            raise InvalidRequest.of("tasks", f"no sample has the labels of {task!r}: leave it out, or name other data")
    return ((sample, task) for sample in samples for task in tasks if answer(task, sample))


def _image(sample: Sample) -> dict[str, Any]:
    """A picture as `datasets` stores it: decoded only when a batch needs it."""
    return (
        {"path": str(sample.image), "bytes": None}
        if isinstance(sample.image, Path)
        else {"path": None, "bytes": sample.image}
    )
