"""Reads what the judge replies to questions, as `parsing` reads its ratings: leniently in form, strictly in content.

An option may stand in quotes, behind a dash or "the answer is", or above the reasons for it; capitals and punctuation
about it don't count. A reply that says anything else, or two options, is none.
Every function is total: whatever text comes in, an outcome comes out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from emofeedback.domain.questions import AnswerOutcome, Description, DescriptionOutcome, QuestionAnswer, ReplyFailure
from emofeedback.domain.replies import answer, plain, thoughts, without_thoughts
from emofeedback.judge.certainty import tempered
from emofeedback.judge.engines.completion import NOT_FINITE, Completion, quoted

_ABOUT = " \n\t.,:;!?\"'()[]*->"
"""What may stand about an option, and is not of it; a tag's end too, where a token holds that and a word."""
_BEFORE = _ABOUT.replace(">", "")
"""What may stand before one in tokens of its own; a tag's end is the tag's."""
_LEAD = re.compile(
    r"[\s(\[*\"'-]*+(?:(?:(?:the|my|final|correct|right|best)\s++)*(?:answer|option|choice)(?:\s++is\b:?+|:)\s*+)+",
    re.IGNORECASE,
)
_TAG = re.compile(r"</?answer>", re.IGNORECASE)
_CUT = " \u2026"


@dataclass(frozen=True)
class Chosen:
    """The option that a reply says, and how sure the judge was of each."""

    option: int
    """Its index, from 0."""
    shares: tuple[float, ...] | None
    """As `option_shares`."""

    def confidence(self, temperature: float) -> float | None:
        """What the option's share is worth among those of all options (`certainty.tempered`); None without shares."""
        if self.shares is None:
            return None
        return tempered(dict(enumerate(self.shares)), temperature)[self.option]


def parse_choice(completion: Completion, options: Sequence[str], temperature: float = 1.0) -> AnswerOutcome:
    """The option that a reply says, and how sure the judge was of it among the options (`Chosen.confidence`)."""
    if not completion.finite:
        return ReplyFailure(reason=completion.told(NOT_FINITE))
    said = chosen(completion, options)
    if said is None:
        if not (words := answer(completion.text)):
            return ReplyFailure(reason=completion.told("the reply says nothing"))
        offered = f"none of the options ({', '.join(options)})"
        return ReplyFailure(reason=f"the judge says {quoted(words)}, {offered}: offer that too, or ask without options")
    return QuestionAnswer(
        text=options[said.option],
        option=said.option,
        confidence=said.confidence(temperature),
        reasoning=thoughts(completion.text),
    )


def chosen(completion: Completion, options: Sequence[str]) -> Chosen | None:
    """The option that a reply says; None where it says none."""
    text = without_thoughts(plain(completion.text))
    start, end = _answered(text)
    said = text[start:end]
    lead = _LEAD.match(said)
    for begin in (0, lead.end() if lead else 0):
        option = _said(said[begin:], options)
        if option is not None:
            place = end - len(said[begin:].lstrip(_ABOUT))
            place = len(plain(completion.text[:place]).rstrip(_BEFORE))
            return Chosen(option, option_shares(completion, place, options, option))
    return None


def option_shares(completion: Completion, place: int, options: Sequence[str], said: int) -> tuple[float, ...] | None:
    """Probability of each option among the options, by a reply that says one of them; their sum is 1.

    The reply's tokens tell the options apart one after another, whatever they have in common. At each token, only what
    would go on with an option that is still possible counts. What leaves the reply's words there goes to the options
    that it begins, shared among them equally, as the beginnings of emotions' labels are; marks and blanks alone, which
    may begin any, go to those that nothing else there begins. What goes on as the reply does is told apart by the next
    token, and at last goes to the option that the reply says. None where the engine doesn't say what else could have
    stood there.

    Args:
        place: where the option, or the marks and blanks before it, begins in the reply's text.
        said: the option that the reply says.
    """
    names = [_bare(plain(option)) for option in options]
    left = set(range(len(options)))
    shares, so_far, reached, known = [0.0] * len(options), "", 1.0, False
    for token in completion.tokens_from(place):
        now = _continued(so_far, token.text)
        still = {option for option in left if _begins(names[option], now)}
        if not so_far and not still:
            continue  # The token holds words from before the option.
        after = {text: _continued(so_far, text) for text in token.top}
        begun = {text: {option for option in left if _goes_on(names[option], after[text], text)} for text in token.top}
        rest = left.difference(*begun.values())
        elsewhere, onward = [0.0] * len(options), 0.0
        for text, log_probability in token.top.items():
            marks = bool(text) and not after[text]
            possible = begun[text] or (rest if marks else set())
            if after[text] == now:
                onward += math.exp(log_probability) * bool(possible or marks)
            else:
                for option in possible:
                    elsewhere[option] += math.exp(log_probability) / len(possible)
        if onward > 0:
            total = onward + sum(elsewhere)
            shares = [share + reached * more / total for share, more in zip(shares, elsewhere, strict=True)]
            reached, known = reached * onward / total, True
        so_far, left = now, still
        if left <= {said}:
            break
    shares[said] += reached
    return tuple(shares) if known else None


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


def _goes_on(option: str, said: str, text: str) -> bool:
    """Whether what is said once a token's text has followed may become the option; no text is the reply's end."""
    return bool(said) and (_begins if text else _is)(option, said)


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
