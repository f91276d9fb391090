"""One iteration's rollout: whole groups in a fixed order, whatever happens on the way."""

import asyncio
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emofeedback.domain.assessment import AssessmentOutcome
from emofeedback.domain.errors import FailedPrecondition, InternalError, Unavailable
from emofeedback_trainer.core.task import load_task
from emofeedback_trainer.flow_grpo import outage as outages
from emofeedback_trainer.flow_grpo.events import RunPaused, RunResumed
from emofeedback_trainer.flow_grpo.learning import TrainingIntegrityError
from emofeedback_trainer.flow_grpo.outage import Outage
from emofeedback_trainer.flow_grpo.prompts import plan
from emofeedback_trainer.flow_grpo.rollout import roll_out
from emofeedback_trainer.flow_grpo.types import Rollout
from emofeedback_trainer.flow_grpo.versions import PolicyVersion, Versions
from support.fakes import GENERATOR_MODEL, UNREADABLE, Picture, ScriptedJudge, arbitrary_feeling, assessment, look
from support.scripted_training import SMALL, StoreGenerator, SummingLearner, store_of

PLANS = plan(load_task("nano").training, replace(SMALL, groups=3, num_generations=2), 0)
SPOILED = PLANS[1].seeds[1]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "_FIRST_PAUSE", 0.01)


@pytest.fixture
def version(tmp_path: Path) -> PolicyVersion:
    versions = Versions(config=SMALL, store=store_of(tmp_path), base=GENERATOR_MODEL)
    return versions.publish(0, SummingLearner().adapter(averaged=False))


@pytest.fixture
def generator(tmp_path: Path) -> StoreGenerator:
    return StoreGenerator(store=store_of(tmp_path))


async def rolled(
    version: PolicyVersion,
    generator: Any,
    judge: Any,
    told: list[Any] | None = None,
    *,
    patience: float = 0.0,
    together: int = 2,
) -> Rollout:
    return await roll_out(
        PLANS,
        iteration=0,
        version=version,
        config=replace(SMALL, max_concurrent_groups=together),
        generator=generator,
        judge=judge,
        outage=Outage(patience, ([] if told is None else told).append),
    )


async def test_groups_and_samples_are_in_the_plans_order_whatever_comes_first(
    version: PolicyVersion, generator: StoreGenerator
) -> None:
    in_order = await rolled(version, generator, ScriptedJudge(), together=1)
    generator.backwards, generator.delay = True, 0.001
    mixed = await rolled(version, generator, ScriptedJudge(delay=0.002), together=3)
    assert mixed.groups == in_order.groups
    assert [group.condition for group in mixed.groups] == [each.condition for each in PLANS]
    assert [[s.trajectory.seed for s in group.samples] for group in mixed.groups] == [list(p.seeds) for p in PLANS]


async def test_a_picture_is_judged_while_the_next_is_painted(version: PolicyVersion, generator: StoreGenerator) -> None:
    seen_with: list[int] = []

    def feeling(picture: Picture) -> AssessmentOutcome:
        seen_with.append(generator.images_done)
        return arbitrary_feeling(picture)

    generator.delay = 0.005
    await rolled(version, generator, ScriptedJudge(feeling=feeling), together=1)
    assert seen_with == [1, 2, 3, 4, 5, 6]


async def test_the_generator_reads_the_target_and_the_scorer_does_not(
    version: PolicyVersion, generator: StoreGenerator
) -> None:
    asked: list[str] = []

    def alignment(picture: Picture, prompt: str) -> float:
        asked.append(prompt)
        return 0.5

    await rolled(version, generator, ScriptedJudge(alignment=alignment))
    assert {group.start_seed for group in generator.groups} == {each.start_seed for each in PLANS}
    assert {group.prompt for group in generator.groups} == {each.condition.caption for each in PLANS}
    assert set(asked) == {each.condition.prompt for each in PLANS}


def spoiled(picture: Picture, outcome: AssessmentOutcome) -> AssessmentOutcome:
    return outcome if picture.seed == SPOILED else arbitrary_feeling(picture)


@pytest.mark.parametrize(
    ("judge", "reason"),
    [
        (ScriptedJudge(feeling=lambda p: spoiled(p, UNREADABLE)), "unreadable assessment"),
        (
            ScriptedJudge(feeling=lambda p: spoiled(p, replace(assessment(5, 5), valence=math.nan))),
            "non-finite assessment",
        ),
        (ScriptedJudge(alignment=lambda p, _: math.inf if p.seed == SPOILED else 0.5), "non-finite alignment"),
    ],
)
async def test_one_bad_sample_drops_its_whole_group_and_is_counted(
    judge: ScriptedJudge, reason: str, version: PolicyVersion, generator: StoreGenerator
) -> None:
    rollout = await rolled(version, generator, judge)
    assert [group.condition for group in rollout.groups] == [PLANS[0].condition, PLANS[2].condition]
    assert rollout.dropped == {reason: 1}


async def test_a_judge_that_dies_is_waited_for_and_never_becomes_a_reward(
    version: PolicyVersion, generator: StoreGenerator
) -> None:
    undisturbed = await rolled(version, generator, ScriptedJudge())
    judge = ScriptedJudge()
    told: list[object] = []
    deaths = iter(range(3))

    def feeling(picture: Picture) -> AssessmentOutcome:
        if next(deaths, None) is not None:
            raise Unavailable("the judge is restarting")
        return arbitrary_feeling(picture)

    judge.feeling = feeling
    rollout = await rolled(version, generator, judge, told, patience=60.0)
    assert rollout.groups == undisturbed.groups
    assert not rollout.dropped
    assert [type(event) for event in told] == [RunPaused, RunResumed]
    assert isinstance(told[0], RunPaused) and told[0].reason == "the judge is restarting"


async def test_a_generator_that_dies_in_a_group_paints_it_again(
    version: PolicyVersion, generator: StoreGenerator
) -> None:
    undisturbed = await rolled(version, generator, ScriptedJudge())
    generator.groups.clear()
    generator.failures = {(1, 1): Unavailable("a replica is gone")}
    rollout = await rolled(version, generator, ScriptedJudge(), patience=60.0)
    assert rollout.groups == undisturbed.groups
    assert len(generator.groups) == 4


async def test_patience_ends(version: PolicyVersion, generator: StoreGenerator) -> None:
    judge = ScriptedJudge(failures={"assess_stream": Unavailable("gone for good")})
    with pytest.raises(Unavailable, match="gone for good"):
        await rolled(version, generator, judge, patience=0.05)


async def test_an_error_that_waiting_does_not_cure_ends_the_rollout_at_once(
    version: PolicyVersion, generator: StoreGenerator
) -> None:
    told: list[Any] = []
    judge = ScriptedJudge(failures={"score": FailedPrecondition("no scorer")})
    with pytest.raises(FailedPrecondition, match="no scorer"):
        await rolled(version, generator, judge, told, patience=60.0)
    assert not told
    await asyncio.sleep(0.01)
    painted = generator.images_done
    await asyncio.sleep(0.05)
    assert generator.images_done == painted, "the other groups go on being painted"


async def test_a_defect_is_not_waited_for(version: PolicyVersion, generator: StoreGenerator) -> None:
    generator.failures = {(0, 0): InternalError("a defect")}
    with pytest.raises(InternalError):
        await rolled(version, generator, ScriptedJudge(), patience=60.0)


async def test_another_policy_than_the_one_asked_for_stops_the_run(
    version: PolicyVersion, generator: StoreGenerator
) -> None:
    generator.digest = "sha256:" + "5" * 64
    with pytest.raises(TrainingIntegrityError, match="sha256:5555"):
        await rolled(version, generator, ScriptedJudge())


def test_the_pictures_that_are_judged_are_those_of_the_trajectories(
    version: PolicyVersion, generator: StoreGenerator
) -> None:
    rollout = asyncio.run(rolled(version, generator, ScriptedJudge()))
    for group in rollout.groups:
        for sample in group.samples:
            assert look(sample.trajectory.image).seed == sample.trajectory.seed
            assert sample.assessment == arbitrary_feeling(look(sample.trajectory.image))
