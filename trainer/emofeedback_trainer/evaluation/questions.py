"""Closed questions about one picture: those of VECBench, UNIAA and AesBench. Where a data set has none, as ArtEmis and
ArtPhoto, the question is which of Mikels' eight emotions a picture is labelled with, as for EEmo-Logic (arXiv
2602.01173).

Our own judge answers into a file of JSON lines, a question each: `task` (what is asked after), `question`,
`candidates`, `ground_truth` (empty where the source keeps it to itself), `response` and perhaps `confidence`.
EmoCaliber's results on VECBench are such lines too.

VECBench's tasks (arXiv 2512.15528) are scored as there: accuracy and F1 weighted by class, and for its three groups of
tasks how far the confidence that a reply states can be believed, by ten bins of equal width that begin with their lower
end. Said confidences are round numbers, so it matters to which bin 0.8 belongs. A confidence of exactly 1 is in the
last bin here; the authors' code leaves it out of the error. An answer that states none takes no part in these figures.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emofeedback.domain.affect import Emotion
from emofeedback.domain.assessment import Conversation, Decoding
from emofeedback.domain.errors import InvalidRequest
from emofeedback.observability.console import say
from emofeedback.storage.files import write_whole
from emofeedback.storage.texts import parse_json, read_lines
from emofeedback_trainer.data.readers.vecbench import LICENSES as VECBENCH
from emofeedback_trainer.data.records import ClosedQuestion, Sample
from emofeedback_trainer.evaluation.judge import image_of
from emofeedback_trainer.evaluation.language_model import Converses
from emofeedback_trainer.evaluation.prompts import candidates_question, closed_question
from emofeedback_trainer.evaluation.replies import chosen_option, named_candidate, stated_confidence

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CALL = 8
"""Pictures in memory at once."""
_NEW_TOKENS = 512


@dataclass(frozen=True, kw_only=True)
class AnsweredQuestion:
    """A closed question with a model's answer."""

    topic: str
    text: str
    options: Mapping[str, str]
    """Texts by letter."""
    truth: str
    """A letter; empty where nobody says which is right."""
    response: str
    confidence: float | None
    """In [0, 1]; None where the answer states none."""

    @property
    def chosen(self) -> str | None:
        """The letter of the option that the response chooses, read by rule."""
        if self.topic not in VECBENCH:
            return chosen_option(self.response, self.options)
        word = named_candidate(self.response, list(self.options.values()))
        return next((letter for letter, text in self.options.items() if text == word), None)


def questions_of(sample: Sample) -> tuple[ClosedQuestion, ...]:
    """Its source's own; where that asks nothing, which emotion it is, under the source's name as the topic. None where
    the emotion isn't known either."""
    if sample.questions or sample.emotion is None:
        return sample.questions
    return (ClosedQuestion(topic=sample.source, text="", options=tuple(Emotion), answer=sample.emotion),)


async def ask(
    judge: Converses, samples: Sequence[Sample], responses: Path, *, replies: int = 1, temperature: float = 0.7
) -> int:
    """Asks the samples' questions, and writes the answers to `responses`.

    Args:
        judge: asked nothing twice where it is a `Remembering`, so that a measurement that was cut goes on.
        replies: of more than one sampled reply the option that most choose is the answer, and their share its
            confidence (self-consistency).

    Returns:
        How many answers there are.

    Raises:
        InvalidRequest: a picture can't be read, or the samples ask nothing.
        EmoFeedbackError: as the judge raises.
    """
    asked = [(sample, question) for sample in samples for question in sample.questions]
    if not asked:
        raise InvalidRequest.of("source", "asks no closed question")
    lines: list[str] = []
    for start in range(0, len(asked), _CALL):
        some = asked[start : start + _CALL]
        conversations = [_conversation(image_of(sample), question) for sample, question in some]
        turns = [
            await judge.converse(
                conversations,
                Decoding(max_new_tokens=_NEW_TOKENS, temperature=temperature if replies > 1 else 0.0, seed=turn),
            )
            for turn in range(replies)
        ]
        for place, (sample, question) in enumerate(some):
            lines.append(json.dumps(_row(sample, question, [turn[place] for turn in turns]), ensure_ascii=False))
        say(f"questions: {len(lines)} of {len(asked)} answered", sys.stderr)
    write_whole(responses, "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace"))
    return len(lines)


def read_answered(path: Path) -> list[AnsweredQuestion]:
    """A file of answers.

    Raises:
        InvalidRequest: it can't be read, has none, or a line of it is none; the line is named.
    """
    try:
        found = [_answered(f"{path} line {number}", line) for number, line in read_lines(path)]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest.of(str(path), f"can't be read: {error}") from error
    if not found:
        raise InvalidRequest.of(str(path), "holds no answer")
    return found


def _conversation(image: bytes, question: ClosedQuestion) -> Conversation:
    if not question.text:
        return candidates_question(image, question.options)
    return closed_question([image], question.text, dict(zip(_LETTERS, question.options, strict=False)))


def _row(sample: Sample, question: ClosedQuestion, replies: Sequence[str]) -> dict[str, Any]:
    row = {
        "id": sample.id,
        "task": question.topic,
        "question": question.text,
        "candidates": list(question.options),
        "ground_truth": question.answer,
    }
    if len(replies) == 1:
        return {**row, "response": replies[0]}
    chosen = [_answered("", json.dumps({**row, "response": reply})).chosen for reply in replies]
    votes = Counter(letter for letter in chosen if letter)
    if not votes:
        return {**row, "response": replies[0], "confidence": None}
    [(letter, count)] = votes.most_common(1)
    return {**row, "response": replies[chosen.index(letter)], "confidence": count / len(replies)}


def _answered(place: str, line: str) -> AnsweredQuestion:
    try:
        row = parse_json(line)
        task, candidates, truth, response = (row[name] for name in ("task", "candidates", "ground_truth", "response"))
    except (LookupError, TypeError, ValueError) as error:
        raise InvalidRequest.of(
            place, f"is no answer, it must have task, candidates, ground_truth and response: {error}"
        ) from error
    if not isinstance(candidates, list) or not 2 <= len(candidates) <= len(_LETTERS):
        raise InvalidRequest.of(f"{place} column candidates", f"must be a list of 2 to {len(_LETTERS)} texts")
    options = {letter: str(text).strip() for letter, text in zip(_LETTERS, candidates, strict=False)}
    right = next((letter for letter, text in options.items() if text.lower() == str(truth).strip().lower()), "")
    if truth and not right:
        raise InvalidRequest.of(f"{place} column ground_truth", f"is {str(truth)[:60]!r}, none of the candidates")
    said = "" if response is None else str(response)
    return AnsweredQuestion(
        topic=str(task),
        text=str(row.get("question") or ""),
        options=options,
        truth=right,
        response=said,
        confidence=_confidence(place, row.get("confidence"), said),
    )


def _confidence(place: str, column: Any, response: str) -> float | None:
    """What the row says beside the response, clipped to [0, 1]; else what the response states."""
    if column is None:
        return stated_confidence(response)
    if isinstance(column, bool) or not isinstance(column, int | float) or column != column:
        raise InvalidRequest.of(f"{place} column confidence", f"is {str(column)[:60]!r}, it must be a number of 0 to 1")
    return float(np.clip(column, 0, 1))
