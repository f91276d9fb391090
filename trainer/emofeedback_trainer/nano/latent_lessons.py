"""Lessons for reasoning tokens from the nano world: every scene's feeling and parts are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN, AffectPoint
from emofeedback.domain.reasoning import Imagination
from emofeedback_trainer.latent.lessons import Imagine, Known, Look, Rating, Way
from emofeedback_trainer.nano.models.judge import KINDS
from emofeedback_trainer.nano.question_lessons import Asker
from emofeedback_trainer.nano.world.album import WORN, mirrored, pictures
from emofeedback_trainer.nano.world.captions import emotional_caption, neutral_caption
from emofeedback_trainer.nano.world.contrasts import mentioned
from emofeedback_trainer.nano.world.invention import invented_prompt
from emofeedback_trainer.nano.world.language import Album, Lesson, core, depiction, imagined_scene, rating_lesson
from emofeedback_trainer.nano.world.numbered import scene_at
from emofeedback_trainer.nano.world.scenes import OBJECTS, Scene, affect, emotion

PICTURES = 12_000
_UNKNOWN, _NEUTRAL, _REWRITTEN = 0.15, 0.7, 0.85
"""Prompts from outside the world; of the others, up to here neutral ones and up to here the loop's own rewrites."""
_OUTSIDE = "something"
"""What a thought calls a subject that the world doesn't know."""
_OWN_POINT = 0.5
"""Share of the targets that are drawn scenes' own points, mostly about the middle; the others lie anywhere."""
_WHOLE = 0.15
"""Share of the targets that are whole numbers, as people write them."""


class WorldLessons:
    """Lessons of the first `count` scenes of the split `latent`.

    Args:
        folder: keeps their pictures.
        ways: how many different scenes an imagination has.
    """

    def __init__(self, folder: Path, ways: int, count: int = PICTURES) -> None:
        self._ways = ways
        self._pixels: NDArray[np.uint8] = pictures(folder, "latent", count, worn=WORN)
        self._album = Album([scene_at("latent", index) for index in range(count)])
        self._asker = Asker(self._album)
        self._index = {scene: index for index, scene in enumerate(self._album.scenes)}

    def looks(self, count: int, rng: np.random.Generator) -> Sequence[Look]:
        """Scenes with their true points."""
        scenes = [self._album.any(rng) for _ in range(count)]
        return [
            Look(picture=picture, rating=_rating(rating_lesson(scene, rng)), thought=thought(core(scene), scene))
            for scene, picture in zip(scenes, self._pictures(scenes, rng), strict=True)
        ]

    def imaginations(self, count: int, rng: np.random.Generator) -> Sequence[Imagine]:
        """Prompts and targets as people and the loop write them, with a scene near the target."""
        return [self._imagine(rng) for _ in range(count)]

    def known(self, count: int, rng: np.random.Generator) -> Sequence[Known]:
        """The lessons that the judge was trained with, in their old proportions."""
        shares = np.array([kind.count for kind in KINDS]) / sum(kind.count for kind in KINDS)
        chosen = [KINDS[index].make(self._asker, rng) for index in rng.choice(len(KINDS), count, p=shares)]
        return [
            Known(
                pictures=self._pictures(lesson.pictures, rng),
                conversation=lesson.conversation,
                reply=lesson.reply,
                rating=_rating(lesson) if lesson.ratings else None,
            )
            for lesson in chosen
        ]

    def _pictures(self, scenes: Sequence[Scene], rng: np.random.Generator) -> tuple[Image.Image, ...]:
        if not scenes:
            return ()
        seen = mirrored(self._pixels[[self._index[scene] for scene in scenes]], rng)
        return tuple(Image.fromarray(one.transpose(1, 2, 0)) for one in seen)

    def _imagine(self, rng: np.random.Generator) -> Imagine:
        scene = self._album.any(rng)
        anywhere = AffectPoint(*(float(value) for value in rng.uniform(SCALE_MIN, SCALE_MAX, 2)))
        target = affect(scene) if rng.random() < _OWN_POINT else anywhere
        digits = 0 if rng.random() < _WHOLE else 1
        target = AffectPoint(round(target.valence, digits), round(target.arousal, digits))
        subject, prompt = scene.subject, ""
        if rng.random() < _UNKNOWN:
            subject = OBJECTS[int(rng.integers(len(OBJECTS)))]
            prompt = invented_prompt(rng, "house")
        kept = _OUTSIDE if prompt else core(scene)
        return Imagine(
            imagination=Imagination(prompt=prompt or _prompt(scene, rng), target=target),
            ways=tuple(
                Way(rating=_rating_of(target, one, rng), thought=thought(kept, one))
                for one in (imagined_scene(target, subject, scene.place, way) for way in range(self._ways))
            ),
        )


def lessons(folder: Path, ways: int) -> WorldLessons:
    """The nano world as a source of lessons; pictures are drawn into `folder` the first time."""
    return WorldLessons(folder / "pictures", ways)


def thought(kept: str, scene: Scene) -> str:
    """What a judge has in mind of a scene, in words: all of its parts, from which its feeling follows."""
    return f"{depiction(kept, scene)}."


def _prompt(scene: Scene, rng: np.random.Generator) -> str:
    draw = rng.random()
    if draw < _NEUTRAL:
        return neutral_caption(scene, rng)
    if draw < _REWRITTEN:
        return depiction(core(scene), scene)
    return emotional_caption(mentioned(scene, rng), rng)


def _rating_of(point: AffectPoint, scene: Scene, rng: np.random.Generator) -> Rating:
    valence, arousal = (min(9, int(value + rng.random())) for value in (point.valence, point.arousal))
    return Rating(reply=f"{valence} {arousal} {emotion(scene)}", point=point)


def _rating(lesson: Lesson) -> Rating:
    valence, arousal, control = lesson.ratings
    return Rating(reply=lesson.reply, point=AffectPoint(valence, arousal), dominance=control)
