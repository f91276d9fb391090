"""The examples do what they say, over scripted models behind the real services and the real loop."""

from __future__ import annotations

import asyncio
import csv
import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
import pytest

import emofeedback
from emofeedback import Emotion
from emofeedback.domain.recipe import read_recipe
from emofeedback_trainer.core.task import Task, load_task
from support.fakes import ScriptedGenerator, ScriptedJudge, look, paint
from support.scripted_services import ScriptedServices, Services

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs an example in this process, with these words behind it."""

    def play(name: str, *words: str) -> None:
        monkeypatch.setattr(sys, "argv", [name, *words])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")

    return play


@pytest.fixture
def scripted_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """`emofeedback.local` loads scripted models."""

    def local(profile: str) -> emofeedback.Services:
        assert profile == "nano"
        return emofeedback.Services(ScriptedServices(ScriptedGenerator(recipes=True), ScriptedJudge()))

    monkeypatch.setattr(emofeedback, "local", local, raising=False)
    monkeypatch.setattr(emofeedback, "silence_libraries", lambda: None, raising=False)


@pytest.mark.usefixtures("scripted_engines")
def test_create_leaves_the_picture_and_tells_its_rounds(
    play: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    play("create.py", "a quiet harbor", "contentment", str(tmp_path / "harbor.png"))
    recipe = read_recipe((tmp_path / "harbor.png").read_bytes())
    assert recipe and recipe.wish and recipe.wish.prompt == "a quiet harbor"
    told = capsys.readouterr().out
    assert told.count("round ") == 3 and "harbor.png" in told


async def test_watch_a_run_keeps_every_picture_and_names_the_answer(
    services: Services, play: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await asyncio.to_thread(play, "watch_a_run.py", services.address, "a quiet harbor", "3", "7", str(tmp_path))
    told = capsys.readouterr().out
    assert len(list(tmp_path.glob("round-*.png"))) == told.count("from the target") > 0
    answer = told.splitlines()[-1].removeprefix("answer: ").split(" ")[0]
    assert "harbor" in look((tmp_path / answer).read_bytes()).prompt


async def test_all_emotions_leaves_a_picture_of_each(
    services: Services, play: Callable[..., None], tmp_path: Path
) -> None:
    await asyncio.to_thread(play, "all_emotions.py", services.address, "a tree", str(tmp_path))
    assert {path.stem for path in tmp_path.iterdir()} == set(Emotion)
    assert len(services.asked("Optimize")) == len(Emotion)


async def test_assess_folder_has_a_row_for_every_picture_below_the_folder(
    services: Services, play: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "deeper").mkdir()
    pictures = [tmp_path / "a.png", tmp_path / "deeper" / "b.png", tmp_path / "notes.txt"]
    for seed, path in enumerate(pictures):
        path.write_bytes(paint("a harbor", seed))
    await asyncio.to_thread(play, "assess_folder.py", services.address, str(tmp_path))
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {row["picture"] for row in rows} == {str(path) for path in pictures[:2]}
    assert all(1 <= float(row["valence"]) <= 9 and row["emotion"] in list(Emotion) for row in rows)


def test_own_tasks_hold_out_what_they_measure_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for source in ("own_task:TASK", str(EXAMPLES / "prompts.jsonl")):
        task = load_task(source)
        assert isinstance(task, Task) and task.panel and task.evaluation
        measured = {pair.prompt for pair in (*task.panel, *task.evaluation)}
        assert measured.isdisjoint(one.prompt for one in task.training)
    own = load_task("own_task:TASK").independent("any checkpoint")
    assert own is not None and own.info.digest.startswith("sha256:")


def test_a_run_trains_on_the_own_task_and_is_rewarded_by_the_own_function(tmp_path: Path) -> None:
    own = ("prompts=own_task:TASK", "rewards.function=own_reward:warmth", "rewards.own=0.3")
    small = (
        *("iterations=1", "groups=1", "num_generations=2", "panel.pairs=1", "panel.images=1"),
        *("sampling.steps=5", "sampling.sde_window_range=[0, 1]"),
    )
    changes = [word for change in (*own, *small) for word in ("--set", change)]
    words = ("flow-grpo", "--config", "nano", *changes, "--report-to", "none", "--out", str(tmp_path / "own"))
    done = subprocess.run(
        [sys.executable, "-m", "emofeedback_trainer", *words], cwd=EXAMPLES, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "independent judge's error" in done.stdout
    panel = [json.loads(line) for line in (tmp_path / "own" / "eval.jsonl").read_text().splitlines()]
    assert [measured["iteration"] for measured in panel] == [0, 1] and "subject_accuracy" in panel[0]
    [line] = [json.loads(line) for line in (tmp_path / "own" / "metrics.jsonl").read_text().splitlines()]
    assert -1 <= line["reward_own"] <= 1 and line["reward_own"] != 0


@pytest.mark.usefixtures("scripted_engines")
def test_every_cell_of_the_notebook_runs(capsys: pytest.CaptureFixture[str]) -> None:
    matplotlib.use("Agg")
    notebook = json.loads((EXAMPLES / "eight_emotions.ipynb").read_text())
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    cells: dict[str, object] = {}
    for number, source in enumerate(code):
        exec(compile(source, f"cell {number}", "exec"), cells)
    assert cells["creations"].keys() == set(Emotion)  # type: ignore[attr-defined]
    assert capsys.readouterr().out.count(" felt, ") == len(Emotion)


def test_the_notebook_is_kept_without_what_it_last_showed() -> None:
    notebook = json.loads((EXAMPLES / "eight_emotions.ipynb").read_text())
    assert all(not cell.get("outputs") for cell in notebook["cells"])


@pytest.mark.parametrize("name", ["create", "watch_a_run", "all_emotions", "assess_folder", "plain_grpc"])
def test_without_its_words_an_example_says_how_it_is_called(play: Callable[..., None], name: str) -> None:
    with pytest.raises(SystemExit, match=rf"python examples/{name}\.py "):
        play(f"{name}.py")
