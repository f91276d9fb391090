"""Reads the judge's replies: leniently in form, strictly in content.

White space, code fences, the order of keys, text around the JSON, quoted numbers, typographic signs and semicolons
are all forgiven. A number off the scale, one that may mean another (`numbers`), a missing one or a word that is no
emotion is not: it would enter the loss as if it were a rating. Thoughts are no answers (`replies`), and of several
answers the last complete one counts, as a whole.
Every function is total: whatever text comes in, an outcome comes out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, Emotion
from emofeedback.domain.assessment import Assessment, AssessmentFailure, AssessmentOutcome, Distribution
from emofeedback.domain.replies import plain, without_thoughts
from emofeedback.judge.certainty import distribution, ranked
from emofeedback.judge.engines.completion import NOT_FINITE, Completion, quoted
from emofeedback.judge.numbers import number, rating_in, value_span

_RATINGS = "".join(str(rating) for rating in range(int(SCALE_MIN), int(SCALE_MAX) + 1))
_RATING_DIGITS = re.compile(rf"(?P<whole>[{_RATINGS}])(?:[.,](?P<fraction>\d)(?P<rest>\d*))?")

_AXES = ("valence", "arousal")
_ASKED = (*_AXES, "emotion")
"""What an answer must have."""
_NINE = r"\s*+(?:/|out\s+of)\s*+9(?![\d.,]*\d)"
# All or nothing. Not by a possessive group: before 3.11.5 Python reads those wrong (gh-106052).
_OF_NINE = rf"(?:{_NINE}|(?!{_NINE}))"
_BETWEEN = r"(?:[\s,;|*]++|\s*+/\s*+(?!9))"
_RATING_LINE = re.compile(
    rf"(?<![\w.,/+-])(?P<valence>[1-9]){_OF_NINE}{_BETWEEN}(?P<arousal>[1-9]){_OF_NINE}[\s,;/|*]++(?P<emotion>[a-z]+)"
    # Dominance is one digit that ends the line, and not the first of another rating.
    rf"(?:[\s,;/|*]++(?P<dominance>[1-9]){_OF_NINE}(?=[ \t.!*\"')\]`]*+(?:[\n<]|\Z))"
    rf"(?!{_BETWEEN}[1-9]{_OF_NINE}[\s,;/|*]++[a-z]))?",
    re.IGNORECASE,
)
_PART = re.compile(
    r"(?P<open>\{)|(?P<close>\})|(?P<tag></?answer>)|\b(?P<name>valence|arousal|dominance|emotion)\b[\s\"'*]*+[:=]",
    re.IGNORECASE,
)
_ANOTHER = re.compile(rf"[\"']?\s*+(?:,|/|\||\bor\b|\band\b)\s*+[\"']?(?:{'|'.join(Emotion)})\b", re.IGNORECASE)


def parse_rating(completion: Completion) -> AssessmentOutcome:
    """The short reply `<V> <A> <emotion> <D>`, scored by probabilities instead of the written tokens.

    Valence, arousal and dominance are the expected value over the rating tokens 1 to 9 where the reply wrote its
    digits, so they are continuous in [1, 9]; the confidence is the probability of the written emotion among the
    eight, by the first tokens of their labels. The same probabilities are its distributions and emotions.

    A judge that has not learned dominance leaves it away: where anything but one clear digit ends the line, dominance
    is None, and the rest counts as ever.
    """
    if not completion.finite:
        return _failure(NOT_FINITE, completion)
    text = without_thoughts(plain(completion.text))
    lines = list(_RATING_LINE.finditer(text))
    before = text[lines[-2].end() if len(lines) > 1 else 0 : lines[-1].start()] if lines else ""
    if not lines or any(character.isnumeric() for character in before):
        return _failure("the reply is not two ratings and an emotion", completion)
    line = lines[-1]
    if line["emotion"].lower() not in set(Emotion):
        return _failure(f"{quoted(line['emotion'])} is not one of the eight emotions", completion)
    return _assessment(completion, {name: (line.start(name), said) for name, said in line.groupdict().items() if said})


def parse_reasoning(completion: Completion) -> AssessmentOutcome:
    """The reasoned reply, `<think>...</think><answer>{...}</answer>`, its numbers scored by probabilities.

    What a reply writes must be on the scale, then each digit counts by its expected value (`_read`). The confidence is
    the share that the written emotion's first token had among the eight at its place. Dominance is
    read where the answer has it, on the scale.
    """
    if not completion.finite:
        return _failure(NOT_FINITE, completion)
    whole = plain(completion.text)
    text = without_thoughts(whole)
    tag = re.search("<answer>", text, re.IGNORECASE)
    start = tag.start() if tag else len(text) - len(text.lstrip())
    fields, problem = _last_answer(text, start)
    if problem:
        return _failure(problem, completion)
    if not (completion.finished or tag or text != whole):
        return _failure(
            "what the reply says may be a thought: neither tag is in it, and its end is missing", completion
        )
    for axis in _AXES:
        if not fields[axis].on_scale:
            return _failure(
                f"{axis} {quoted(fields[axis].text)} is no number in [{SCALE_MIN:g}, {SCALE_MAX:g}]",
                completion,
            )
    if not isinstance(fields["emotion"].value, Emotion):
        return _failure(f"{quoted(fields['emotion'].text)} is not one of the eight emotions", completion)
    thoughts = start if tag or start else max(text.find("{"), 0)
    written = {
        name: (field.start, field.text) for name, field in fields.items() if name != "dominance" or field.on_scale
    }
    return replace(_assessment(completion, written), reasoning=_thoughts(completion.text[:thoughts]))


def _assessment(completion: Completion, written: Mapping[str, tuple[int, str]]) -> Assessment:
    """What a reply says by its probabilities, from where each of `_ASKED` begins, and dominance where it is there, and
    how it is written."""
    (valence, over_valence), (arousal, over_arousal) = (_read(completion, *written[axis]) for axis in _AXES)
    dominance, over_dominance = _read(completion, *written["dominance"]) if "dominance" in written else (None, None)
    place, word = written["emotion"]
    emotion = Emotion(word.lower())
    alternatives = _alternatives(completion, place, word)
    shares = emotion_shares(alternatives or {})
    return Assessment(
        valence=valence,
        arousal=arousal,
        emotion=emotion,
        confidence=shares.get(emotion, 0.0) if alternatives else 1.0,
        dominance=dominance,
        valence_distribution=over_valence,
        arousal_distribution=over_arousal,
        dominance_distribution=over_dominance,
        emotions=ranked(shares),
    )


@dataclass(frozen=True)
class _Field:
    """A value as it stands in a reply."""

    text: str
    start: int
    value: float | Emotion | None
    """None where nothing readable stands there."""

    @property
    def on_scale(self) -> bool:
        return isinstance(self.value, float) and SCALE_MIN <= self.value <= SCALE_MAX


def _last_answer(text: str, start: int) -> tuple[Mapping[str, _Field], str]:
    """The fields of the last complete answer, or what is wrong.

    An answer is an object, without those inside it, or what stands between objects and tags until a field comes again.
    One that is cut off at the end doesn't count; one that says again, and otherwise, only a part of what was answered
    leaves nothing that could be believed.
    """
    last: dict[str, _Field] = {}
    seen: set[str] = set()
    corrected = False
    groups: list[dict[str, _Field]] = [{}]

    def settle(group: dict[str, _Field]) -> None:
        nonlocal last, corrected
        if _complete(group):
            last, corrected = group, False
        elif any(name in last and field.value not in (None, last[name].value) for name, field in group.items()):
            corrected = True

    for part in _PART.finditer(text, start):
        if part["open"]:
            if len(groups) == 1:
                settle(groups[0])
                groups[0] = {}
            groups.append({})
        elif part["close"] or part["tag"]:
            settle(groups.pop())
            if part["tag"]:
                for group in reversed(groups):
                    settle(group)
                groups = []
            groups = groups or [{}]
        else:
            name = part["name"].lower()
            field, group = _field(text, name, part.end()), groups[-1]
            seen.add(name)
            if name in group and field.value is None:
                continue
            if name in group and group[name].value is not None:
                settle(group)
                group = groups[-1] = {}
            # A value at the very end of an open object may have been longer.
            if len(groups) == 1 or field.start + len(field.text) < len(text):
                group[name] = field
    for group in reversed(groups[1:]):
        if _complete(group):
            settle(group)
    settle(groups[0])
    if corrected:
        return {}, "the reply takes back a part of its answer"
    missing = [name for name in _ASKED if name not in seen]
    if not last and missing:
        return {}, f"the reply has no {' and no '.join(missing)}"
    return last, "" if last else "the reply has valence, arousal and emotion, but not in one complete answer"


def _complete(group: Mapping[str, _Field]) -> bool:
    """Whether a group of fields is an answer."""
    return group.keys() >= set(_ASKED)


def _field(text: str, name: str, start: int) -> _Field:
    """What stands after a field's colon."""
    start, end = value_span(text, start)
    if name != "emotion":
        if span := rating_in(text, start, end):
            return _Field(text[slice(*span)], span[0], number(text[slice(*span)]))
        return _Field(text[start:end].strip(), start, None)
    word = re.compile(r"[^\s,*]*").match(text, start, end)
    said = word[0].rstrip(".!)]") if word else ""
    known = said.lower() in set(Emotion) and not _ANOTHER.match(text, start + len(said))
    return _Field(said, start, Emotion(said.lower()) if known else None)


def _read(completion: Completion, offset: int, written: str) -> tuple[float, Distribution | None]:
    """A written rating such as `7` or `6.4`, with the expected value of its digit before and of the first after the
    point, and its distribution.

    A model that hesitates between 5 and 7 writes one of them; what it expects is 6. The digit after the point was
    chosen for the written one before it, and is taken for the others too. Where the engine doesn't say what else could
    have stood there, the digits count as written, and there is no distribution.
    """
    digits = _RATING_DIGITS.fullmatch(written)
    top = _alternatives(completion, offset, digits["whole"]) if digits else None
    if digits is None or top is None:
        return number(written), None
    shares = digit_shares(top)
    behind = 0.0
    if fraction := digits["fraction"]:
        tenths = _alternatives(completion, offset + 2, fraction) or {fraction: 0.0}
        behind = _mean(digit_shares(tenths, "0123456789")) / 10 + float(f"0.0{digits['rest']}")
    rating = min(_mean(shares) + behind, SCALE_MAX)
    return rating, distribution({min(digit + behind, SCALE_MAX): share for digit, share in shares.items()}, rating)


def digit_shares(top: Mapping[str, float], digits: str = _RATINGS) -> dict[int, float]:
    """Probability of each digit at one position, summing to 1, from its alternatives' log-probabilities.

    Tokens that are none of `digits` are left out and the rest renormalised.

    Raises:
        ValueError: none of the alternatives is one.
    """
    mass = dict.fromkeys(digits, 0.0)
    for text, log_probability in top.items():
        if text.strip() in mass:
            mass[text.strip()] += math.exp(log_probability)
    total = sum(mass.values())
    if total == 0:
        raise ValueError(f"no rating among {', '.join(map(repr, top))}")
    return {int(digit): share / total for digit, share in mass.items() if share > 0}


def _mean(shares: Mapping[int, float]) -> float:
    return sum(digit * share for digit, share in shares.items())


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


def _alternatives(completion: Completion, offset: int, written: str) -> Mapping[str, float] | None:
    """What could have stood where `written` begins; None where the engine didn't say."""
    token = next(completion.tokens_from(offset), None)
    beginning = token.text.strip(" \"'\n").lower() if token else ""
    if token and beginning and written.lower().startswith(beginning) and token.text in token.top:
        return token.top
    return None


def _thoughts(text: str) -> str:
    """The thinking without its tags, in one line."""
    return " ".join(re.sub(r"</?[a-z_]{1,40}>|```\w*", " ", text, flags=re.IGNORECASE).split())


def _failure(problem: str, completion: Completion) -> AssessmentFailure:
    return AssessmentFailure(reason=completion.told(problem))
