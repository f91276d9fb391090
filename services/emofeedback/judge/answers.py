"""Reads what the judge replies to questions, as `parsing` reads its ratings: leniently in form, strictly in content.

A letter may stand in brackets, before its option's text or behind "the answer is", and the option's text may stand for
it. A reply that names two options, or one that was not asked, is none.
Every function is total: whatever text comes in, an outcome comes out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from emofeedback.domain.questions import AnswerOutcome, Description, DescriptionOutcome, QuestionAnswer, ReplyFailure
from emofeedback.domain.replies import answer, plain, without_thoughts
from emofeedback.judge.engines.completion import NOT_FINITE, Completion
from emofeedback.judge.prompts import OPTION_LETTERS

_LEAD = (
    r"[\s(\[*\"']*+"
    r"(?:(?i:(?:(?:the|my|final|correct|right|best)\s++)*+(?:answer|option|choice)(?:\s++is)?+)[\s:(\[*\"']*+)*+"
)
_LETTER = re.compile(rf"{_LEAD}(?P<letter>[A-Z])(?:\s*+$|\s*+[.:)\]*]|[ \t]*+\n)")
_LETTER_ALONE = re.compile(r"[\s(\[*\"']*+(?P<letter>[a-z])[\s.:)\]*\"']*+")
_ANOTHER = re.compile(r"(?<![\w'])(?P<letter>[A-Z])(?=\s*+(?:$|[.:;,)\]*]))")
_TAG = re.compile(r"</?answer>", re.IGNORECASE)
_CUT = " \u2026"


def parse_choice(completion: Completion, options: Sequence[str]) -> AnswerOutcome:
    """The option that a reply chooses, by its letter or its text.

    The confidence is the share of the option's letter among all options' letters in the place where the reply begins to
    say it (as EEmo-Logic reads emotions); None where the engine doesn't say what else could have stood there.

    Args:
        options: 2 to 10, in the order of their letters.
    """
    if not completion.finite:
        return ReplyFailure(reason=completion.told(NOT_FINITE))
    text = without_thoughts(plain(completion.text))
    start, end = _answered(text)
    said = _TAG.sub(lambda tag: " " * len(tag[0]), text[start:end])
    found = _LETTER.match(said) or _LETTER_ALONE.fullmatch(said)
    if found:
        place, rest = found.start("letter"), said[found.end() :]
        chosen = OPTION_LETTERS.find(found["letter"].upper())
        others = {OPTION_LETTERS.find(other["letter"]) for other in _ANOTHER.finditer(rest)} - {chosen, -1}
        if not 0 <= chosen < len(options):
            last = OPTION_LETTERS[len(options) - 1]
            return ReplyFailure(reason=completion.told(f"{found['letter']} is not one of the options A to {last}"))
        if any(other < len(options) for other in others) or _named(rest, options) not in (None, chosen):
            return ReplyFailure(reason=completion.told("the reply names more than one option"))
    else:
        place, named = len(said) - len(said.lstrip()), _named(said, options)
        if named is None:
            return ReplyFailure(reason=completion.told("the reply is none of the options"))
        chosen = named
    token = completion.at(start + place)
    shares = letter_shares(token.top if token else {}, len(options))
    return QuestionAnswer(text=options[chosen], option=chosen, confidence=shares.get(chosen))


def parse_answer(completion: Completion) -> AnswerOutcome:
    """What a reply to an open question says."""
    said = _prose(completion)
    return said if isinstance(said, ReplyFailure) else QuestionAnswer(text=said)


def parse_description(completion: Completion) -> DescriptionOutcome:
    """What a reply says that describes a picture."""
    said = _prose(completion)
    return said if isinstance(said, ReplyFailure) else Description(text=said)


def letter_shares(top: Mapping[str, float], count: int) -> dict[int, float]:
    """Probability of each option by its index, summing to 1, from the alternatives' natural log-probabilities at the
    place of its letter; empty where no letter is among them."""
    mass: dict[int, float] = {}
    for text, log_probability in top.items():
        letter = text.strip(" \n\"'([*")
        if len(letter) == 1 and letter in OPTION_LETTERS[:count]:
            index = OPTION_LETTERS.index(letter)
            mass[index] = mass.get(index, 0.0) + math.exp(log_probability)
    total = sum(mass.values())
    return {index: share / total for index, share in mass.items()} if total > 0 else {}


def _answered(text: str) -> tuple[int, int]:
    """Where the answer stands: behind the last tag that opens one and before its end, else in all of the text."""
    opened = [tag.end() for tag in _TAG.finditer(text) if tag[0][1] != "/"]
    start = opened[-1] if opened else 0
    closed = re.compile("</answer>", re.IGNORECASE).search(text, start)
    return start, closed.start() if closed else len(text)


def _named(text: str, options: Sequence[str]) -> int | None:
    """The option whose text this is, but for capitals, blanks and punctuation about it."""
    return next((i for i, option in enumerate(options) if _bare(plain(option)) == _bare(text)), None)


def _bare(text: str) -> str:
    return " ".join(text.split()).strip(" .,:;!?\"'()[]*").casefold()


def _prose(completion: Completion) -> str | ReplyFailure:
    if not completion.finite:
        return ReplyFailure(reason=completion.told(NOT_FINITE))
    said = answer(completion.text)
    if not said:
        return ReplyFailure(reason=completion.told("the reply says nothing"))
    return said if completion.finished else said + _CUT
