"""Lessons in answering and describing (EEmo-Logic's perception, ranking and description), from scenes that are known.

Closed questions are half EEmoDB's own, as `build-eemodb` makes them of the scenes' labels, and half about what a scene
shows and why it feels so. Options stand in any order, and the answer behind a short thought: what is seen of what the
question is about, beside what is asked for. Open ones want a sentence, a description several.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from emofeedback.domain.affect import Emotion
from emofeedback.domain.assessment import Message
from emofeedback.domain.taxonomies import EKMAN, told_in
from emofeedback.judge.prompts import description_conversation, question_conversation
from emofeedback_trainer.data.eemodb.questions import LEVELS, Question, in_question, level, questions, value_of
from emofeedback_trainer.data.records import AXES, RankedEmotion, Sample
from emofeedback_trainer.judge.tasks import TaskName, question, reply
from emofeedback_trainer.nano.dataset import labeled, ranking
from emofeedback_trainer.nano.world.language import Album, Lesson, core, cues, depiction, reasons, thoughts
from emofeedback_trainer.nano.world.scenes import (
    EXPRESSIONS,
    EXTRAS,
    PLACES,
    SUBJECTS,
    WEATHERS,
    Effect,
    Scene,
    emotion,
    shares,
)

_NO_IMAGE = b""
_SEED = 50
_OPEN = 0.15
"""Share of the open questions."""
_OF_EEMODB = 0.5
"""Share of EEmoDB's among the closed ones."""
_TWO = 0.25
"""Share of the descriptions that are of two pictures."""
_ASKED: tuple[TaskName, ...] = ("ranking", "dominance", "emotion")
"""What GRPO asks besides the assessment."""
_MOST_OPTIONS = 4
_APART = 0.5
"""Points by which a part must move a picture to be a reason, or two pictures differ to be told apart."""
_WAYS = {
    "pleasant": ("d_valence", 1),
    "unpleasant": ("d_valence", -1),
    "stirring": ("d_arousal", 1),
    "calm": ("d_arousal", -1),
}
_COMPARED = {
    "valence": ("less pleasant", "more pleasant"),
    "arousal": ("calmer", "more stirring"),
    "dominance": ("more helpless", "more in control"),
}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A closed question with its answer."""

    scenes: tuple[Scene, ...]
    """One or two."""
    text: str
    options: tuple[str, ...]
    right: str
    """One of the options."""
    thought: str
    """What the answer follows from."""

    @property
    def lesson(self) -> Lesson:
        """The answer behind the thought; a blank before it makes its first token that of the thought and the option."""
        return Lesson(
            pictures=self.scenes,
            conversation=question_conversation([_NO_IMAGE] * len(self.scenes), self.text, self.options),
            reply=f"<think>{self.thought}</think><answer> {self.right}</answer>",
        )


@dataclass(frozen=True)
class Asker:
    """Draws lessons about the scenes of an album."""

    album: Album

    def ask(self, rng: np.random.Generator) -> Lesson:
        """A question with its answer."""
        return in_words(self.album.any(rng), rng) if rng.random() < _OPEN else self.choice(rng).lesson

    def choice(self, rng: np.random.Generator) -> Choice:
        """A closed question."""
        return self._of_eemodb(rng) if rng.random() < _OF_EEMODB else about(self.album.any(rng), rng)

    def describe(self, rng: np.random.Generator) -> Lesson:
        """What one or two pictures make people feel, and why."""
        scene = self.album.any(rng)
        if rng.random() < _TWO:
            return description_of_two(scene, self.album.any(rng))
        return description(scene)

    def task(self, rng: np.random.Generator) -> Lesson:
        """A question of GRPO's, with thoughts before the answer."""
        scene = self.album.any(rng)
        sample, name = told(scene), _ASKED[int(rng.integers(len(_ASKED)))]
        said = reply(name, sample)
        assert said is not None  # a scene has all labels
        conversation = (Message(role="user", parts=(_NO_IMAGE, question(name, EKMAN))),)
        return Lesson(pictures=(scene,), conversation=conversation, reply=said)

    def _of_eemodb(self, rng: np.random.Generator) -> Choice:
        one = self._closed[int(rng.integers(len(self._closed)))]
        scenes = tuple(self.album.scenes[int(image)] for image in one.images)
        return Choice(
            scenes=scenes,
            text=one.question,
            options=one.options,
            right=one.answered,
            thought=considered(one, scenes),
        )

    @cached_property
    def _closed(self) -> Sequence[Question]:
        samples = [told(scene, str(number)) for number, scene in enumerate(self.album.scenes)]
        return [one for one in questions(samples, _SEED) if one.options]


def told(scene: Scene, id: str = "scene") -> Sample:
    """A scene's labels, its emotions in Ekman's words as EEmoDB has them."""
    felt = told_in("ekman", shares(scene))
    ranked = tuple(RankedEmotion(label=label, weight=share) for label, share in list(felt.items())[:3])
    return replace(labeled(scene, id=id, split="train"), label=ranked[0].label, ranking=ranked)


def considered(asked: Question, scenes: Sequence[Scene]) -> str:
    """What EEmoDB's question is about, as it is in the pictures, and beside it what is asked for."""
    samples = [told(scene) for scene in scenes]
    if len(samples) > 1:
        if asked.dimension == "emotion":
            return f"They evoke {' and '.join(sample.label for sample in samples)}."
        one, other = (value_of(sample, asked.dimension) for sample in samples)
        return f"{asked.dimension} is {one:.1f} and {other:.1f}, more in the {'first' if one > other else 'second'}."
    (sample,) = samples
    if asked.dimension == "emotion":
        seen = f"It evokes {', '.join(place.label for place in sample.ranking)}."
        words: Sequence[str] = EKMAN
    else:
        value = value_of(sample, asked.dimension)
        seen = f"{asked.dimension} is {value:.1f}, {level(value, asked.dimension)}."
        words = LEVELS[asked.dimension]
    return seen + (f" Asked: {_claimed(asked, words)}." if asked.kind == "Yes-or-No" else "")


def about(scene: Scene, rng: np.random.Generator) -> Choice:
    """A closed question about what the scene shows, what it makes people feel, or why."""
    asked = (_which_emotion, _is_there, _which_sky, _which_subject, _which_place, _which_face, _why)
    text, right, wrong, thought = asked[int(rng.integers(len(asked)))](scene, rng)
    count = int(rng.integers(1, min(len(wrong), _MOST_OPTIONS - 1) + 1))
    options = [right, *(wrong[int(number)] for number in rng.permutation(len(wrong))[:count])]
    order = rng.permutation(len(options))
    options = [options[int(number)] for number in order]
    return Choice(scenes=(scene,), text=text, options=tuple(options), right=right, thought=thought)


def in_words(scene: Scene, rng: np.random.Generator) -> Lesson:
    """An open question about the scene."""
    asked = (
        ("What does this picture show?", f"It shows {depiction(core(scene), scene)}."),
        ("Which emotion does this picture evoke most?", f"It evokes {emotion(scene)} most."),
        ("Why does this picture feel as it does?", f"Because of {' and '.join(reasons(scene)) or 'nothing in it'}."),
    )
    text, said = asked[int(rng.integers(len(asked)))]
    return Lesson(pictures=(scene,), conversation=question_conversation([_NO_IMAGE], text), reply=said)


def description(scene: Scene) -> Lesson:
    """One picture described: the feeling in words and numbers, then what it comes from."""
    return Lesson(pictures=(scene,), conversation=description_conversation([_NO_IMAGE]), reply=feeling(scene))


def description_of_two(first: Scene, second: Scene) -> Lesson:
    """Two pictures described, and how the second differs."""
    apart = [
        _COMPARED[axis][difference > 0]
        for axis in AXES
        if abs(difference := getattr(told(second), axis) - getattr(told(first), axis)) >= _APART
    ]
    differs = f"The second is {', '.join(apart)}." if apart else "Both feel alike."
    return Lesson(
        pictures=(first, second),
        conversation=description_conversation([_NO_IMAGE, _NO_IMAGE]),
        reply=f"The first shows {_briefly(first)} The second shows {_briefly(second)} {differs}",
    )


def feeling(scene: Scene) -> str:
    """What a scene makes people feel, and why, in full."""
    sample = told(scene)
    others = " and ".join(place.label for place in ranking(scene)[1:3])
    levels = ", ".join(f"{axis} {level(getattr(sample, axis), axis)}" for axis in AXES)
    return f"It evokes {emotion(scene)} most of all, with {others} beside it: {levels}. {thoughts(scene)}"


def _claimed(asked: Question, words: Sequence[str]) -> str:
    """The word that a Yes-or-No question asks for, as the labels have it."""
    return next(word for word in words if in_question(word, asked.dimension) in re.findall(r"\w+", asked.question))


def _briefly(scene: Scene) -> str:
    because = " and ".join(reasons(scene))
    return f"{depiction(core(scene), scene)}, and evokes {emotion(scene)}{because and f' because of {because}'}."


_Asked = tuple[str, str, list[str], str]
"""A question, its right option, the wrong ones, and the thought that the answer follows from."""


def _which_emotion(scene: Scene, rng: np.random.Generator) -> _Asked:
    right = emotion(scene)
    wrong = [name.value for name in Emotion if name is not right]
    felt = ", ".join(place.label for place in ranking(scene)[:3])
    return "Which emotion does this picture evoke most?", right.value, wrong, f"It evokes {felt}."


def _is_there(scene: Scene, rng: np.random.Generator) -> _Asked:
    present = bool(scene.extras) and rng.random() < 0.5
    among = scene.extras if present else [extra for extra in EXTRAS if extra not in scene.extras]
    extra = among[int(rng.integers(len(among)))]
    text = f"Does this picture show {extra}?"
    thought = f"There are {' and '.join(scene.extras) or 'none'}. Asked: {extra}."
    return (text, "Yes", ["No"], thought) if present else (text, "No", ["Yes"], thought)


def _which_sky(scene: Scene, rng: np.random.Generator) -> _Asked:
    wrong = [one for one in WEATHERS if one != scene.weather]
    return "What is the sky like in this picture?", scene.weather, wrong, f"The sky is {scene.weather}."


def _which_subject(scene: Scene, rng: np.random.Generator) -> _Asked:
    wrong = [one for one in SUBJECTS if one != scene.subject]
    return "What is this a picture of?", scene.subject, wrong, f"It shows {core(scene)}."


def _which_place(scene: Scene, rng: np.random.Generator) -> _Asked:
    wrong = [one for one in PLACES if one != scene.place]
    return "Where does this picture take place?", scene.place, wrong, f"It shows {core(scene)}."


def _which_face(scene: Scene, rng: np.random.Generator) -> _Asked:
    if not scene.expression:
        return _which_sky(scene, rng)
    wrong = [one for one in EXPRESSIONS if one != scene.expression]
    text = f"How does the {scene.subject} look in this picture?"
    return text, scene.expression, wrong, f"The {scene.subject} is {scene.expression}."


def _why(scene: Scene, rng: np.random.Generator) -> _Asked:
    """What pulls the picture that way, against what isn't in it."""
    felt = cues(scene)
    ways = [(way, cue) for way in _WAYS for cue, effect in felt.items() if _pulls(effect, way)]
    if not ways:
        return _which_emotion(scene, rng)
    way, cue = ways[int(rng.integers(len(ways)))]
    absent = [extra for extra in EXTRAS if extra not in felt]
    absent += [f"{'an' if sky == 'aurora' else 'a'} {sky} sky" for sky in WEATHERS if sky != scene.weather]
    pulling = " and ".join(other for other, effect in felt.items() if _pulls(effect, way))
    return f"What makes this picture {way}?", cue, absent, f"It is {way} because of {pulling}."


def _pulls(effect: Effect, way: str) -> bool:
    axis, sign = _WAYS[way]
    return sign * float(getattr(effect, axis)) >= _APART
