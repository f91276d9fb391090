"""The nano world: what scenes feel like, and that every feeling can be had with every subject in every place."""

import numpy as np
import pytest

from emofeedback.domain.affect import AffectPoint, Emotion, clip_to_scale, distance, target_phrase
from emofeedback_trainer.nano.measure.judge import other_side
from emofeedback_trainer.nano.world.captions import WORDS, emotional_caption, known_words, neutral_caption
from emofeedback_trainer.nano.world.numbered import scene_at
from emofeedback_trainer.nano.world.rendering import render
from emofeedback_trainer.nano.world.scenes import (
    CENTER,
    EXPRESSIONS,
    EXTRAS,
    LIGHTS,
    LIVING,
    PLACES,
    SUBJECTS,
    WEATHERS,
    Scene,
    affect,
    effects,
    emotion,
    sample_scene,
    scene_near,
)


def _scene(**changes: object) -> Scene:
    plain: dict[str, object] = {
        "subject": "house",
        "expression": "",
        "place": "meadow",
        "weather": "sunny",
        "extras": (),
        "light": "",
        "layout": 1,
    }
    return Scene(**(plain | changes))  # type: ignore[arg-type]


def test_the_world_is_as_large_as_promised() -> None:
    assert len(SUBJECTS) >= 12 and len(PLACES) >= 8 and len(WEATHERS) >= 9 and len(EXTRAS) >= 12


def test_effects_add_up_to_the_affect_of_the_scene() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        scene = sample_scene(rng)
        valence = CENTER.valence + sum(effect.d_valence for effect in effects(scene))
        arousal = CENTER.arousal + sum(effect.d_arousal for effect in effects(scene))
        assert affect(scene) == AffectPoint(clip_to_scale(valence), clip_to_scale(arousal))


def test_fire_frightens_beside_a_child_and_warms_under_a_kettle() -> None:
    def change_by_fire(subject: str) -> float:
        return affect(_scene(subject=subject, extras=("fire",))).valence - affect(_scene(subject=subject)).valence

    assert change_by_fire("girl") < change_by_fire("house") < 0 < change_by_fire("kettle")
    assert "fire close to a living being" in {
        effect.name for effect in effects(_scene(subject="girl", extras=("fire",)))
    }


@pytest.mark.parametrize(("subject", "place"), list(zip(SUBJECTS, (*PLACES, *PLACES), strict=False)))
def test_every_feeling_but_the_extreme_corners_is_within_reach(subject: str, place: str) -> None:
    rng = np.random.default_rng(1)
    points = [affect(sample_scene(rng, subject=subject, place=place)) for _ in range(3000)]
    for valence in range(1, 10):
        for arousal in range(1, 10):
            if abs(valence - 5) + abs(arousal - 5) <= 5:
                wanted = AffectPoint(float(valence), float(arousal))
                assert min(distance(point, wanted) for point in points) < 1.0, wanted


def test_each_emotion_comes_about_in_many_ways() -> None:
    rng = np.random.default_rng(2)
    ways: dict[Emotion, set[tuple[str, ...]]] = {name: set() for name in Emotion}
    for _ in range(4000):
        scene = sample_scene(rng)
        ways[emotion(scene)].add((scene.weather, *scene.extras))
    assert all(len(combinations) >= 20 for combinations in ways.values())
    leanings = {name: {extra for way in combinations for extra in way[1:]} for name, combinations in ways.items()}
    assert all(len(extras) >= 3 for extras in leanings.values())


def test_an_emotion_never_stands_on_the_other_side_of_neutral() -> None:
    felt = [(affect(scene), emotion(scene)) for scene in (scene_at("evaluation", index) for index in range(4000))]
    assert other_side(felt).value == 0


def test_fixed_attributes_stay_and_the_rest_varies() -> None:
    rng = np.random.default_rng(3)
    scenes = [sample_scene(rng, subject="dog", weather="rainy", extras=(), light="") for _ in range(40)]
    assert {(s.subject, s.weather, s.extras, s.light) for s in scenes} == {("dog", "rainy", (), "")}
    assert len({s.place for s in scenes}) > 3 and len({s.expression for s in scenes}) > 3


def test_objects_have_no_expression() -> None:
    rng = np.random.default_rng(4)
    assert all(sample_scene(rng, subject="boat", expression="smiling").expression == "" for _ in range(10))


def test_a_good_rewrite_can_be_found_near_a_target() -> None:
    target = AffectPoint(7.5, 2.5)
    scene = scene_near(np.random.default_rng(5), target, subject="girl", place="city")
    assert (scene.subject, scene.place) == ("girl", "city")
    assert distance(affect(scene), target) < 1.5


def test_numbered_scenes_come_again_and_splits_differ() -> None:
    assert scene_at("judge", 17) == scene_at("judge", 17)
    assert scene_at("judge", 17) != scene_at("critic", 17)


def test_the_neutral_caption_leaves_the_feeling_open() -> None:
    rng = np.random.default_rng(6)
    scene = _scene(subject="dog", expression="crying", weather="stormy", extras=("fire",), light="red")
    for _ in range(20):
        words = set(known_words(neutral_caption(scene, rng)))
        assert {"dog", "meadow"} <= words
        assert not words & {*WEATHERS, *EXTRAS, *EXPRESSIONS, *LIGHTS}


def test_the_emotional_caption_names_everything_that_moves_the_feeling() -> None:
    rng = np.random.default_rng(7)
    for _ in range(200):
        scene = sample_scene(rng)
        words = set(known_words(emotional_caption(scene, rng)))
        named = {scene.subject, scene.place, scene.weather, scene.expression, scene.light, *scene.extras} - {""}
        assert named <= words


def test_captions_and_targets_use_only_the_vocabulary() -> None:
    rng = np.random.default_rng(8)
    for _ in range(500):
        scene = sample_scene(rng)
        for text in (neutral_caption(scene, rng), emotional_caption(scene, rng), target_phrase(affect(scene))):
            assert set(known_words(text)) <= WORDS


def test_a_scene_is_always_painted_the_same_and_layouts_differ() -> None:
    scene = _scene(subject="cat", expression="angry", extras=("crows", "candles"))
    assert render(scene).tobytes() == render(scene).tobytes()
    assert render(scene).tobytes() != render(_scene(subject="cat", expression="angry", layout=2)).tobytes()
    assert render(scene, 96).size == (96, 96)


@pytest.mark.parametrize(
    "change",
    [
        *({"extras": (extra,)} for extra in EXTRAS),
        *({"weather": weather} for weather in WEATHERS if weather != "sunny"),
        *({"light": light} for light in LIGHTS),
        *({"expression": expression} for expression in EXPRESSIONS),
    ],
    ids=lambda change: str(next(iter(change.values()))),
)
def test_every_attribute_shows_in_the_picture(change: dict[str, object]) -> None:
    plain, changed = _scene(subject="girl"), _scene(subject="girl", **change)
    difference = np.abs(np.asarray(render(plain), float) - np.asarray(render(changed), float)).max(axis=2)
    assert (difference > 24).mean() > 0.01


def test_every_subject_fills_the_middle_of_the_picture() -> None:
    pictures = {subject: np.asarray(render(_scene(subject=subject, place="beach"), 128), float) for subject in SUBJECTS}
    middle = (slice(56, 108), slice(44, 84))
    for subject, picture in pictures.items():
        for other, another in pictures.items():
            if other != subject:
                assert np.abs(picture[middle] - another[middle]).mean() > 8, (subject, other)
    assert set(LIVING) <= set(SUBJECTS)
