"""Commands that are killed (`kill -9`) at random times and resumed end as the one that nobody disturbed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from emofeedback.serving.ray_local import local_cluster
from support import forked_command, killed_command
from support import published_layouts as layouts
from support.forked_command import Command, ran, warm
from support.killed_command import kept, until_finished
from support.small_evaluations import NAMES as EVALUATIONS
from support.small_evaluations import evaluations
from support.small_trainings import NAMES, commands

TARGET = ("--valence", "7.5", "--arousal", "3")
CREATE = ("create", "a quiet harbor", *TARGET, "--rounds", "4", "--images", "4", "--out")
SWEEP = ("sweep", "a quiet harbor", "--grid", "2", "--rounds", "2", "--images", "2", "--out")
COMMANDS = {"create": CREATE, "sweep": SWEEP, "flow-grpo": ("flow-grpo",)}
OTHERS = [name for name in (*NAMES, *EVALUATIONS) if name not in (*COMMANDS, "build-emoset")]
ALL_TIMES = 10


def check(command: str, words: Sequence[str], folder: Path, *, runs: int, kills: int) -> None:
    _, seconds = until_finished([*words, str(folder / "whole")], kills=0, seconds=0, seed=0)
    whole, killed = kept(folder / "whole"), 0
    for run in range(runs):  # the first is cut early, lest it be over by then where others slowed the whole one
        cut = folder / f"cut-{run}"
        killed += until_finished([*words, str(cut)], kills=kills, seconds=seconds / kills, seed=run + 1)[0]
        assert kept(cut) == whole, f"run {run} differs"
    print(f"{command}: {runs} runs, killed {killed} times, each equal to the uninterrupted one")
    assert killed


@pytest.mark.parametrize("command", ["create", "sweep"])
def test_a_command_that_is_killed_twice_ends_as_the_uninterrupted_one(command: str, tmp_path: Path) -> None:
    check(command, COMMANDS[command], tmp_path, runs=1, kills=2)


@pytest.mark.chaos
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_is_killed_at_ten_random_times_ends_as_the_uninterrupted_one(
    command: str, tmp_path: Path
) -> None:
    check(command, COMMANDS[command], tmp_path, runs=ALL_TIMES, kills=1)
    check(command, COMMANDS[command], tmp_path / "again", runs=1, kills=ALL_TIMES)


@pytest.mark.chaos
def test_a_build_of_emoset_that_is_killed_at_ten_random_times_ends_as_the_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts.emoset(tmp_path / "EmoSet", per_split=200)
    words = ("build-emoset", str(tmp_path / "EmoSet"))
    monkeypatch.setenv("PYTHONPATH", str(Path(killed_command.__file__).parents[1]))  # Ray's workers find it
    with local_cluster():
        import ray  # only now, that the cluster's token is in the environment

        monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
        check("build-emoset", words, tmp_path, runs=ALL_TIMES, kills=1)
        check("build-emoset", words, tmp_path / "again", runs=1, kills=ALL_TIMES)


@pytest.fixture(scope="module")
def long_commands(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Command]:
    warm()
    folder = tmp_path_factory.mktemp("inputs")
    return {**commands(folder), **evaluations(folder / "evaluations")}


@pytest.mark.chaos
@pytest.mark.parametrize("name", OTHERS)
def test_a_training_or_measurement_that_is_killed_at_ten_random_times_ends_as_the_uninterrupted_one(
    name: str, long_commands: Mapping[str, Command], tmp_path: Path
) -> None:
    command, log, rng = long_commands[name], tmp_path / "log", random.Random(name)
    undisturbed = ran(command, tmp_path / "whole", log)
    assert undisturbed.code == 0, undisturbed.said
    whole, killed, runs = kept(tmp_path / "whole"), 0, 0
    while killed < ALL_TIMES:
        times, cut = [rng.uniform(0, undisturbed.seconds) for _ in range(2)], tmp_path / f"cut-{runs}"
        killed += forked_command.until_finished(command, cut, times=times, log=log)
        assert kept(cut) == whole, f"run {runs}, cut after {times} s, differs"
        runs += 1
    print(f"{name}: {runs} runs, killed {killed} times, each equal to the uninterrupted one")
