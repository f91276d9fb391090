"""What the embedded vision-language model learns to say: lessons, made from scenes whose feelings are known.

A lesson is a conversation exactly as the services hold it (`judge/prompts.py`, `optimizer/gradient.py`) with the
reply that a judge or agent who knew the scene would give. Six kinds, beside those of `question_lessons`:

1. rating      `<V> <A> <emotion> <D>` of a picture;
2. reasoning   what the picture shows and how each part feels, then V, A, emotion and D as JSON;
3. gradient    two pictures of one prompt: why each feels as it does, and which cues to add and take out;
4. update      the prompt rewritten with these cues, subject and place kept, also where they are unknown words;
5. caption     the picture in one sentence, which ties words to what is seen;
6. copy        a prompt of unknown words repeated: short, and so the cheapest way to learn what update needs.

The agent's cues come from the scene that expresses the target with the fewest means (`telling_scene`), so that what
it proposes is a learnable function of the target.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import combinations

import numpy as np

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, AffectPoint, Emotion, clip_to_scale, describe, distance
from emofeedback.domain.assessment import Assessment, Conversation, Message
from emofeedback.judge.prompts import rating_conversation, reasoning_conversation
from emofeedback.optimizer.prompts import gradient_conversation, update_conversation
from emofeedback_trainer.nano.world.captions import emotional_caption, neutral_caption
from emofeedback_trainer.nano.world.invention import invented_prompt
from emofeedback_trainer.nano.world.scenes import (
    CENTER,
    EXPRESSIONS,
    EXTRAS,
    LIGHTS,
    LIVING,
    WEATHERS,
    Effect,
    Scene,
    affect,
    dominance,
    effects,
    emotion,
    sample_scene,
    shares,
)

CAPTION_QUESTION = "Describe this picture in one sentence."
_COPY_REQUEST = "Reply with this prompt only, inside <prompt></prompt>."
_NO_IMAGE = b""
_JUDGE_ERROR = 0.4
"""Standard deviation of the judged numbers around the true ones: the agent must not rely on their decimals."""
_OVERSHOOT = 0.5
"""Once a prompt already names its mood, how much of the error that is left is added to the target."""
_WASTE = 0.08
"""Points of distance that one point of effect costs: prefers few cues that agree over many that cancel out."""
_WAYS = (
    ({"sunny", "rainy", "night"}, {"balloons", "candles", "tombstones", "fire"}),
    ({"aurora", "stormy", "cloudy"}, {"fireworks", "flowers", "leaves", "crows"}),
    ({"sunset", "foggy", "stormy"}, {"butterflies", "candles", "slime", "ghosts"}),
    ({"snowy", "night", "cloudy", "sunny"}, {"rainbow", "leaves", "garbage", "fire", "fireworks"}),
)
"""To imagine a feeling: the weathers and the extras of each way. Each reaches every corner of the plane."""
WAYS = len(_WAYS)
"""As many as the embedded judge has variations."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """One conversation and the reply to learn."""

    pictures: tuple[Scene, ...]
    """The scenes behind the conversation's images, in order."""
    conversation: Conversation
    """Its images are empty bytes: the trainer has the pixels."""
    reply: str
    ratings: tuple[float, ...] = ()
    """For a rating: what the digits of the reply truly are, between the whole numbers that it can write."""
    felt: Mapping[Emotion, float] = field(default_factory=dict)
    """For a rating: how much of each emotion is felt, of which the reply can name but one."""


class Album:
    """Scenes to teach with, found by subject and place."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self.scenes = scenes
        self._alike: dict[tuple[str, str], list[Scene]] = {}
        for scene in scenes:
            self._alike.setdefault((scene.subject, scene.place), []).append(scene)

    def any(self, rng: np.random.Generator) -> Scene:
        """A random scene."""
        return self.scenes[int(rng.integers(len(self.scenes)))]

    def at_an_end(self, rng: np.random.Generator) -> Scene:
        """A random scene with a number at an end of the scale, as few have; any where none has."""
        return self._at_an_end[int(rng.integers(len(self._at_an_end)))] if self._at_an_end else self.any(rng)

    @cached_property
    def _at_an_end(self) -> Sequence[Scene]:
        return [scene for scene in self.scenes if {SCALE_MIN, SCALE_MAX} & set(_numbers(scene))]

    def another(self, scene: Scene, rng: np.random.Generator) -> Scene:
        """A random scene of the same subject and place; the same one where there is no other."""
        alike = self._alike[scene.subject, scene.place]
        return alike[int(rng.integers(len(alike)))]


def rating_lesson(scene: Scene, rng: np.random.Generator) -> Lesson:
    """Whole numbers, rounded up as often as the fraction says, so that their expectation is exact."""
    ratings = _numbers(scene)
    valence, arousal, control = (min(int(SCALE_MAX), int(value + rng.random())) for value in ratings)
    return Lesson(
        pictures=(scene,),
        conversation=rating_conversation(_NO_IMAGE),
        reply=f"{valence} {arousal} {emotion(scene)} {control}",
        ratings=ratings,
        felt=shares(scene),
    )


def _numbers(scene: Scene) -> tuple[float, float, float]:
    point = affect(scene)
    return point.valence, point.arousal, dominance(scene)


def reasoning_lesson(scene: Scene) -> Lesson:
    """The thoughts about the scene, then its numbers and its emotion."""
    point = affect(scene)
    numbers = f'"valence": {point.valence:.1f}, "arousal": {point.arousal:.1f}'
    answer = f'{{{numbers}, "emotion": "{emotion(scene)}", "dominance": {dominance(scene):.1f}}}'
    return Lesson(
        pictures=(scene,),
        conversation=reasoning_conversation(_NO_IMAGE),
        reply=f"<think>{thoughts(scene)}</think><answer>{answer}</answer>",
    )


def thoughts(scene: Scene) -> str:
    """What the scene shows, and every part of it that carries a feeling, the strongest first."""
    moods = [f"{cue} ({felt})" for cue, effect in cues(scene).items() if (felt := _felt(effect))]
    return f"It shows {depiction(core(scene), scene)}. The mood comes from {_listed(moods)}."


def caption_lesson(scene: Scene) -> Lesson:
    """The picture in one sentence."""
    conversation = (Message(role="user", parts=(_NO_IMAGE, CAPTION_QUESTION)),)
    return Lesson(pictures=(scene,), conversation=conversation, reply=f"{depiction(core(scene), scene)}.")


def copy_lesson(rng: np.random.Generator) -> Lesson:
    """An invented prompt, to be given back as it is."""
    prompt = ", ".join(invented_prompt(rng, "house") for _ in range(int(rng.integers(1, 3))))
    conversation = (Message(role="user", parts=(f"Original prompt: {prompt}\n{_COPY_REQUEST}",)),)
    return Lesson(pictures=(), conversation=conversation, reply=f"<prompt>{prompt}</prompt>")


@dataclass(frozen=True, kw_only=True)
class Situation:
    """One round of the loop as the agent meets it."""

    original: str
    kept: str
    """The part of the original that every rewrite keeps: its subject and place."""
    known: bool
    """False where subject or place are from outside the world."""
    prompt: str
    target: AffectPoint
    best: Scene
    worst: Scene
    judged_best: AffectPoint
    judged_worst: AffectPoint
    aim: Scene
    """The scene whose cues lead to the target."""


def situation(album: Album, rng: np.random.Generator) -> Situation:
    """A random round: known and unknown prompts, neutral and moody ones, a target anywhere on the plane."""
    scene = album.any(rng)
    target = AffectPoint(*(float(x) for x in rng.uniform(SCALE_MIN, SCALE_MAX, 2)))
    pair = sorted((scene, album.another(scene, rng)), key=lambda one: distance(affect(one), target))
    judged = [_roughly(affect(one), rng) for one in pair]
    kept = core(scene)
    subject = scene.subject
    if rng.random() < 0.5:
        kept, subject = invented_prompt(rng, subject), subject if rng.random() < 0.5 else ""
        if subject and not re.match(rf"an? {subject}\b", kept):
            subject = ""
    original = kept
    known = kept == core(scene)
    if known:
        original = emotional_caption(scene, rng) if rng.random() < 0.2 else neutral_caption(scene, rng)
        kept = depiction_start(original, kept)
    prompt, goal = original, target
    if rng.random() < 0.5:
        prompt = depiction(kept, pair[int(rng.integers(2))])
        goal = AffectPoint(
            clip_to_scale(target.valence + _OVERSHOOT * (target.valence - judged[0].valence)),
            clip_to_scale(target.arousal + _OVERSHOOT * (target.arousal - judged[0].arousal)),
        )
    return Situation(
        original=original,
        kept=kept,
        known=known,
        prompt=prompt,
        target=target,
        best=pair[0],
        worst=pair[1],
        judged_best=judged[0],
        judged_worst=judged[1],
        aim=telling_scene(goal, subject or "house", scene.place),
    )


def analysis(now: Situation) -> str:
    """Why the two pictures feel as they do, and what to add and take out."""
    unwanted = {**cues(now.best), **cues(now.worst)}
    aim = cues(now.aim)
    wrong = [
        cue
        for cue, effect in unwanted.items()
        if cue not in aim and effect.kind != "interaction" and _pull(effect, now.target) < 0
    ]
    wanted = [cue for cue, effect in aim.items() if effect.kind != "interaction"]
    leave = f"; take out {_listed(wrong[:3])}" if wrong else ""
    return (
        f"The first picture is {_because(now.best, now.judged_best)}. "
        f"The second is {_because(now.worst, now.judged_worst)}. "
        f"To be {_direction(now.judged_best, now.target)}, add {_listed(wanted)}{leave}."
    )


def gradient_lesson(now: Situation) -> Lesson:
    """Two pictures to compare."""
    conversation = gradient_conversation(
        now.prompt,
        now.target,
        _NO_IMAGE,
        _assessment(now.judged_best, now.best),
        _NO_IMAGE,
        _assessment(now.judged_worst, now.worst),
    )
    return Lesson(pictures=(now.best, now.worst), conversation=conversation, reply=analysis(now))


def update_lesson(now: Situation) -> Lesson:
    """The prompt with the analysis's cues."""
    return Lesson(
        pictures=(),
        conversation=update_conversation(now.original, now.prompt, analysis(now), now.target),
        reply=f"<prompt>{depiction(now.kept, now.aim)}</prompt>",
    )


def cues(scene: Scene) -> dict[str, Effect]:
    """What in the scene carries its feeling, as the phrases that name it, the strongest first."""
    phrases = {
        "weather": f"{_article(scene.weather)} {scene.weather} sky",
        "light": f"{scene.light} light",
        "expression": f"{_article(scene.expression)} {scene.expression} {scene.subject}",
    }
    felt = [effect for effect in effects(scene) if effect.kind not in ("subject", "place")]
    felt.sort(key=lambda effect: -abs(effect.d_valence) - abs(effect.d_arousal))
    return {phrases.get(effect.kind, effect.name): effect for effect in felt}


def reasons(scene: Scene) -> list[str]:
    """The two strongest cues that pull the scene to where it lies; fewer where it has fewer."""
    point = affect(scene)
    return [cue for cue, effect in cues(scene).items() if _pull(effect, point) > 0][:2]


def core(scene: Scene) -> str:
    """Subject and place: "a dog in a meadow"."""
    return _without_opening(neutral_caption(scene, np.random.default_rng(0)))


def depiction(kept: str, scene: Scene) -> str:
    """A subject and place in the scene's mood: "a smiling dog in a meadow under a sunny sky, with balloons"."""
    text = kept
    if scene.expression:
        opening, rest = _split_opening(kept)
        noun = re.sub(r"^an? ", "", rest)
        text = f"{opening}{_article(scene.expression)} {scene.expression} {noun}"
    text += f" under {_article(scene.weather)} {scene.weather} sky"
    if scene.extras:
        text += f", with {_listed(scene.extras)}"
    return text + (f", {scene.light} light" if scene.light else "")


def depiction_start(original: str, kept: str) -> str:
    """The kept part with the original's opening ("a painting of") before it."""
    return _split_opening(original)[0] + kept


def telling_scene(target: AffectPoint, subject: str, place: str) -> Scene:
    """The scene of this subject and place that comes near the target with the fewest, most agreeing cues."""
    return _nearest(target, *_candidates(subject, place))


def imagined_scene(target: AffectPoint, subject: str, place: str, way: int) -> Scene:
    """One of several scenes of this subject and place near the target, by the same measure as `telling_scene`: every
    way, from 0, has few weathers and extras to choose from, so that nearly all ways show something else."""
    return _nearest(target, *_scenes_of_a_way(subject, place, way))


@cache
def _scenes_of_a_way(subject: str, place: str, way: int) -> tuple[list[Scene], np.ndarray, np.ndarray]:
    """All scenes of a way, as `_candidates` has them."""
    weathers, extras = _WAYS[way]
    pairs = [(), *((one,) for one in EXTRAS), *combinations(EXTRAS, 2)]
    return _measured(
        [
            Scene(
                subject=subject, expression=expression, place=place, weather=weather, extras=pair, light=light, layout=0
            )
            for weather in WEATHERS
            if weather in weathers
            for pair in pairs
            if extras.issuperset(pair)
            for light in ("", *LIGHTS)
            for expression in ("", *(EXPRESSIONS if subject in LIVING else ()))
        ]
    )


def _nearest(target: AffectPoint, scenes: list[Scene], points: np.ndarray, waste: np.ndarray) -> Scene:
    away = np.abs(points - np.array([target.valence, target.arousal])).sum(axis=1)
    return scenes[int(np.argmin(away + _WASTE * waste))]


@cache
def _candidates(subject: str, place: str) -> tuple[list[Scene], np.ndarray, np.ndarray]:
    """Scenes to choose from, their points [N, 2] and summed absolute effects [N].

    The same draws for every subject and place, so that neighbors among the targets get neighboring cues.
    """
    rng = np.random.default_rng(11)
    return _measured([sample_scene(rng, subject=subject, place=place, layout=0) for _ in range(3000)])


def _measured(scenes: list[Scene]) -> tuple[list[Scene], np.ndarray, np.ndarray]:
    points = np.array([(point.valence, point.arousal) for point in map(affect, scenes)])
    waste = [sum(abs(one.d_valence) + abs(one.d_arousal) for one in effects(scene)) for scene in scenes]
    return scenes, points, np.array(waste)


def _because(scene: Scene, judged: AffectPoint) -> str:
    """How a picture feels, and the two cues that make it feel so."""
    found = reasons(scene)
    return describe(judged) + (f" because of {_listed(found)}" if found else " with little to feel")


def _pull(effect: Effect, toward: AffectPoint) -> float:
    """How far an effect moves a picture from the center of the world toward a point (unnormalized)."""
    d_valence, d_arousal = toward.valence - CENTER.valence, toward.arousal - CENTER.arousal
    return effect.d_valence * d_valence + effect.d_arousal * d_arousal


def _direction(now: AffectPoint, target: AffectPoint) -> str:
    """The way from a point to the target in words."""
    valence = _compared(target.valence - now.valence, "less pleasant", "more pleasant")
    arousal = _compared(target.arousal - now.arousal, "calmer", "more stirring")
    return " and ".join(word for word in (valence, arousal) if word) or "the same"


def _compared(difference: float, less: str, more: str) -> str:
    if abs(difference) < 0.5:
        return ""
    return more if difference > 0 else less


def _felt(effect: Effect) -> str:
    """An effect in words; empty where it is slight."""
    valence = _compared(effect.d_valence, "unpleasant", "pleasant")
    arousal = _compared(effect.d_arousal, "calm", "stirring")
    return ", ".join(word for word in (valence, arousal) if word)


def _roughly(point: AffectPoint, rng: np.random.Generator) -> AffectPoint:
    valence, arousal = rng.normal((point.valence, point.arousal), _JUDGE_ERROR)
    return AffectPoint(clip_to_scale(float(valence)), clip_to_scale(float(arousal)))


def _assessment(judged: AffectPoint, scene: Scene) -> Assessment:
    return Assessment(valence=judged.valence, arousal=judged.arousal, emotion=emotion(scene), confidence=1.0)


def _split_opening(caption: str) -> tuple[str, str]:
    match = re.match(r"(a (?:picture|painting) of )?(.*)", caption)
    assert match is not None  # both groups may be empty
    return match[1] or "", match[2]


def _without_opening(caption: str) -> str:
    return _split_opening(caption)[1]


def _article(word: str) -> str:
    return "an" if word[:1] in set("aeiou") else "a"


def _listed(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
