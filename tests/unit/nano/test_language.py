"""What the embedded judge and agent are taught is true of the scenes, and exactly what the services ask."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Qwen2VLImageProcessorPil

from emofeedback.domain.affect import AffectPoint, distance
from emofeedback.domain.assessment import Assessment
from emofeedback.judge.engines.completion import Completion
from emofeedback.judge.parsing import parse_rating, parse_reasoning
from emofeedback.judge.prompts import rating_conversation, reasoning_conversation
from emofeedback.optimizer.parsing import parse_gradient, parse_update
from emofeedback_trainer.nano.models.judge_model import GRID, patches
from emofeedback_trainer.nano.world.album import SEEN_SIZE
from emofeedback_trainer.nano.world.contrasts import fits, mentioned, one_word_changed, rewrite
from emofeedback_trainer.nano.world.language import (
    WAYS,
    Album,
    core,
    depiction,
    gradient_lesson,
    imagined_scene,
    rating_lesson,
    reasoning_lesson,
    situation,
    telling_scene,
    update_lesson,
)
from emofeedback_trainer.nano.world.numbered import scene_at
from emofeedback_trainer.nano.world.reading import in_the_mood, named_parts, parts_present
from emofeedback_trainer.nano.world.scenes import Scene, affect, emotion, sample_scene

SCENES = [scene_at("evaluation", index) for index in range(60)]


def said(text: str) -> Completion:
    return Completion(text, (), True)


@pytest.mark.parametrize("scene", SCENES[:20])
def test_a_reasoned_lesson_is_parsed_back_to_the_scenes_own_feeling(scene: Scene) -> None:
    lesson = reasoning_lesson(scene)
    outcome = parse_reasoning(said(lesson.reply))
    assert lesson.conversation == reasoning_conversation(b"")
    assert isinstance(outcome, Assessment)
    assert outcome.valence == pytest.approx(affect(scene).valence, abs=0.051)
    assert outcome.arousal == pytest.approx(affect(scene).arousal, abs=0.051)
    assert outcome.emotion is emotion(scene)
    assert named_parts(outcome.reasoning) == parts_present(scene)


def test_a_ratings_whole_numbers_are_right_on_average() -> None:
    scene, rng = SCENES[0], np.random.default_rng(0)
    outcomes = [parse_rating(said(rating_lesson(scene, rng).reply)) for _ in range(400)]
    assert rating_lesson(scene, rng).conversation == rating_conversation(b"")
    mean = np.mean([(o.valence, o.arousal) for o in outcomes if isinstance(o, Assessment)], axis=0)
    assert mean == pytest.approx([affect(scene).valence, affect(scene).arousal], abs=0.1)


def test_the_agents_lessons_are_readable_and_keep_the_subject() -> None:
    rng = np.random.default_rng(1)
    album = Album([sample_scene(rng, subject=subject, place="lake") for subject in ("dog", "boat") for _ in range(4)])
    for _ in range(60):
        now = situation(album, rng)
        prompt = parse_update(update_lesson(now).reply)
        assert parse_gradient(gradient_lesson(now).reply).startswith("The first picture is")
        assert len(gradient_lesson(now).pictures) == 2
        assert set(re.findall(r"[\w'-]+", now.kept)) <= set(re.findall(r"[\w'-]+", prompt)) | {"a", "an"}
        assert named_parts(prompt) >= parts_present(now.aim)
        assert distance(affect(now.best), now.target) <= distance(affect(now.worst), now.target)


def test_the_telling_scene_is_near_any_target_and_wastes_no_cue() -> None:
    targets = [AffectPoint(v, a) for v in (2.0, 5.0, 8.0) for a in (2.0, 5.0, 8.0)]
    scenes = [telling_scene(target, "dog", "lake") for target in targets]
    assert max(distance(affect(s), t) for s, t in zip(scenes, targets, strict=True)) < 1.0
    assert not telling_scene(AffectPoint(5.0, 4.2), "house", "meadow").extras


def test_every_way_to_imagine_a_feeling_is_near_it_and_shows_something_else() -> None:
    targets = [AffectPoint(v, a) for v in (2.0, 5.0, 8.0) for a in (2.0, 5.0, 8.0)]
    for target in targets:
        scenes = [imagined_scene(target, "dog", "lake", way) for way in range(WAYS)]
        assert {(scene.subject, scene.place) for scene in scenes} == {("dog", "lake")}
        assert max(distance(affect(scene), target) for scene in scenes) < 1.0
        assert len({frozenset(parts_present(scene)) for scene in scenes}) >= WAYS - 1  # two ways know storms


def test_a_text_about_a_scene_is_read_back() -> None:
    for scene in SCENES:
        bare = in_the_mood(scene, "")
        assert in_the_mood(bare, depiction(core(scene), scene)) == scene


def test_captions_with_one_word_changed_no_longer_fit() -> None:
    rng = np.random.default_rng(2)
    for scene in SCENES:
        part = mentioned(scene, rng)
        assert fits(part, scene)
        assert not fits(one_word_changed(part, scene, rng), scene)


def test_a_rewrite_and_its_lost_twin_differ() -> None:
    rng = np.random.default_rng(3)
    for scene in SCENES:
        pair = rewrite(scene, rng)
        assert pair.kept != pair.lost


def test_training_sees_the_same_patches_as_the_service() -> None:
    values = np.random.default_rng(4).integers(0, 256, (SEEN_SIZE, SEEN_SIZE, 3)).astype(np.uint8)
    processor = Qwen2VLImageProcessorPil(min_pixels=SEEN_SIZE**2, max_pixels=SEEN_SIZE**2)
    theirs = processor(images=Image.fromarray(values), return_tensors="pt")
    ours = patches(torch.from_numpy(values).permute(2, 0, 1)[None])
    assert theirs["image_grid_thw"].tolist() == [[1, GRID, GRID]]
    assert torch.allclose(ours, theirs["pixel_values"], atol=1e-4)
