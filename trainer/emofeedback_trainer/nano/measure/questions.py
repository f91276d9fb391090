"""The judge's answers and descriptions measured on rendered scenes that nobody was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emofeedback.domain.assessment import Judge
from emofeedback.domain.questions import Description, Question, QuestionAnswer
from emofeedback_trainer.evaluation.metrics import Estimate, expected_calibration_error
from emofeedback_trainer.nano.measure.judge import estimated, mean, png, share
from emofeedback_trainer.nano.question_lessons import Asker, Choice
from emofeedback_trainer.nano.world.language import Album
from emofeedback_trainer.nano.world.reading import named_parts, parts_present
from emofeedback_trainer.nano.world.rendering import render
from emofeedback_trainer.nano.world.scenes import Scene, emotion

_CALL = 16
"""Questions in one call."""


async def answer_metrics(judge: Judge, scenes: Sequence[Scene], count: int, seed: int) -> dict[str, float | Estimate]:
    """How often the judge is right on closed questions, in all and by kind: one picture's What/How, Yes-or-No, and
    those on two pictures. A reply that is no option is wrong; `ece` is of answers that have a confidence, if any.

    Args:
        count: questions.
    """
    rng = np.random.default_rng(seed)
    asker = Asker(Album(scenes))
    choices = [asker.choice(rng) for _ in range(count)]
    questions = list(map(asked, choices))
    outcomes = [
        outcome for start in range(0, count, _CALL) for outcome in await judge.ask(questions[start : start + _CALL])
    ]
    right: dict[str, list[bool]] = {}
    said: list[tuple[float, bool]] = []
    for choice, outcome in zip(choices, outcomes, strict=True):
        hit = isinstance(outcome, QuestionAnswer) and outcome.text == choice.right
        for kind in ("all", _kind(choice)):
            right.setdefault(kind, []).append(hit)
        if isinstance(outcome, QuestionAnswer) and outcome.confidence is not None:
            said.append((outcome.confidence, hit))
    figures: dict[str, float | Estimate] = {kind: estimated(mean, each) for kind, each in right.items()}
    figures["guessing"] = float(np.mean([1 / len(choice.options) for choice in choices]))
    if said:
        figures["ece"] = estimated(expected_calibration_error, *zip(*said, strict=True))
    return figures


def asked(choice: Choice) -> Question:
    """A choice as a judge is asked it, with its pictures."""
    return Question(
        images=tuple(png(render(scene)) for scene in choice.scenes), text=choice.text, options=choice.options
    )


async def description_metrics(judge: Judge, scenes: Sequence[Scene]) -> dict[str, Estimate]:
    """How often a description names the scene's emotion, and which share of the parts that it names are there."""
    images = [png(render(scene)) for scene in scenes]
    outcomes = [
        outcome
        for start in range(0, len(images), _CALL)
        for outcome in await judge.describe([(image,) for image in images[start : start + _CALL]])
    ]
    texts = [outcome.text if isinstance(outcome, Description) else "" for outcome in outcomes]
    named = [named_parts(text) for text in texts]
    there = [parts_present(scene) for scene in scenes]
    return {
        "emotion": estimated(mean, [emotion(s).value in text for text, s in zip(texts, scenes, strict=True)]),
        "parts": estimated(
            share, [len(one & two) for one, two in zip(named, there, strict=True)], list(map(len, named))
        ),
    }


def _kind(choice: Choice) -> str:
    if len(choice.scenes) > 1:
        return "pairs"
    return "yes_or_no" if set(choice.options) == {"Yes", "No"} else "what"
