"""Reads the judge's replies: leniently in form, strictly in content.

White space, code fences, the order of keys, text around the JSON and quoted numbers are all forgiven. A number
off the scale, a missing one or a word that is no emotion is not: it would enter the loss as if it were a rating.
Every function is total: whatever text comes in, an outcome comes out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, Emotion
from emofeedback.domain.assessment import Assessment, AssessmentFailure, AssessmentOutcome
from emofeedback.judge.engines.completion import Completion

_RATINGS = "".join(str(rating) for rating in range(int(SCALE_MIN), int(SCALE_MAX) + 1))
_RATING_DIGITS = re.compile(rf"(?P<whole>[{_RATINGS}])(?:\.(?P<fraction>\d)(?P<rest>\d*))?")
_QUOTED_CHARACTERS = 80

_RATING_LINE = re.compile(
    r"(?<![\d.])(?P<valence>[1-9])(?![\d.]\d*)[\s,;/|]+(?P<arousal>[1-9])(?![\d.]\d*)[\s,;/|]+(?P<emotion>[a-z]+)",
    re.IGNORECASE,
)
_FIELD = r"""["'*]*\b{name}\b["'*]*\s*[:=]\s*["'*]*(?P<value>[^\s,"'*}}<]+)"""
_FIELDS = {name: re.compile(_FIELD.format(name=name), re.IGNORECASE) for name in ("valence", "arousal", "emotion")}


def parse_rating(completion: Completion) -> AssessmentOutcome:
    """The short reply `<V> <A> <emotion>`, scored by probabilities instead of the written tokens.

    Valence and arousal are the expected value over the rating tokens 1 to 9 where the reply wrote its digits,
    so they are continuous in [1, 9]; the confidence is the probability of the written emotion among the
    eight, by the first tokens of their labels.
    """
    if not completion.finite:
        return _not_finite(completion)
    line = _RATING_LINE.search(completion.text)
    if line is None:
        return _failure("the reply is not two ratings and an emotion", completion)
    if line["emotion"].lower() not in set(Emotion):
        return _failure(f"{line['emotion'][:_QUOTED_CHARACTERS]!r} is not one of the eight emotions", completion)
    emotion = Emotion(line["emotion"].lower())
    alternatives = {name: _alternatives(completion, line.start(name), line[name]) for name in _FIELDS}
    return Assessment(
        valence=expected_rating(alternatives["valence"]),
        arousal=expected_rating(alternatives["arousal"]),
        emotion=emotion,
        confidence=emotion_shares(alternatives["emotion"]).get(emotion, 0.0),
    )


def parse_reasoning(completion: Completion) -> AssessmentOutcome:
    """The reasoned reply, `<think>...</think><answer>{...}</answer>`, its numbers scored by probabilities.

    What a reply writes must be on the scale, then each digit counts by its expected value (`_expected_number`). The
    confidence is the share that the written emotion's first token had among the eight at its place.
    """
    if not completion.finite:
        return _not_finite(completion)
    text = completion.text
    start = _answer_start(text)
    found = {name: field.search(text, start) for name, field in _FIELDS.items()}
    missing = [name for name, match in found.items() if match is None]
    if missing:
        return _failure(f"the reply has no {' and no '.join(missing)}", completion)
    values = {name: match for name, match in found.items() if match is not None}
    ratings = {}
    for axis in ("valence", "arousal"):
        rating = _number(values[axis]["value"])
        if not SCALE_MIN <= rating <= SCALE_MAX:
            return _failure(
                f"{axis} {values[axis]['value'][:_QUOTED_CHARACTERS]!r} is no number in [{SCALE_MIN:g}, {SCALE_MAX:g}]",
                completion,
            )
        ratings[axis] = _expected_number(completion, values[axis].start("value"), values[axis]["value"])
    word = values["emotion"]["value"].strip(".!").lower()
    if word not in set(Emotion):
        return _failure(f"{word[:_QUOTED_CHARACTERS]!r} is not one of the eight emotions", completion)
    emotion = Emotion(word)
    shares = emotion_shares(_alternatives(completion, values["emotion"].start("value"), word))
    return Assessment(
        **ratings,
        emotion=emotion,
        confidence=shares.get(emotion, 0.0),
        reasoning=_thoughts(text[:start]),
    )


def _expected_number(completion: Completion, offset: int, written: str) -> float:
    """A written rating such as `6.4`, with the expected value of its digit before and of the first after the point.

    A model that hesitates between 5 and 7 writes one of them; what it expects is 6. The digit after the point was
    chosen for the written one before it, and is taken for the others too. Where the engine doesn't say what else could
    have stood there, the digits count as written.
    """
    digits = _RATING_DIGITS.fullmatch(written)
    if digits is None:
        return _number(written)
    number = expected_rating(_alternatives(completion, offset, digits["whole"]))
    if fraction := digits["fraction"]:
        tenths = _alternatives(completion, offset + 2, fraction)
        number += _expected_digit(tenths, "0123456789") / 10 + float(f"0.0{digits['rest']}")
    return min(number, SCALE_MAX)


def expected_rating(top: Mapping[str, float]) -> float:
    """Expected value in [1, 9] of the rating at one position, from its alternatives' log-probabilities.

    Tokens that are not a digit 1 to 9 are left out and the rest renormalised.

    Raises:
        ValueError: none of the alternatives is a rating.
    """
    return _expected_digit(top, _RATINGS)


def _expected_digit(top: Mapping[str, float], digits: str) -> float:
    """Expected value of the digit at one position, all tokens but `digits` left out."""
    mass = dict.fromkeys(digits, 0.0)
    for text, log_probability in top.items():
        if text.strip() in mass:
            mass[text.strip()] += math.exp(log_probability)
    total = sum(mass.values())
    if total == 0:
        raise ValueError(f"no rating among {', '.join(map(repr, top))}")
    return sum(int(digit) * share for digit, share in mass.items()) / total


def emotion_shares(top: Mapping[str, float]) -> dict[Emotion, float]:
    """Probability of each emotion, summing to 1, from the first token of its label; empty where none fits.

    A token that begins several labels ("a") is shared among them equally.
    """
    mass = dict.fromkeys(Emotion, 0.0)
    for text, log_probability in top.items():
        beginning = text.strip(" \"'\n").lower()
        labels = [label for label in Emotion if beginning and label.startswith(beginning)]
        for label in labels:
            mass[label] += math.exp(log_probability) / len(labels)
    total = sum(mass.values())
    return {label: share / total for label, share in mass.items() if share > 0} if total > 0 else {}


def _alternatives(completion: Completion, offset: int, written: str) -> Mapping[str, float]:
    """What could have stood where `written` begins; itself, for certain, where the engine didn't say."""
    end = 0
    for token in completion.tokens:
        end += len(token.text)
        if offset < end:
            beginning = token.text.strip(" \"'\n").lower()
            if beginning and written.lower().startswith(beginning) and token.text in token.top:
                return token.top
            break
    return {written: 0.0}


def _answer_start(text: str) -> int:
    """Where the answer begins: at its tag, or else after the thoughts, or else at the JSON."""
    for mark in ("<answer>", "</think>", "{"):
        start = text.lower().rfind(mark)
        if start >= 0:
            return start
    return 0


def _thoughts(text: str) -> str:
    """The thinking without its tags, in one line."""
    return " ".join(re.sub(r"</?think>|</?answer>|```\w*", " ", text, flags=re.IGNORECASE).split())


def _number(text: str) -> float:
    """The number that a text stands for; NaN, which no scale contains, where it stands for none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _not_finite(completion: Completion) -> AssessmentFailure:
    """Whatever such a reply says: a model of NaN may well write a rating, and be sure of it."""
    return _failure("the judge gives NaN or infinity: its weights are damaged, or overflow", completion)


def _failure(problem: str, completion: Completion) -> AssessmentFailure:
    """What was wrong, with the beginning of the reply for the reader of the log."""
    reply = " ".join(completion.text.split())
    quoted = reply if len(reply) <= _QUOTED_CHARACTERS else reply[:_QUOTED_CHARACTERS] + "…"
    cut = "" if completion.finished else ", cut at the token limit"
    return AssessmentFailure(reason=f"{problem} (reply: {quoted!r}{cut})" if reply else f"{problem} (no reply)")
