"""`emofeedback-train flow-grpo` on the embedded models, small: it learns, and a kill changes nothing."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emofeedback.generator.policy_store import PolicyStore
from emofeedback_trainer.cli import main
from support.forked_command import Command, ran, started

SMALL = (
    *("iterations=3", "groups=2", "num_generations=3", "rewards.shape=continuous", "learner.rank=4"),
    *("sampling.steps=5", "sampling.sde_window_range=[0, 1]", "panel.pairs=1", "panel.images=1", "panel.every=2"),
)
CHANGES = tuple(word for change in SMALL for word in ("--set", change))
FLOW_GRPO = Command(run=main, words=("flow-grpo", "--config", "nano-window", *CHANGES))
RESUMED = Command(run=main, words=("flow-grpo",))
TIMES = ("seconds", "images_per_second")


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    """The lines of a curve, without its times."""
    found = [json.loads(line) for line in (folder / name).read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in found]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    done = ran(FLOW_GRPO, folder / "whole", folder / "log")
    assert done.code == 0, done.said
    assert "nano-window-final" in done.said
    return folder / "whole"


def test_the_policy_moves_and_stays_honest(whole: Path) -> None:
    curve = lines(whole, "metrics.jsonl")
    assert [line["iteration"] for line in curve] == [1, 2, 3]
    assert all(line["ratio_deviation"] == 0.0 for line in curve)
    assert all(line["log_probability_drift"] < 1e-5 for line in curve)
    assert 0.0 < curve[0]["kl"] < curve[2]["kl"]
    store = PolicyStore(str(whole / "policies"))
    digests = {store.manifest(name).digest for name in store.names()}
    assert len(digests) == len(store.names()) > 2


def test_a_run_leaves_its_curves_pictures_and_report(whole: Path) -> None:
    assert [line["iteration"] for line in lines(whole, "eval.jsonl")] == [0, 2, 3]
    assert [grid.name for grid in sorted((whole / "samples").iterdir())] == ["000001.png", "000002.png"]
    assert list((whole / "tensorboard").iterdir())
    assert "nano-window-final" in (whole / "report.html").read_text()
    assert json.loads((whole / "status.json").read_text())["state"] == "finished"


def test_a_trainer_that_is_killed_goes_on_to_the_same_bits(whole: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    killed = started(FLOW_GRPO, cut, tmp_path / "log")
    _wait_for(lambda: (cut / "checkpoint" / "000001").exists(), lambda: killed.exitcode is None)
    time.sleep(0.3)  # somewhere in the second iteration
    killed.kill()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    done = ran(RESUMED, cut, tmp_path / "log", resume=True)
    assert done.code == 0, done.said
    assert lines(cut, "metrics.jsonl") == lines(whole, "metrics.jsonl")
    assert lines(cut, "eval.jsonl") == lines(whole, "eval.jsonl")
    for name in PolicyStore(str(whole / "policies")).names():
        weights = [folder / "policies" / name / "pytorch_lora_weights.safetensors" for folder in (cut, whole)]
        assert weights[0].read_bytes() == weights[1].read_bytes()


def test_ctrl_c_keeps_the_run_and_says_how_to_go_on(tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    words = [sys.executable, "-m", "emofeedback_trainer", *FLOW_GRPO.words, "--out", str(cut)]
    stopped = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _wait_for(lambda: (cut / "checkpoint" / "000001").exists(), lambda: stopped.poll() is None)
    stopped.send_signal(signal.SIGINT)
    out, _ = stopped.communicate(timeout=300)
    assert stopped.returncode == 130
    assert f"--out {cut} --resume" in out
    assert json.loads((cut / "status.json").read_text())["state"] == "canceled"


def _wait_for(happened: Callable[[], bool], is_running: Callable[[], bool], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert is_running() and time.monotonic() < end
        time.sleep(0.02)
