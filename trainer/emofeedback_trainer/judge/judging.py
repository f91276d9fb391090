"""What a judge in training says of pictures whose feelings are known, and how far off it is.

A reply is taken in two ways: as *written*, which is what rewards see and what the paper measures, and as the judge
service *reads* it, where each digit counts by its expected value (`emofeedback.judge.parsing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emofeedback.domain.assessment import Assessment, AssessmentOutcome, Conversation, Decoding
from emofeedback.domain.questions import Question
from emofeedback.judge.answers import Chosen, chosen
from emofeedback.judge.engines.base import pictures, prepare
from emofeedback.judge.engines.completion import Completion
from emofeedback.judge.engines.qwen import Qwen
from emofeedback.judge.parsing import parse_rating, parse_reasoning
from emofeedback.judge.prompts import (
    RATING_MAX_NEW_TOKENS,
    question_conversation,
    rating_conversation,
    reasoning_conversation,
)
from emofeedback_trainer.data.records import AXES, Sample
from emofeedback_trainer.evaluation.judge import image_of
from emofeedback_trainer.evaluation.metrics import accuracy, mae

_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A judge's reasoned reply to one picture."""

    text: str
    written: AssessmentOutcome
    read: AssessmentOutcome


def aloud(qwen: Qwen, samples: Sequence[Sample], *, max_pixels: int, max_new_tokens: int) -> list[Reply]:
    """Reasoned replies to pictures, decoded greedily.

    Raises:
        InvalidRequest: a sample has no readable picture.
    """
    asked = [(sample.id, reasoning_conversation(image_of(sample))) for sample in samples]
    return [
        Reply(
            text=completion.text,
            written=parse_reasoning(Completion(completion.text, (), completion.finished)),
            read=parse_reasoning(completion),
        )
        for completion in _completions(qwen, asked, max_pixels, max_new_tokens)
    ]


def short(qwen: Qwen, samples: Sequence[Sample], *, max_pixels: int) -> list[AssessmentOutcome]:
    """The short ratings of pictures, as the service reads them; raises as `aloud`."""
    asked = [(sample.id, rating_conversation(image_of(sample))) for sample in samples]
    return list(map(parse_rating, _completions(qwen, asked, max_pixels, RATING_MAX_NEW_TOKENS)))


def choices(qwen: Qwen, questions: Sequence[Question], *, max_pixels: int, max_new_tokens: int) -> list[Chosen | None]:
    """The options that the judge chooses of each question's, decoded greedily; None where it chooses none.

    Raises:
        InvalidRequest: a question has no readable picture.
    """
    asked = [(one.text, question_conversation(one.images, one.text, one.options)) for one in questions]
    replies = _completions(qwen, asked, max_pixels, max_new_tokens)
    return [chosen(reply, one.options) for reply, one in zip(replies, questions, strict=True)]


def said(qwen: Qwen, asked: Sequence[tuple[str, Conversation]], *, max_pixels: int, max_new_tokens: int) -> list[str]:
    """Replies to any conversations, decoded greedily.

    Args:
        asked: each with the name that an error gives its pictures.

    Raises:
        InvalidRequest: a picture can't be read.
    """
    return [completion.text for completion in _completions(qwen, asked, max_pixels, max_new_tokens)]


def errors(outcomes: Sequence[AssessmentOutcome], samples: Sequence[Sample]) -> Mapping[str, float]:
    """`valence_mae`, `arousal_mae` and `dominance_mae` in points of the 1-9 scale and the `accuracy` of the emotion,
    over the pictures with a readable reply whose truth is known; `readable` is the share of them. What the data doesn't
    know, or the judge doesn't say, is left out."""
    pairs = [(o, s) for o, s in zip(outcomes, samples, strict=True) if isinstance(o, Assessment)]
    figures = {"readable": len(pairs) / len(samples)}
    for axis in AXES:
        rated = [(getattr(sample, axis), getattr(outcome, axis)) for outcome, sample in pairs]
        if known := [(true, said) for true, said in rated if true is not None and said is not None]:
            figures[f"{axis}_mae"] = mae(*zip(*known, strict=True))
    if named := [(s.emotion, o.emotion) for o, s in pairs if s.emotion]:
        figures["accuracy"] = accuracy(*zip(*named, strict=True))
    return figures


def _completions(
    qwen: Qwen, asked: Sequence[tuple[str, Conversation]], max_pixels: int, max_new_tokens: int
) -> list[Completion]:
    decoding = Decoding(max_new_tokens=max_new_tokens)
    completions: list[Completion] = []
    for start in range(0, len(asked), _BATCH):
        some = asked[start : start + _BATCH]
        chats = [
            qwen.encode(prepare(question, [name] * len(pictures(question)), max_pixels)) for name, question in some
        ]
        completions += qwen.generate(chats, [decoding] * len(chats), top_logprobs=True)
    return completions
