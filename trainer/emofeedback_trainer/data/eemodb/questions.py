"""Questions and answers about what pictures make people feel, from templates of our own, in EEmo-Logic's four tasks.

perception   one picture: its emotion, valence, arousal and dominance, as Yes-or-No and as What/How with options
pair         the same of two pictures
ranking      the three strongest emotions in order
description  a free answer that says all of it

Balanced: of each kind of Yes-or-No question half are answered Yes, and the right option stands equally often at each
of its letters, so that guessing one answer earns nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Literal

import numpy as np

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN
from emofeedback.domain.taxonomies import EKMAN
from emofeedback_trainer.data.eemodb.ranking import PLACES
from emofeedback_trainer.data.records import AXES, Sample

Kind = Literal["Yes-or-No", "What/How", "Open"]
Task = Literal["perception", "pair", "ranking", "description"]

LETTERS = "ABCD"
LEVELS = {
    "valence": ("negative", "neutral", "positive"),
    "arousal": ("low", "moderate", "high"),
    "dominance": ("helpless", "moderate", "powerful"),
}
"""The thirds of each scale in EEmo-Logic's words, the lowest first."""
_LIMITS = tuple(SCALE_MIN + third * (SCALE_MAX - SCALE_MIN) / 3 for third in (1, 2))
_APART = 1.0
"""Points by which two pictures must differ before one is asked to be told from the other."""

_ASKED_LEVEL = {
    "valence": "Is the feeling that this picture evokes {level}?",
    "arousal": "Does this picture evoke a {level} level of arousal?",
    "dominance": "Do people feel {level} in control when they look at this picture?",
}
_HOW = {
    "valence": "How pleasant is the feeling that this picture evokes?",
    "arousal": "How strongly does this picture stir people?",
    "dominance": "How much in control do people feel when they look at this picture?",
}
_MORE = {
    "valence": "more pleasant to look at",
    "arousal": "more stirring",
    "dominance": "more likely to let people feel in control",
}
_DOMINANCE_LEVELS = {"helpless": "hardly", "moderate": "moderately", "powerful": "strongly"}


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question with its answer."""

    id: str
    images: tuple[str, ...]
    """Ids of the one or two samples that it is about."""
    task: Task
    kind: Kind
    dimension: str
    """`emotion`, one of the axes, or `all`."""
    question: str
    options: tuple[str, ...]
    """In the order of their letters; empty for open ones."""
    answer: str
    """The letter of the right option, or the text of an open one."""

    @property
    def answered(self) -> str:
        """The answer in words."""
        return self.options[LETTERS.index(self.answer)] if self.options else self.answer


def questions(samples: Sequence[Sample], seed: int) -> list[Question]:
    """Every question that the samples' labels can answer, about one of each kind for each sample."""
    rng = np.random.default_rng(seed)
    numbers = count()
    made: list[Question] = []

    def add(asked: Sequence[_Asked], task: Task, kind: Kind, dimension: str) -> None:
        turns: Counter[int] = Counter()
        for one in asked:
            options, answer = _arranged(one, turns[len(one.wrong)], kind, rng)
            turns[len(one.wrong)] += 1
            made.append(
                Question(
                    id=f"{task}-{next(numbers):07d}",
                    images=one.images,
                    task=task,
                    kind=kind,
                    dimension=dimension,
                    question=one.question,
                    options=options,
                    answer=answer,
                )
            )

    felt = _shuffled([sample for sample in samples if sample.label in EKMAN], rng)
    add(list(_is_emotion(felt, rng)), "perception", "Yes-or-No", "emotion")
    add(list(_which_emotion(felt, rng)), "perception", "What/How", "emotion")
    add(list(_same_emotion(felt)), "pair", "Yes-or-No", "emotion")
    add(list(_shared_emotion(felt, rng)), "pair", "What/How", "emotion")
    for axis in AXES:
        rated = _shuffled([sample for sample in samples if getattr(sample, axis) is not None], rng)
        add(list(_is_level(rated, axis, rng)), "perception", "Yes-or-No", axis)
        add([_how(sample, axis) for sample in rated], "perception", "What/How", axis)
        pairs = _pairs(rated, partial(_differ, axis))
        add(list(_is_more(pairs, axis)), "pair", "Yes-or-No", axis)
        add([_which_is_more(one, other, axis) for one, other in pairs], "pair", "What/How", axis)
    add([_rank(sample) for sample in samples if len(sample.ranking) == PLACES], "ranking", "Open", "emotion")
    add([_describe(sample) for sample in felt if _rated_axes(sample)], "description", "Open", "all")
    return made


def level(value: float, axis: str) -> str:
    """A rating's third of the scale in words."""
    return LEVELS[axis][sum(value > limit for limit in _LIMITS)]


def in_question(word: str, dimension: str) -> str:
    """An emotion or a level of `LEVELS` as Yes-or-No questions name it."""
    return _DOMINANCE_LEVELS.get(word, word) if dimension == "dominance" else word


@dataclass(frozen=True, kw_only=True)
class _Asked:
    images: tuple[str, ...]
    question: str
    right: str
    wrong: tuple[str, ...] = ()


def _arranged(one: _Asked, turn: int, kind: Kind, rng: np.random.Generator) -> tuple[tuple[str, ...], str]:
    """The options in their order and the right one's letter, which goes round among questions with as many options;
    Yes and No, which alternate, go round in twos."""
    if kind == "Open":
        return (), one.right
    wrong = [one.wrong[number] for number in rng.permutation(len(one.wrong))]
    at = (turn // 2 if kind == "Yes-or-No" else turn) % (len(wrong) + 1)
    return (*wrong[:at], one.right, *wrong[at:]), LETTERS[at]


def _yes_no(images: tuple[str, ...], question: str, yes: bool) -> _Asked:
    return _Asked(images=images, question=question, right="Yes" if yes else "No", wrong=("No" if yes else "Yes",))


def _is_emotion(samples: Sequence[Sample], rng: np.random.Generator) -> Iterator[_Asked]:
    for number, sample in enumerate(samples):
        yes = number % 2 == 0
        word = sample.label if yes else _another(_unfelt(sample), rng)
        yield _yes_no((sample.id,), f"Is {word} the emotion that this picture evokes most strongly?", yes)


def _which_emotion(samples: Sequence[Sample], rng: np.random.Generator) -> Iterator[_Asked]:
    for sample in samples:
        unfelt = _unfelt(sample)
        wrong = tuple(unfelt[number] for number in rng.permutation(len(unfelt))[: len(LETTERS) - 1])
        text = "Which of these emotions does this picture evoke most strongly?"
        yield _Asked(images=(sample.id,), question=text, right=sample.label, wrong=wrong)


def _same_emotion(samples: Sequence[Sample]) -> Iterator[_Asked]:
    """As many pairs with the same emotion as with different ones."""
    same = _pairs(samples, lambda one, other: one.label == other.label)
    different = _pairs(samples, lambda one, other: one.label != other.label)
    text = "Is the strongest emotion of both pictures the same?"
    for alike, unlike in zip(same, different, strict=False):
        for (one, other), yes in ((alike, True), (unlike, False)):
            yield _yes_no((one.id, other.id), text, yes)


def _shared_emotion(samples: Sequence[Sample], rng: np.random.Generator) -> Iterator[_Asked]:
    for one, other in _pairs(samples, lambda one, other: one.label == other.label):
        unfelt = [word for word in _unfelt(one) if word in _unfelt(other)]
        wrong = tuple(unfelt[number] for number in rng.permutation(len(unfelt))[: len(LETTERS) - 1])
        text = "Which of these emotions do both pictures evoke most strongly?"
        yield _Asked(images=(one.id, other.id), question=text, right=one.label, wrong=wrong)


def _is_level(samples: Sequence[Sample], axis: str, rng: np.random.Generator) -> Iterator[_Asked]:
    for number, sample in enumerate(samples):
        yes, true = number % 2 == 0, level(value_of(sample, axis), axis)
        word = true if yes else _another([other for other in LEVELS[axis] if other != true], rng)
        text = _ASKED_LEVEL[axis].format(level=in_question(word, axis))
        yield _yes_no((sample.id,), text, yes)


def _how(sample: Sample, axis: str) -> _Asked:
    true = level(value_of(sample, axis), axis)
    wrong = tuple(word for word in LEVELS[axis] if word != true)
    return _Asked(images=(sample.id,), question=_HOW[axis], right=true, wrong=wrong)


def _is_more(pairs: Sequence[tuple[Sample, Sample]], axis: str) -> Iterator[_Asked]:
    for number, (one, other) in enumerate(pairs):
        yes = number % 2 == 0
        first, second = (one, other) if (value_of(one, axis) > value_of(other, axis)) == yes else (other, one)
        yield _yes_no((first.id, second.id), f"Is the first picture {_MORE[axis]} than the second?", yes)


def _which_is_more(one: Sample, other: Sample, axis: str) -> _Asked:
    first = value_of(one, axis) > value_of(other, axis)
    right, wrong = ("The first", "The second") if first else ("The second", "The first")
    return _Asked(
        images=(one.id, other.id), question=f"Which of the two pictures is {_MORE[axis]}?", right=right, wrong=(wrong,)
    )


def _rank(sample: Sample) -> _Asked:
    text = f"Rank the three emotions that this picture evokes most, the strongest first, out of: {', '.join(EKMAN)}."
    return _Asked(images=(sample.id,), question=text, right=", ".join(place.label for place in sample.ranking))


def _describe(sample: Sample) -> _Asked:
    others = [place.label for place in sample.ranking[1:]]
    mixed = f", with {' and '.join(others)} beside it" if others else ""
    levels = ", ".join(
        f"{axis} {level(value_of(sample, axis), axis)} ({value_of(sample, axis):.1f} of 9)"
        for axis in _rated_axes(sample)
    )
    why = f" {sample.comments[0].strip()}" if sample.comments else ""
    shows = f"It shows {sample.neutral_prompt.rstrip('.')}. " if sample.neutral_prompt and not why else ""
    return _Asked(
        images=(sample.id,),
        question="Describe what this picture makes people feel, and how strongly.",
        right=f"{shows}It evokes {sample.label} most of all{mixed}: {levels}.{why}",
    )


def _pairs(samples: Sequence[Sample], fits: Callable[[Sample, Sample], bool]) -> list[tuple[Sample, Sample]]:
    """Each sample with the next one after it that fits, looking at a few; the samples are in random order."""
    pairs = []
    for place, one in enumerate(samples):
        ahead = (samples[(place + step) % len(samples)] for step in range(1, min(len(samples), 3 * len(EKMAN))))
        if (other := next((sample for sample in ahead if fits(one, sample)), None)) is not None:
            pairs.append((one, other))
    return pairs


def _differ(axis: str, one: Sample, other: Sample) -> bool:
    return abs(value_of(one, axis) - value_of(other, axis)) >= _APART


def _unfelt(sample: Sample) -> list[str]:
    """Emotions that the picture isn't said to evoke at all."""
    felt = {sample.label, *(place.label for place in sample.ranking), *(word for vote in sample.votes for word in vote)}
    unfelt = [word for word in EKMAN if word not in felt]
    return unfelt or [word for word in EKMAN if word != sample.label]


def _another(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def _shuffled(samples: Sequence[Sample], rng: np.random.Generator) -> list[Sample]:
    return [samples[number] for number in rng.permutation(len(samples))]


def value_of(sample: Sample, axis: str) -> float:
    """A rating that the sample is known to have."""
    value = getattr(sample, axis)
    assert value is not None  # only rated samples are asked about
    return float(value)


def _rated_axes(sample: Sample) -> list[str]:
    return [axis for axis in AXES if getattr(sample, axis) is not None]
