"""Closed questions that were answered in prose: a language model says which option an answer means.

The benchmarks' authors read such answers by a model, too. A reply that is an option and nothing else is read by rule,
and nobody is asked about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from emofeedback.domain.assessment import Decoding
from emofeedback_trainer.evaluation.language_model import Converses
from emofeedback_trainer.evaluation.prompts import NO_OPTION, matching_question
from emofeedback_trainer.evaluation.replies import chosen_option, is_bare

_REPLY = Decoding(max_new_tokens=16)


class Answered(Protocol):
    """A closed question with a model's answer."""

    @property
    def text(self) -> str: ...
    @property
    def options(self) -> Mapping[str, str]: ...
    @property
    def response(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Matched:
    """Which options a language model takes the answers for."""

    chosen: tuple[str | None, ...]
    """Letters, one an answer; None where it chooses none."""
    asked: int
    """Answers that the model was asked about; the others are plain."""


async def matched(model: Converses, questions: Sequence[Answered]) -> Matched:
    """The option of every answer, in their order.

    Raises:
        EmoFeedbackError: as the model raises.
    """
    prose = [
        place for place, one in enumerate(questions) if one.response.strip() and not is_bare(one.response, one.options)
    ]
    asked = [matching_question(one.text, one.options, one.response) for one in (questions[place] for place in prose)]
    replies = dict(zip(prose, await model.converse(asked, _REPLY) if asked else [], strict=True))
    return Matched(
        chosen=tuple(
            _meant(replies[place], one.options) if place in replies else chosen_option(one.response, one.options)
            for place, one in enumerate(questions)
        ),
        asked=len(prose),
    )


def _meant(reply: str, options: Mapping[str, str]) -> str | None:
    return None if reply.strip().strip("'\".").lower() == NO_OPTION else chosen_option(reply, options)
