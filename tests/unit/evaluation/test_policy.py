"""Policy, base and the middle of the plane side by side; what reward and textual feedback deliver."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from emofeedback.domain.affect import distance
from emofeedback.domain.errors import FailedPrecondition
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback_trainer.cli import main
from emofeedback_trainer.core.pairs import MIDDLE
from emofeedback_trainer.evaluation import policy as comparison
from emofeedback_trainer.evaluation.ablation import Delivered, deliver
from emofeedback_trainer.evaluation.observations import Observation
from emofeedback_trainer.evaluation.policy import Measured, Row, compare, measured
from emofeedback_trainer.evaluation.policy_cli import own_sampling, to_json, to_markdown
from emofeedback_trainer.evaluation.provenance import Data, Model, Provenance
from emofeedback_trainer.nano.task import TASK
from support.fakes import GENERATOR_MODEL, Picture, ScriptedGenerator, ScriptedJudge, assessment, paint

PAIRS = TASK.evaluation
TARGETS = np.array([(pair.target.valence, pair.target.arousal) for pair in PAIRS])
IMAGES = 4


def following(share: float, noise: float, *, subjects: float = 1.0, diversity: float = 0.2, seed: int = 0) -> Measured:
    """A policy whose pictures lie at a share of the way from the middle to the target, plus noise."""
    rng = np.random.default_rng(seed)
    points = 5 + share * (TARGETS[:, None] - 5) + rng.normal(0, noise, (len(PAIRS), IMAGES, 2))
    return Measured(
        points=points.clip(1, 9),
        subjects=(rng.random((len(PAIRS), IMAGES)) < subjects).astype(float),
        alignments=rng.normal(0.6, 0.05, (len(PAIRS), IMAGES)),
        appearances=rng.normal(0.4, 0.05, (len(PAIRS), IMAGES, 3)),
        diversities=rng.normal(diversity, 0.02, len(PAIRS)),
    )


@cache
def rows(policy: Measured, base: Measured) -> dict[str, Row]:
    return {row.what: row for row in compare(PAIRS, policy, base)}


GOOD, BASE = following(0.9, 0.5), following(0.1, 1.6, seed=1)


def test_a_policy_that_follows_reaches_every_aim() -> None:
    found = rows(GOOD, BASE)
    assert all(row.reached in (True, None) for row in found.values())
    assert sum(row.reached is True for row in found.values()) == 6


def test_a_policy_that_collapsed_to_the_middle_is_found_out() -> None:
    """It beats the base's error, and nothing else."""
    found = rows(following(0.0, 0.01, diversity=0.02), BASE)
    assert found["lower than the base's by"].policy > 0
    assert found["lower than the middle's by"].policy == pytest.approx(0, abs=0.01)
    missed = {what for what, row in found.items() if row.reached is False}
    assert missed >= {
        "lower than the middle's by",
        "valence: correlation of result with target",
        "arousal: correlation of result with target",
        "diversity, share of the base's",
    }


def test_errors_are_distances_on_the_plane_and_the_middle_has_one_too() -> None:
    error = rows(following(1.0, 0.0), BASE)["error abs(dV) + abs(dA)"]
    assert error.policy == 0
    assert error.middle == pytest.approx(np.mean([distance(pair.target, MIDDLE) for pair in PAIRS]))
    assert error.base == pytest.approx(np.abs(BASE.points - TARGETS[:, None]).sum(axis=2).mean())


def test_a_policy_that_lost_its_subjects_is_told_in_percentage_points() -> None:
    lost = rows(following(0.9, 0.5, subjects=0.8), BASE)["subject lost, percentage points"]
    assert lost.policy == pytest.approx(20, abs=7) and lost.reached is False


def test_intervals_hold_the_value_and_tell_chance_from_gain() -> None:
    for row in rows(GOOD, BASE).values():
        assert row.low <= row.policy <= row.high
    by_chance = rows(following(0.1, 1.6, seed=2), BASE)["lower than the base's by"]
    assert by_chance.low < 0 < by_chance.high


def test_the_table_says_what_was_aimed_at_and_what_was_reached() -> None:
    table = comparison.markdown(list(rows(GOOD, BASE).values())).splitlines()
    assert all(line.count("|") == 8 for line in table)
    (line,) = [line for line in table if "lower than the base's by" in line]
    assert line.endswith("| at least 0.25 | yes |")


def observed(seed: int, independent: Any) -> Observation:
    return Observation(seed=seed, image=paint("a", seed), judged=None, alignment=0.5, independent=independent)


def test_pictures_become_arrays_by_pair() -> None:
    pair = PAIRS[0]
    seen = SimpleNamespace(valence=3.0, arousal=4.0, subject=pair.subject)
    other = SimpleNamespace(valence=6.0, arousal=7.0, subject="zebra")
    arrays = measured([pair], [[observed(1, seen), observed(2, other)]])
    assert arrays.points.tolist() == [[[3.0, 4.0], [6.0, 7.0]]]
    assert arrays.subjects.tolist() == [[1.0, 0.0]]
    assert arrays.appearances.shape == (1, 2, 3) and arrays.diversities.shape == (1,)
    with pytest.raises(FailedPrecondition, match="needs an independent judge"):
        measured([pair], [[observed(1, seen), observed(2, None)]])


def test_the_record_says_with_what_it_was_measured() -> None:
    settings = replace(NANO_PROFILE.generator, steps=14, guidance=2.5, policy="calm-final")
    profile = replace(NANO_PROFILE, generator=settings)
    maker = Model(
        role="generator",
        name=GENERATOR_MODEL.name,
        digest=GENERATOR_MODEL.digest,
        policy="calm-final",
        policy_digest="sha256:" + "a" * 64,
    )
    provenance = Provenance(
        command="emofeedback-train evaluate policy", seed=0, models=(maker,), data=(Data.of_pairs("pairs", PAIRS),)
    )
    table = list(rows(GOOD, BASE).values())
    content = json.loads(json.dumps(to_json(table, profile, provenance)))
    assert (content["steps"], content["guidance"], content["images"]) == (14, 2.5, 4)
    assert content["metrics"][1]["reached"] is True
    assert content["provenance"]["models"][0]["policy_digest"] == maker.policy_digest
    assert content["provenance"]["data"][0]["n"] == 48
    text = to_markdown(table, profile, provenance)
    assert (
        "calm-final in 14 steps and guidance 2.5, base in 14" in text
        and "with policy calm-final (sha256:aaaaaaaaaaaa)" in text
    )


def test_a_policy_with_steps_of_its_own_is_told_with_them() -> None:
    own = own_sampling(NANO_PROFILE)
    assert own is not None and (len(own.levels), own.guidance) == (4, 1)
    provenance = Provenance(command="", seed=0, models=(), data=())
    text = to_markdown([], NANO_PROFILE, provenance, own)
    settings = NANO_PROFILE.generator
    theirs = f"{settings.steps} steps and guidance {settings.guidance:g}"
    assert f"{settings.policy} in 4 steps and guidance 1, base in {theirs}" in text
    assert to_json([], NANO_PROFILE, provenance, own)["steps"] == 4


# --- the ablation --------------------------------------------------------------------------------------------------


def feeling(picture: Picture) -> Any:
    """Pictures of a rewritten prompt feel as the target says, all others like the middle, a little more each."""
    words = picture.prompt.replace(",", "").split()
    if "bright" in words:
        return assessment(float(words[-3]), float(words[-1]))
    return assessment(5 + picture.seed % 8 / 100, 5)


async def ablate(folder: Path, generator: ScriptedGenerator) -> dict[str, list[Delivered]]:
    judge = ScriptedJudge(
        feeling=feeling, rewrites=iter(lambda: "<prompt>a bright girl</prompt>", None), similarity=lambda a, b: 0.9
    )
    profile = replace(
        NANO_PROFILE, optimizer=replace(NANO_PROFILE.optimizer, image_floor=2.0, rewrites=1, memory="", vocabulary="")
    )
    return await deliver(PAIRS[:4], "calm", folder, profile=profile, generator=generator, judge=judge)


async def test_textual_feedback_is_what_the_loop_adds_to_its_first_round(tmp_path: Path) -> None:
    generator = ScriptedGenerator(steps=1, known_policies=("base", "calm"))
    found = await ablate(tmp_path, generator)
    assert list(found) == ["base", "reward feedback", "textual feedback", "both"]
    errors = {way: [distance(one.judged, one.pair.target) for one in each] for way, each in found.items()}
    middle = np.mean([distance(pair.target, MIDDLE) for pair in PAIRS[:4]])
    assert np.mean(errors["base"]) == pytest.approx(middle, abs=0.1)
    assert errors["textual feedback"] == errors["both"] == [0] * 4
    assert {len(one.last) for each in found.values() for one in each} == {8}
    assert all(one.chosen.parent.name == "round-1" for one in (*found["base"], *found["reward feedback"]))


async def test_without_a_policy_there_is_only_the_base(tmp_path: Path) -> None:
    generator, judge = ScriptedGenerator(steps=1), ScriptedJudge()
    found = await deliver(PAIRS[:1], "", tmp_path, profile=NANO_PROFILE, generator=generator, judge=judge)
    assert list(found) == ["base", "textual feedback"]


async def test_both_policies_read_the_target_in_numbers_at_the_same_seeds(tmp_path: Path) -> None:
    generator = ScriptedGenerator(steps=1, known_policies=("base", "calm"))
    await ablate(tmp_path, generator)
    first = [request for request in generator.requests if "bright" not in request.prompt]
    for policy in ("base", "calm"):
        asked = [request for request in first if request.policy == policy]
        assert [request.prompt for request in asked[:4]] == [pair.caption for pair in PAIRS[:4]]
    seeds = [[r.seeds for r in generator.requests if r.policy == policy] for policy in ("base", "calm")]
    assert seeds[0] == seeds[1]


async def test_a_cut_ablation_goes_on_where_it_was(tmp_path: Path) -> None:
    first = ScriptedGenerator(steps=1, known_policies=("base", "calm"))
    whole = await ablate(tmp_path, first)
    asked = len(first.requests)
    assert await ablate(tmp_path, first) == whole
    assert len(first.requests) == asked


# --- the command ---------------------------------------------------------------------------------------------------

SHELF = NANO_PROFILE.generator.policies


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "policy: is missing"),
        (["--policies", "shelf"], "policy: is missing"),
        (["--policy", "p"], "policies: is missing"),
        (["--policy", "p", "--policies", "shelf", "--limit", "1"], "limit: is 1, it must be 2 or more"),
        (["--policy", "nano-final", "--policies", SHELF, "--task", "nowhere"], "prompts: 'nowhere' is neither"),
        (["--policy", "p", "--profile", "none"], "profile: 'none' is neither"),
    ],
)
def test_bad_input_is_said_before_any_model_is_loaded(
    words: list[str], problem: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = replace(NANO_PROFILE, generator=replace(NANO_PROFILE.generator, policies="", policy=""))
    monkeypatch.setattr("emofeedback.profiles.overrides.PROFILES", {"nano": bare})
    assert main(["evaluate", "policy", *words]) == 2
    assert problem in capsys.readouterr().err
