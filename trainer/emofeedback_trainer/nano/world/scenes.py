"""The nano world: what a scene consists of, and what each part of it does to valence and arousal.

A scene is a subject in a place, with a weather or time of day, up to two extras, an expression (people and animals),
a light, and a layout seed. `EFFECTS` is the one table of feelings: every attribute moves valence, arousal and dominance
by stated amounts and may lean towards one of the eight emotions; `INTERACTIONS` lists the few combinations that mean
more than their parts (fire beside a child is a threat, fire under a kettle is a comfort).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from emofeedback.domain.affect import AffectPoint, Emotion

PEOPLE = ("girl", "man")
ANIMALS = ("dog", "cat", "rabbit", "owl")
OBJECTS = ("house", "castle", "boat", "tree", "car", "kettle")
LIVING = PEOPLE + ANIMALS

SUBJECTS = LIVING + OBJECTS
PLACES = ("meadow", "forest", "beach", "mountains", "city", "desert", "lake", "ruins")
WEATHERS = ("sunny", "cloudy", "foggy", "rainy", "stormy", "snowy", "sunset", "night", "aurora")
EXTRAS = (
    "balloons",
    "fireworks",
    "butterflies",
    "flowers",
    "rainbow",
    "candles",
    "leaves",
    "fire",
    "crows",
    "tombstones",
    "garbage",
    "slime",
    "ghosts",
)
EXPRESSIONS = ("smiling", "sleeping", "crying", "angry", "frightened")
LIGHTS = ("golden", "vivid", "pale", "dim", "red", "sickly")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One scene of the nano world; `layout` seeds positions, sizes and colors and carries no feeling."""

    subject: str
    expression: str  # "" where the subject is an object, or shows none
    place: str
    weather: str  # "" only in what a text mentions of a scene, never in one that is drawn
    extras: tuple[str, ...]  # none to two, distinct, in the order of EXTRAS
    light: str  # "" is plain light
    layout: int


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one attribute of a scene, or one interaction, adds to each axis (points of the 1-9 scale)."""

    kind: str  # "subject", "place", "weather", "extra", "expression", "light" or "interaction"
    name: str
    d_valence: float
    d_arousal: float
    d_dominance: float


@dataclass(frozen=True, kw_only=True)
class Feeling:
    """A row of the table of effects: shifts on the 1-9 scale, and the emotion that the attribute speaks of, if any."""

    valence: float
    arousal: float
    dominance: float
    emotion: Emotion | None = None


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """A combination that feels otherwise than the sum of its parts."""

    name: str
    holds: Callable[[Scene], bool]
    feeling: Feeling


CENTER = AffectPoint(5.0, 4.6)
_CENTER_DOMINANCE = 5.0


def _row(valence: float, arousal: float, dominance: float, emotion: Emotion | None = None) -> Feeling:
    return Feeling(valence=valence, arousal=arousal, dominance=dominance, emotion=emotion)


EFFECTS: dict[str, dict[str, Feeling]] = {
    "subject": {
        "girl": _row(0.2, 0.1, -0.3),
        "man": _row(0.0, 0.0, 0.3),
        "dog": _row(0.3, 0.2, 0.3),
        "cat": _row(0.3, -0.1, 0.1),
        "rabbit": _row(0.3, 0.0, -0.6),
        "owl": _row(0.0, 0.1, 0.2),
        "house": _row(0.1, -0.2, 0.2),
        "castle": _row(0.1, 0.1, 1.0),
        "boat": _row(0.1, 0.0, -0.2),
        "tree": _row(0.1, -0.3, 0.1),
        "car": _row(0.0, 0.3, 0.5),
        "kettle": _row(0.1, -0.1, 0.0),
    },
    "place": {
        "meadow": _row(0.3, -0.1, 0.2),
        "forest": _row(0.1, -0.1, -0.3),
        "beach": _row(0.3, 0.1, 0.3),
        "mountains": _row(0.2, 0.1, -0.5),
        "city": _row(-0.1, 0.3, -0.1),
        "desert": _row(-0.1, 0.0, -0.5),
        "lake": _row(0.2, -0.3, 0.2),
        "ruins": _row(-0.4, 0.0, -0.5),
    },
    "weather": {
        "sunny": _row(1.1, 0.4, 0.7),
        "cloudy": _row(-0.5, -0.5, -0.2),
        "foggy": _row(-0.5, -1.0, -0.7),
        "rainy": _row(-0.9, -0.4, -0.5),
        "stormy": _row(-1.1, 1.5, -1.5, Emotion.FEAR),
        "snowy": _row(0.4, -0.7, -0.2),
        "sunset": _row(0.8, -0.6, 0.4),
        "night": _row(-0.4, -0.3, -0.6),
        "aurora": _row(1.0, 0.6, -0.4, Emotion.AWE),
    },
    "extra": {
        "balloons": _row(1.2, 0.9, 0.3, Emotion.AMUSEMENT),
        "fireworks": _row(1.0, 1.8, 0.2, Emotion.EXCITEMENT),
        "butterflies": _row(1.1, 0.1, 0.5, Emotion.AMUSEMENT),
        "flowers": _row(1.1, -0.7, 0.6, Emotion.CONTENTMENT),
        "rainbow": _row(1.2, 0.2, 0.2, Emotion.AWE),
        "candles": _row(0.6, -1.2, 0.7, Emotion.CONTENTMENT),
        "leaves": _row(-0.1, -1.1, -0.1, Emotion.SADNESS),
        "fire": _row(-1.0, 1.8, -1.2, Emotion.ANGER),
        "crows": _row(-1.1, 0.4, -0.7, Emotion.FEAR),
        "tombstones": _row(-1.6, -0.8, -0.9, Emotion.SADNESS),
        "garbage": _row(-1.5, -0.1, -0.4, Emotion.DISGUST),
        "slime": _row(-1.3, 0.5, -0.8, Emotion.DISGUST),
        "ghosts": _row(-0.9, 1.4, -1.3, Emotion.FEAR),
    },
    "expression": {
        "smiling": _row(1.3, 0.4, 1.0, Emotion.AMUSEMENT),
        "sleeping": _row(0.5, -1.6, -0.6, Emotion.CONTENTMENT),
        "crying": _row(-1.6, -0.3, -1.6, Emotion.SADNESS),
        "angry": _row(-1.3, 1.4, 1.4, Emotion.ANGER),
        "frightened": _row(-1.0, 1.5, -2.0, Emotion.FEAR),
    },
    "light": {
        "golden": _row(0.9, -0.5, 0.5, Emotion.CONTENTMENT),
        "vivid": _row(0.8, 1.2, 0.4, Emotion.EXCITEMENT),
        "pale": _row(-0.2, -1.1, -0.4, Emotion.SADNESS),
        "dim": _row(-0.8, -0.8, -0.6, Emotion.SADNESS),
        "red": _row(-0.9, 1.3, -0.5, Emotion.ANGER),
        "sickly": _row(-1.1, 0.2, -0.7, Emotion.DISGUST),
    },
}

INTERACTIONS = (
    Interaction(
        name="fire close to a living being",
        holds=lambda s: "fire" in s.extras and s.subject in LIVING,
        feeling=_row(-0.7, 0.7, -0.8, Emotion.FEAR),
    ),
    Interaction(
        name="a cozy fire under the kettle",
        holds=lambda s: "fire" in s.extras and s.subject == "kettle",
        feeling=_row(1.9, -2.2, 1.9, Emotion.CONTENTMENT),
    ),
    Interaction(
        name="a boat in a storm",
        holds=lambda s: s.subject == "boat" and s.weather == "stormy",
        feeling=_row(-0.6, 0.7, -1.2, Emotion.FEAR),
    ),
    Interaction(
        name="ghosts at night",
        holds=lambda s: "ghosts" in s.extras and s.weather == "night",
        feeling=_row(-0.4, 0.6, -0.4, Emotion.FEAR),
    ),
    Interaction(
        name="fireworks in the dark sky",
        holds=lambda s: "fireworks" in s.extras and s.weather in ("night", "aurora"),
        feeling=_row(0.7, 0.4, 0.0, Emotion.EXCITEMENT),
    ),
    Interaction(
        name="candles in the snow",
        holds=lambda s: "candles" in s.extras and s.weather == "snowy",
        feeling=_row(0.6, -0.3, 0.3, Emotion.CONTENTMENT),
    ),
    Interaction(
        name="crows over the tombstones",
        holds=lambda s: {"crows", "tombstones"} <= set(s.extras),
        feeling=_row(-0.5, 0.4, -0.3, Emotion.FEAR),
    ),
    Interaction(
        name="tears among balloons",
        holds=lambda s: "balloons" in s.extras and s.expression == "crying",
        feeling=_row(-0.9, -0.8, -0.4, Emotion.SADNESS),
    ),
    Interaction(
        name="leaves at sunset",
        holds=lambda s: "leaves" in s.extras and s.weather == "sunset",
        feeling=_row(0.6, -0.2, 0.2, Emotion.CONTENTMENT),
    ),
)

# Where each emotion lies in this world. Close to the lexicon's means, but spread out: the lexicon has sadness and
# contentment at middling arousal, and a world that uses the whole plane needs its calm corners named too.
_ANCHORS = {
    Emotion.AMUSEMENT: AffectPoint(7.0, 5.4),
    Emotion.AWE: AffectPoint(7.0, 4.6),
    Emotion.CONTENTMENT: AffectPoint(6.8, 2.8),
    Emotion.EXCITEMENT: AffectPoint(7.4, 7.2),
    Emotion.ANGER: AffectPoint(2.6, 7.0),
    Emotion.DISGUST: AffectPoint(2.8, 4.8),
    Emotion.FEAR: AffectPoint(2.9, 6.6),
    Emotion.SADNESS: AffectPoint(2.8, 2.8),
}
_LEANING_WEIGHT = 1.5  # points of distance on the plane that one attribute's leaning outweighs
_ACROSS = 8.0  # points that an emotion on the other side of neutral is farther away: ghosts are no contentment


def _attributes(scene: Scene) -> list[tuple[str, str, Feeling]]:
    named = [("subject", scene.subject), ("place", scene.place), ("weather", scene.weather)]
    named += [("extra", extra) for extra in scene.extras]
    named += [("expression", scene.expression), ("light", scene.light)]
    rows = [(kind, name, EFFECTS[kind][name]) for kind, name in named if name]
    return rows + [("interaction", i.name, i.feeling) for i in INTERACTIONS if i.holds(scene)]


def effects(scene: Scene) -> list[Effect]:
    """Why the scene feels as it does: the share of every attribute and interaction, in points of the 1-9 scale."""
    return [
        Effect(
            kind=kind,
            name=name,
            d_valence=feeling.valence,
            d_arousal=feeling.arousal,
            d_dominance=feeling.dominance,
        )
        for kind, name, feeling in _attributes(scene)
    ]


def affect(scene: Scene) -> AffectPoint:
    """Valence and arousal of the scene: the center of the world plus all effects, clipped to [1, 9]."""
    rows = _attributes(scene)
    valence = CENTER.valence + sum(feeling.valence for _, _, feeling in rows)
    arousal = CENTER.arousal + sum(feeling.arousal for _, _, feeling in rows)
    return AffectPoint(valence=min(9.0, max(1.0, valence)), arousal=min(9.0, max(1.0, arousal)))


def dominance(scene: Scene) -> float:
    """How much in control the scene leaves who looks at it: 1, helpless, to 9. Who is large and at ease lends strength;
    what threatens, or nobody can hold, takes it."""
    total = _CENTER_DOMINANCE + sum(feeling.dominance for _, _, feeling in _attributes(scene))
    return min(9.0, max(1.0, total))


def leanings(scene: Scene) -> dict[Emotion, float]:
    """How near each emotion lies, at most a few points above 0: minus its distance on the plane, which is longer to
    the other side of neutral; every attribute that speaks of an emotion draws it nearer."""
    point = affect(scene)
    nearness = {
        name: -float(np.hypot(point.valence - anchor.valence, point.arousal - anchor.arousal))
        - _ACROSS * ((point.valence < CENTER.valence) != (anchor.valence < CENTER.valence))
        for name, anchor in _ANCHORS.items()
    }
    for _, _, feeling in _attributes(scene):
        if feeling.emotion is not None:
            nearness[feeling.emotion] += _LEANING_WEIGHT
    return nearness


def shares(scene: Scene) -> dict[Emotion, float]:
    """How much each of the eight emotions is felt, summing to 1: a softmax over how near each lies."""
    near = {name: math.exp(value) for name, value in leanings(scene).items()}
    total = sum(near.values())
    return {name: value / total for name, value in near.items()}


def emotion(scene: Scene) -> Emotion:
    """The emotion of the scene: the nearest one."""
    nearness = leanings(scene)
    return max(nearness, key=lambda name: nearness[name])


def sample_scene(
    rng: np.random.Generator,
    *,
    subject: str | None = None,
    expression: str | None = None,
    place: str | None = None,
    weather: str | None = None,
    extras: tuple[str, ...] | None = None,
    light: str | None = None,
    layout: int | None = None,
) -> Scene:
    """A random scene; attributes that are given stay fixed ("" or () fixes that there is none)."""
    subject = subject or _pick(rng, SUBJECTS)
    if extras is None:
        count = int(rng.choice(3, p=(0.15, 0.4, 0.45)))
        extras = tuple(EXTRAS[i] for i in sorted(rng.choice(len(EXTRAS), count, replace=False)))
    if expression is None or subject not in LIVING:
        expression = _pick(rng, EXPRESSIONS) if subject in LIVING and rng.random() < 0.8 else ""
    return Scene(
        subject=subject,
        expression=expression,
        place=place or _pick(rng, PLACES),
        weather=weather or _pick(rng, WEATHERS),
        extras=extras,
        light=(_pick(rng, LIGHTS) if rng.random() < 0.6 else "") if light is None else light,
        layout=int(rng.integers(2**31)) if layout is None else layout,
    )


def scene_near(rng: np.random.Generator, target: AffectPoint, *, subject: str, place: str, among: int = 200) -> Scene:
    """The one of `among` random scenes of this subject and place whose affect is nearest to the target."""

    def distance(scene: Scene) -> float:
        point = affect(scene)
        return abs(point.valence - target.valence) + abs(point.arousal - target.arousal)

    return min((sample_scene(rng, subject=subject, place=place) for _ in range(among)), key=distance)


def varied(scene: Scene, rng: np.random.Generator) -> Scene:
    """The same scene in another layout."""
    return replace(scene, layout=int(rng.integers(2**31)))


def _pick(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    return names[int(rng.integers(len(names)))]
