"""Reads what the judge replies to questions, as `parsing` reads its ratings: leniently in form, strictly in content.

An option may stand in quotes, behind a dash or "the answer is", or above the reasons for it; capitals and punctuation
about it don't count. A reply that says anything else, or two options, is none.
Every function is total: whatever text comes in, an outcome comes out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from emofeedback.domain.questions import AnswerOutcome, Description, DescriptionOutcome, QuestionAnswer, ReplyFailure
from emofeedback.domain.replies import answer, plain, thoughts, without_thoughts
from emofeedback.judge.engines.completion import NOT_FINITE, Completion

_ABOUT = " \n\t.,:;!?\"'()[]*->"
"""What may stand about an option, and is not of it; a tag's end too, where a token holds that and a word."""
_LEAD = re.compile(
    r"[\s(\[*\"'-]*+(?:(?:(?:the|my|final|correct|right|best)\s++)*+(?:answer|option|choice)(?:\s++is\b:?+|:)\s*+)++",
    re.IGNORECASE,
)
_TAG = re.compile(r"</?answer>", re.IGNORECASE)
_CUT = " \u2026"


def parse_choice(completion: Completion, options: Sequence[str]) -> AnswerOutcome:
    """The option that a reply says, and how sure the judge was of it among the options (`option_share`)."""
    if not completion.finite:
        return ReplyFailure(reason=completion.told(NOT_FINITE))
    text = without_thoughts(plain(completion.text))
    start, end = _answered(text)
    said = text[start:end]
    lead = _LEAD.match(said)
    for begin in (0, lead.end() if lead else 0):
        chosen = _said(said[begin:], options)
        if chosen is not None:
            place = end - len(said[begin:].lstrip(_ABOUT))
            share = option_share(completion, place, options, chosen)
            return QuestionAnswer(
                text=options[chosen], option=chosen, confidence=share, reasoning=thoughts(completion.text)
            )
    return ReplyFailure(reason=completion.told("the reply is none of the options"))


def option_share(completion: Completion, place: int, options: Sequence[str], chosen: int) -> float | None:
    """Probability of the option that a reply says among the options, in [0, 1].

    The reply's tokens tell the options apart one after another, whatever they have in common. At each token, only what
    would go on with an option that is still possible counts, and what would go on with several is shared among them
    equally, as the beginnings of emotions' labels are; the product over the tokens is the probability. None where the
    engine doesn't say what else could have stood there.

    Args:
        place: where the option begins in the reply's text.
    """
    names = [_bare(plain(option)) for option in options]
    left = set(range(len(options)))
    said, share, known = "", 1.0, False
    for token in completion.tokens_from(place):
        mine = total = 0.0
        for text, log_probability in token.top.items():
            after = _continued(said, text)
            # No text is the end of the reply.
            fits = _begins if text else _is
            possible = [option for option in left if after and fits(names[option], after)]
            probability = math.exp(log_probability)
            total += probability * bool(possible)
            if chosen in possible:
                mine += probability / (1 if text == token.text else len(possible))
        if mine > 0:
            share, known = share * mine / total, True
        said = _continued(said, token.text)
        left = {option for option in left if _begins(names[option], said)}
        if left <= {chosen}:
            break
    return min(share, 1.0) if known else None


def parse_answer(completion: Completion) -> AnswerOutcome:
    """What a reply to an open question says."""
    said = _prose(completion)
    return said if isinstance(said, ReplyFailure) else QuestionAnswer(text=said)


def parse_description(completion: Completion) -> DescriptionOutcome:
    """What a reply says that describes a picture."""
    said = _prose(completion)
    return said if isinstance(said, ReplyFailure) else Description(text=said)


def _answered(text: str) -> tuple[int, int]:
    """Where the answer stands: behind the last tag that opens one and before its end, else in all of the text."""
    opened = [tag.end() for tag in _TAG.finditer(text) if tag[0][1] != "/"]
    start = opened[-1] if opened else 0
    closed = re.compile("</answer>", re.IGNORECASE).search(text, start)
    return start, closed.start() if closed else len(text)


def _said(text: str, options: Sequence[str]) -> int | None:
    """The option that a text says: all of it, or its first line where no other line says another."""
    whole = _named(text, options)
    if whole is not None:
        return whole
    lines = [_named(line, options) for line in text.strip().splitlines()]
    return lines[0] if lines and set(lines) <= {lines[0], None} else None


def _named(text: str, options: Sequence[str]) -> int | None:
    """The option whose text this is, to the letter, else but for capitals, blanks and what may stand about it."""
    exact = [i for i, option in enumerate(options) if option == text]
    alike = exact or [i for i, option in enumerate(options) if _bare(plain(option)) == _bare(text)]
    return alike[0] if len(alike) == 1 else None


def _bare(text: str) -> str:
    return " ".join(text.split()).strip(_ABOUT).casefold()


def _continued(said: str, text: str) -> str:
    """What is said of an option once a token's text has followed."""
    return (said + text.casefold()) if said else text.lstrip(_ABOUT).casefold()


def _begins(option: str, said: str) -> bool:
    return option.startswith(said) or _is(option, said)


def _is(option: str, said: str) -> bool:
    """But for what may stand behind it."""
    return option == said.rstrip(_ABOUT)


def _prose(completion: Completion) -> str | ReplyFailure:
    if not completion.finite:
        return ReplyFailure(reason=completion.told(NOT_FINITE))
    said = answer(completion.text)
    if not said:
        return ReplyFailure(reason=completion.told("the reply says nothing"))
    return said if completion.finished else said + _CUT
