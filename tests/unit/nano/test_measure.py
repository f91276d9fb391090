"""What the metrics of the embedded models count, on replies that are known."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.assessment import Assessment
from emofeedback.domain.optimization import GradientRequest
from emofeedback.domain.text import words
from emofeedback.judge.certainty import ranked
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.storage.vocabulary import Vocabulary
from emofeedback_trainer.nano.measure.agent import Rewriting, agent_metrics
from emofeedback_trainer.nano.measure.evaluate import Metric, markdown
from emofeedback_trainer.nano.measure.generator import page
from emofeedback_trainer.nano.measure.judge import errors
from emofeedback_trainer.nano.world.language import Album, Situation, situation
from emofeedback_trainer.nano.world.numbered import scene_at
from emofeedback_trainer.nano.world.rendering import render
from emofeedback_trainer.nano.world.scenes import SUBJECTS, Scene, affect, dominance, emotion, leanings, sample_scene
from support.fakes import ScriptedGenerator, assessment, paint


@pytest.fixture(scope="module")
def now() -> Situation:
    rng = np.random.default_rng(0)
    album = Album([sample_scene(rng, subject="dog", place="lake") for _ in range(3)])
    scene = sample_scene(rng, subject="dog", place="lake")
    text = "a dog by a lake"
    return replace(
        situation(album, rng),
        original=text,
        kept=text,
        known=True,
        prompt=text,
        aim=scene,
        target=AffectPoint(8.0, 7.5),
    )


def rewritten(now: Situation, prompt: str) -> Rewriting:
    return Rewriting(situation=now, analysis="Add balloons.", prompt=prompt)


def test_a_rewrite_toward_the_target_keeps_every_word_of_subject_and_place(now: Situation) -> None:
    good = rewritten(now, "a smiling dog by a lake under a sunny sky, with fireworks, vivid light")
    assert good.usable
    assert good.keeps_subject
    assert good.on_targets_side
    assert good.nearer


def test_a_lost_subject_and_cues_on_the_wrong_side_count_against(now: Situation) -> None:
    bad = rewritten(now, "a crying cat by a lake under a foggy sky, with tombstones")
    assert not bad.keeps_subject
    assert bad.on_targets_side is False
    assert bad.nearer is False


def test_cues_that_go_too_far_lie_on_the_targets_side_and_bring_no_nearer(now: Situation) -> None:
    mild = replace(now, target=AffectPoint(7.0, 4.2))
    cues = "under a sunny sky, with rainbow and balloons and fireworks, vivid light"
    much = rewritten(mild, f"a smiling dog by a lake {cues}")
    assert much.on_targets_side
    assert much.nearer is False


def test_a_target_where_the_bare_prompt_lies_asks_for_no_cue(now: Situation) -> None:
    there = rewritten(replace(now, target=AffectPoint(5.4, 4.5)), "a dog by a lake")
    assert there.on_targets_side is None
    assert there.nearer is None


@pytest.mark.parametrize(
    ("analysis", "direction", "seen"),
    [
        ("Of flowers. To be calmer, add candles; take out red light.", True, True),
        ("To be more pleasant and calmer, add candles; take out fire.", False, False),
        ("Add candles.", False, True),
        ("The first is grey because of golden light. To be calmer, add candles.", True, False),
    ],
)
def test_an_analysis_is_held_against_the_numbers_and_the_judges_words(
    now: Situation, analysis: str, direction: bool, seen: bool
) -> None:
    asked = GradientRequest(
        prompt="a dog with flowers",
        target=AffectPoint(3.0, 4.0),
        best_image=b"",
        best=assessment(3.3, 6.0, "It shows a dog in red light."),
        worst_image=b"",
        worst=assessment(7.0, 2.0, "It shows a golden dog."),
    )
    one = Rewriting(situation=now, comparison=asked, analysis=analysis)
    assert (one.direction_is_true, one.names_what_was_seen) == (direction, seen)


def test_a_rewrite_of_other_words_than_the_prompts_and_the_generators_is_counted(now: Situation) -> None:
    known = Vocabulary(frozenset({"under", "sunny", "sky"}))
    assert rewritten(now, "a dog by a lake under a sunny sky").holds_only(known)
    assert not rewritten(now, "a dogg by a lake under a sunny sky").holds_only(known)


def test_an_unreadable_reply_counts_only_as_unusable(now: Situation) -> None:
    good = rewritten(now, "a smiling dog by a lake under a sunny sky, with fireworks, vivid light")
    metrics = agent_metrics([good, Rewriting(situation=now)], Vocabulary(None))
    assert metrics["usable"] == 0.5
    assert metrics["keeps_known_subject"] == metrics["on_targets_side"] == metrics["nearer"] == 1.0


def test_a_judge_that_says_what_the_world_says_has_no_error_and_the_whole_ranking_score() -> None:
    scenes = [scene_at("evaluation", index) for index in range(20)]

    def felt(scene: Scene, off: float) -> Assessment:
        # Shares as the world weighs its emotions, by the logarithms that nearness is.
        shares = {name: math.exp(near) for name, near in leanings(scene).items()}
        point = affect(scene)
        return replace(
            assessment(point.valence, point.arousal),
            emotion=emotion(scene),
            confidence=1.0,
            dominance=dominance(scene) + off,
            emotions=ranked({name: share / sum(shares.values()) for name, share in shares.items()}),
        )

    found = {name: one.value for name, one in errors([felt(scene, 0.25) for scene in scenes], scenes).items()}
    assert (found["valence_mae"], found["arousal_mae"], found["class_accuracy"], found["ece"]) == (0, 0, 1, 0)
    assert found["dominance_mae"] == pytest.approx(0.25) and found["ranking_score"] == pytest.approx(100)
    silent = [replace(felt(scene, 0), dominance=None, emotions=()) for scene in scenes]
    assert not {"dominance_mae", "ranking_score"} & errors(silent, scenes).keys()


def test_the_profile_tells_people_all_subjects_of_its_world() -> None:
    assert set(words(NANO_PROFILE.generator.subjects)) - {"a", "or"} == set(SUBJECTS)


def test_the_table_says_which_metrics_are_reached() -> None:
    rows = [
        Metric(what="error", value=0.4, aim=0.45, at_most=True, n=10),
        Metric(what="share", value=0.4, aim=0.45, n=10),
        Metric(what="note", value=0.4, aim=None, n=10, low=0.3, high=0.52),
    ]
    assert [row.reached for row in rows] == [True, False, None]
    assert "| error | 10 | 0.400 | at most 0.45 | yes |" in markdown(rows)
    assert "| share | 10 | 0.400 | at least 0.45 | no |" in markdown(rows)
    assert "| note | 10 | 0.400 [0.300, 0.520] |" in markdown(rows)


async def test_the_page_has_every_scene_beside_what_is_painted_of_its_caption() -> None:
    generator = ScriptedGenerator()
    sheet = np.asarray(await page(generator, seed=5), int)
    assert len(generator.requests) == 48 and {request.policy for request in generator.requests} == {""}
    tile, gap = 128, 6
    for index in (0, 7, 47):
        x, y = gap + index % 6 * (2 * tile + gap), gap + index // 6 * (tile + gap)
        drawn = render(scene_at("evaluation", 5 + index)).resize((tile, tile), Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(sheet[y : y + tile, x : x + tile], np.asarray(drawn))
        request = generator.requests[index]
        painted = Image.open(io.BytesIO(paint(request.prompt, request.seeds[0]))).convert("RGB")
        expected = painted.resize((tile, tile), Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(sheet[y : y + tile, x + tile : x + 2 * tile], np.asarray(expected))
