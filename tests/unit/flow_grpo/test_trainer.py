"""The run as a whole, with a scripted generator and judge and a learner that only adds up."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest, ResourceExhausted, Unavailable
from emofeedback.domain.training import Alarm, IterationDone, PanelMeasured, PolicyPublished
from emofeedback.generator.policy_store import PolicyStore
from emofeedback.profiles.overrides import to_toml
from emofeedback_trainer.evaluation.panel import Panel
from emofeedback_trainer.flow_grpo import checkpoint as checkpoints
from emofeedback_trainer.flow_grpo import outage as outages
from emofeedback_trainer.flow_grpo import trainer as runs
from emofeedback_trainer.flow_grpo.config import FlowGrpoConfig, PanelConfig, load_config
from emofeedback_trainer.flow_grpo.events import RunEvent, RunFailed, RunFinished, RunPaused, RunResumed, RunStarted
from emofeedback_trainer.flow_grpo.trainer import RunResult, train
from emofeedback_trainer.nano.task import TASK
from support.fakes import UNREADABLE, ScriptedJudge
from support.scripted_training import SMALL, StoreGenerator, SummingLearner, store_of

TIMES = ("seconds", "images_per_second")


async def trained(
    folder: Path,
    config: FlowGrpoConfig = SMALL,
    *,
    learner: Any = None,
    judge: Any = None,
    resume: bool = False,
    on_event: Callable[[RunEvent], None] = lambda event: None,
) -> RunResult:
    return await train(
        config,
        folder,
        generator=StoreGenerator(store=config.policies or store_of(folder)),
        judge=judge or ScriptedJudge(),
        learner=learner or SummingLearner(),
        panel=Panel(pairs=TASK.panel[:2], images=2, rewards=config.rewards, independent=None),
        resume=resume,
        on_event=on_event,
    )


def curve(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's curve, without its times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def status(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "status.json").read_text())
    return found


async def test_a_run_paints_judges_learns_and_publishes_until_its_last_iteration(tmp_path: Path) -> None:
    told: list[RunEvent] = []
    learner = SummingLearner()
    result = await trained(tmp_path, learner=learner, on_event=told.append)
    assert [rollout.policy for rollout in learner.rollouts] == [f"small-{n:06d}" for n in range(4)]
    assert [line["iteration"] for line in curve(tmp_path)] == [1, 2, 3, 4]
    assert result.policy == "small-final"
    assert PolicyStore(store_of(tmp_path)).manifest("small-final").digest == result.digest
    assert [event.iteration for event in told if isinstance(event, IterationDone)] == [1, 2, 3, 4]
    assert isinstance(told[0], RunStarted)
    assert told[-1] == RunFinished(policy="small-final", digest=result.digest)
    assert (status(tmp_path)["state"], status(tmp_path)["iteration"]) == ("finished", 4)
    assert json.loads((tmp_path / "result.json").read_text())["policy_digest"] == result.digest
    assert load_config(str(tmp_path / "config.toml")) == SMALL


async def test_a_line_of_the_curve_says_everything_that_the_page_needs(tmp_path: Path) -> None:
    await trained(tmp_path, replace(SMALL, iterations=1))
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert line.keys() == {
        *("iteration", "seconds", "images_per_second", "policy", "groups", "groups_dropped"),
        *("reward", "reward_valence", "reward_arousal", "reward_alignment"),
        *("judge_valence_error", "judge_arousal_error", "judge_valence_correlation", "judge_arousal_correlation"),
        *("spread_valence", "spread_arousal", "loss", "kl", "clip_fraction", "ratio_deviation"),
        *("log_probability_drift", "gradient_norm"),
    }


def panel(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "eval.jsonl").read_text().splitlines()]


async def test_the_panel_is_measured_before_on_the_way_and_after(tmp_path: Path) -> None:
    told: list[RunEvent] = []
    await trained(tmp_path, replace(SMALL, panel=PanelConfig(every=2)), on_event=told.append)
    assert [line["iteration"] for line in panel(tmp_path)] == [0, 2, 4]
    assert [event.iteration for event in told if isinstance(event, PanelMeasured)] == [0, 2, 4]
    policies = [json.loads((tmp_path / f"panel/{n:06d}/pairs.json").read_text())["policy"] for n in (0, 2, 4)]
    assert policies == ["small-000000", "small-000002", "small-final"]
    assert panel(tmp_path)[0]["alarm"] == ""


async def test_an_alarm_of_the_panel_is_told(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(runs, "alarm", lambda history: "the pictures go dark" if len(history) > 1 else "")
    told: list[RunEvent] = []
    await trained(tmp_path, on_event=told.append)
    assert [event for event in told if isinstance(event, Alarm)] == [Alarm(iteration=4, text="the pictures go dark")]
    assert panel(tmp_path)[-1]["alarm"] == "the pictures go dark"


async def test_a_learner_that_disagrees_with_the_generator_raises_an_alarm(tmp_path: Path) -> None:
    told: list[RunEvent] = []
    await trained(tmp_path, replace(SMALL, iterations=1), learner=SummingLearner(drift=3e-4), on_event=told.append)
    assert ["same weights" in event.text for event in told if isinstance(event, Alarm)] == [True]


@pytest.mark.parametrize("cut_at", [0, 1, 3])
async def test_a_run_that_was_cut_ends_as_the_uninterrupted_one(cut_at: int, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    result = await trained(whole)
    with pytest.raises(RuntimeError, match="power"):
        await trained(cut, learner=SummingLearner(fails_at=cut_at))
    assert status(cut)["state"] == "failed"
    assert status(cut)["iteration"] == cut_at
    assert replace(await trained(cut, resume=True), seconds=result.seconds) == result
    assert curve(cut) == curve(whole)
    assert panel(cut) == panel(whole)


async def test_a_resumed_run_draws_the_batch_that_it_would_have_had(tmp_path: Path) -> None:
    first, second = SummingLearner(), SummingLearner()
    await trained(tmp_path / "whole", learner=first)
    with pytest.raises(RuntimeError):
        await trained(tmp_path / "cut", learner=SummingLearner(fails_at=2))
    await trained(tmp_path / "cut", learner=second, resume=True)
    assert [replace(r, seconds=0) for r in second.rollouts] == [replace(r, seconds=0) for r in first.rollouts[2:]]


async def test_lines_written_after_the_last_checkpoint_are_dropped(tmp_path: Path, monkeypatch: Any) -> None:
    def full(path: Path, data: bytes) -> None:
        raise ResourceExhausted("the disk is full")

    told: list[RunEvent] = []

    def on_event(event: RunEvent) -> None:
        told.append(event)
        if isinstance(event, IterationDone) and event.iteration == 2:
            monkeypatch.setattr(checkpoints, "write_whole", full)

    with pytest.raises(ResourceExhausted):
        await trained(tmp_path, on_event=on_event)
    monkeypatch.undo()
    assert told[-1] == RunFailed(message="the disk is full")
    assert status(tmp_path)["message"] == "the disk is full"
    assert [line["iteration"] for line in curve(tmp_path)] == [1, 2]
    assert [path.name for path in (tmp_path / "checkpoint").glob("0*")] == ["000001"]
    await trained(tmp_path, resume=True)
    assert [line["iteration"] for line in curve(tmp_path)] == [1, 2, 3, 4]


async def test_a_finished_run_is_resumed_in_vain_and_unharmed(tmp_path: Path) -> None:
    result = await trained(tmp_path)
    again = await trained(tmp_path, resume=True)
    assert again == result


async def test_a_finished_run_goes_on_to_more_iterations_and_leaves_both_of_its_ends(tmp_path: Path) -> None:
    first = await trained(tmp_path / "longer")
    config = replace(SMALL, iterations=6)
    second = await trained(tmp_path / "longer", config, resume=True)
    assert (first.policy, second.policy) == ("small-final", "small-final-000006")
    assert (await trained(tmp_path / "longer", config, resume=True)).policy == second.policy
    await trained(tmp_path / "at-once", config)
    assert curve(tmp_path / "longer") == curve(tmp_path / "at-once")
    shelves = [PolicyStore(store_of(tmp_path / folder)) for folder in ("longer", "at-once")]
    assert shelves[0].manifest(second.policy).digest == shelves[1].manifest("small-final").digest
    assert shelves[0].manifest("small-final").digest == first.digest


async def test_a_run_that_was_cut_before_its_first_checkpoint_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "cut/checkpoint/.unfinished").mkdir(parents=True)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun/config.toml").write_text(to_toml(SMALL))
    whole = await trained(tmp_path / "whole")
    for folder in ("cut", "begun"):
        assert (await trained(tmp_path / folder, resume=True)).digest == whole.digest
        assert curve(tmp_path / folder) == curve(tmp_path / "whole")


async def test_a_run_that_is_stopped_says_so_and_goes_on(tmp_path: Path) -> None:
    def on_event(event: RunEvent) -> None:
        if isinstance(event, IterationDone) and event.iteration == 2:
            task.cancel()

    task = asyncio.create_task(trained(tmp_path, on_event=on_event))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert status(tmp_path)["state"] == "canceled"
    await trained(tmp_path, resume=True)
    assert status(tmp_path)["state"] == "finished"


async def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path: Path) -> None:
    await trained(tmp_path)
    with pytest.raises(InvalidRequest, match="--resume"):
        await trained(tmp_path)


async def test_there_must_be_a_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no run to resume"):
        await trained(tmp_path, resume=True)


async def test_a_resume_with_another_configuration_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    await trained(tmp_path)
    with pytest.raises(InvalidRequest, match="seed"):
        await trained(tmp_path, replace(SMALL, seed=1), resume=True)
    assert load_config(str(tmp_path / "config.toml")) == SMALL


async def test_an_outage_shows_in_the_status_and_the_run_goes_on(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(outages, "_FIRST_PAUSE", 0.01)
    seen: list[tuple[str, str]] = []
    judge = ScriptedJudge()

    def on_event(event: RunEvent) -> None:
        if isinstance(event, PolicyPublished) and event.policy == "small-000001":
            judge.failures = {"assess_stream": Unavailable("nobody there")}
        elif isinstance(event, RunPaused | RunResumed):
            judge.failures = {}
            seen.append((status(tmp_path)["state"], status(tmp_path)["message"]))

    await trained(tmp_path, replace(SMALL, patience=60.0), judge=judge, on_event=on_event)
    assert seen == [("paused", "nobody there"), ("running", "")]
    await trained(tmp_path / "undisturbed")
    assert curve(tmp_path) == curve(tmp_path / "undisturbed")


async def test_a_judge_that_changes_stops_the_run(tmp_path: Path) -> None:
    judge = ScriptedJudge()
    usual = judge.model

    def on_event(event: RunEvent) -> None:
        if isinstance(event, IterationDone):

            async def changed() -> Any:
                return replace(await usual(), digest="sha256:new")

            judge.model = changed  # type: ignore[method-assign]

    with pytest.raises(FailedPrecondition, match="pinned"):
        await trained(tmp_path, judge=judge, on_event=on_event)
    assert status(tmp_path)["iteration"] == 1


async def test_a_judge_that_can_read_nothing_stops_the_run(tmp_path: Path) -> None:
    judge = ScriptedJudge()

    def on_event(event: RunEvent) -> None:
        if isinstance(event, PanelMeasured):
            judge.feeling = lambda picture: UNREADABLE

    with pytest.raises(FailedPrecondition, match="unreadable assessment: 3"):
        await trained(tmp_path, judge=judge, on_event=on_event)


async def test_an_unreachable_store_stops_the_run_with_its_checkpoint_intact(tmp_path: Path) -> None:
    store = tmp_path / "store"

    def on_event(event: RunEvent) -> None:
        if isinstance(event, IterationDone) and event.iteration == 2:
            store.rename(tmp_path / "elsewhere")
            store.write_text("in the way")

    config = replace(SMALL, policies=str(store))
    with pytest.raises(FailedPrecondition, match="store"):
        await trained(tmp_path / "run", config, on_event=on_event)
    store.unlink()
    (tmp_path / "elsewhere").rename(store)
    await trained(tmp_path / "run", config, resume=True)
    await trained(tmp_path / "whole")
    assert curve(tmp_path / "run") == curve(tmp_path / "whole")


async def test_old_policies_go_but_those_on_the_panels_record_and_other_runs_stay(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    await trained(tmp_path / "other", replace(SMALL, name="small-other", iterations=1, policies=store))
    config = replace(SMALL, iterations=7, keep_policies=2, panel=PanelConfig(every=3), policies=store)
    await trained(tmp_path / "run", config)
    ours = ["small-000000", "small-000003", "small-000006", "small-final"]
    assert PolicyStore(store).names() == [*ours, "small-other-000000", "small-other-final"]
