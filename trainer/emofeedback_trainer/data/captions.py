"""Captions by the judge's vision-language model: what a picture shows, and the same in words that carry its feeling.

Both questions begin with the one caption question that the embedded model has learned. It answers both alike; a
full-size model heeds the rest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from emofeedback.domain.affect import Emotion
from emofeedback.domain.assessment import Decoding, Judge, Message
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.limits import LIMITS
from emofeedback.judge.images import read_image

_NEUTRAL = (
    "Describe this picture in one sentence. Say only who or what is there, doing what, and where; "
    "leave out moods, feelings and judgments."
)
_EMOTIONAL = (
    "Describe this picture in one sentence. People feel {emotion} when they look at it: "
    "choose words for its subject, light and setting that carry this feeling, without naming it."
)
_DECODING = Decoding(max_new_tokens=96)
"""Greedy, so that the same pictures get the same captions."""
_CALL_BYTES = LIMITS.message_bytes // 2
"""Of the pictures in one call: a judge may be a service, whose messages have a limit."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A picture to caption."""

    image: bytes
    emotion: Emotion | None
    """What it makes people feel; None: only a neutral caption is wanted."""


@dataclass(frozen=True, kw_only=True)
class Captions:
    """What the judge said of one picture."""

    neutral: str = ""
    emotional: str = ""
    problem: str = ""
    """Why there are no captions; empty where there are."""


async def caption(judge: Judge, pictures: Sequence[Wanted]) -> list[Captions]:
    """Captions of each picture; one that can't be read, or gets no readable reply, has its problem instead.

    Raises:
        EmoFeedbackError: the judge failed as a whole.
    """
    problems = [_unreadable(picture.image) for picture in pictures]
    good = [picture for picture, problem in zip(pictures, problems, strict=True) if not problem]
    neutral = await _ask(judge, [(picture.image, _NEUTRAL) for picture in good])
    feelings = [(picture.image, picture.emotion) for picture in good if picture.emotion is not None]
    emotional = await _ask(judge, [(image, _EMOTIONAL.format(emotion=emotion)) for image, emotion in feelings])
    neutrals, emotionals = iter(neutral), iter(emotional)
    return [
        Captions(problem=problem)
        if problem
        else _captions(next(neutrals), next(emotionals) if picture.emotion is not None else None)
        for picture, problem in zip(pictures, problems, strict=True)
    ]


def read_caption(reply: str) -> str:
    """The sentence of a reply, without tags, quotes, a leading "Caption:" or line breaks; empty where there is none."""
    text = " ".join(re.sub(r"</?\w+>", " ", reply).split())
    text = re.sub(r"^(?:neutral |emotional )?(?:caption|description|prompt)\s*:\s*", "", text, flags=re.IGNORECASE)
    text = text.strip("\"'`* ").rstrip(".").rstrip()
    return text if len(text) <= LIMITS.prompt_characters else ""


async def _ask(judge: Judge, questions: Sequence[tuple[bytes, str]]) -> list[str]:
    """The replies, in as many calls as the limits on their number and size ask for."""
    replies: list[str] = []
    for call in _calls(questions):
        conversations = [(Message(role="user", parts=(image, text)),) for image, text in call]
        replies += await judge.converse(conversations, _DECODING)
    return replies


def _calls(questions: Sequence[tuple[bytes, str]]) -> list[list[tuple[bytes, str]]]:
    calls: list[list[tuple[bytes, str]]] = []
    size = 0
    for image, text in questions:
        size += len(image)
        if not calls or len(calls[-1]) == LIMITS.conversations_per_call or size > _CALL_BYTES:
            calls.append([])
            size = len(image)
        calls[-1].append((image, text))
    return calls


def _captions(neutral: str, emotional: str | None) -> Captions:
    captions = Captions(neutral=read_caption(neutral), emotional=read_caption(emotional or ""))
    for kind, reply, text in (("neutral", neutral, captions.neutral), ("emotional", emotional, captions.emotional)):
        if reply is not None and not text:
            return Captions(problem=f"the judge gave no {kind} caption but {reply[:60]!r}")
    return captions


def _unreadable(image: bytes) -> str:
    """Why the judge would refuse a picture, empty where it wouldn't."""
    try:
        read_image(image, field="image")
    except InvalidRequest as error:
        return "; ".join(violation.problem for violation in error.violations)
    return ""
