"""`emofeedback-train flow-grpo` on the embedded models, small: it learns, and a kill changes nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from emofeedback.generator.policy_store import PolicyStore

SMALL = (
    *("iterations=3", "groups=2", "num_generations=3", "rewards.shape=continuous", "learner.rank=4"),
    *("sampling.steps=5", "sampling.sde_window_range=[0, 1]", "panel.pairs=1", "panel.images=1", "panel.every=2"),
)
TIMES = ("seconds", "images_per_second")


def command(out: Path, *more: str) -> list[str]:
    changes = [word for change in SMALL for word in ("--set", change)]
    config = ("--config", "nano-window")
    return [sys.executable, "-m", "emofeedback_trainer", "flow-grpo", *config, *changes, "--out", str(out), *more]


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    """The lines of a curve, without its times."""
    found = [json.loads(line) for line in (folder / name).read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in found]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    done = subprocess.run(command(folder), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "nano-window-final" in done.stdout
    return folder


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
    killed = subprocess.Popen(command(cut), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait_for(lambda: (cut / "checkpoint" / "000001").exists(), killed)
    time.sleep(0.3)  # somewhere in the second iteration
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait(300) == -signal.SIGKILL
    resumed = [sys.executable, "-m", "emofeedback_trainer", "flow-grpo", "--out", str(cut), "--resume"]
    done = subprocess.run(resumed, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert lines(cut, "metrics.jsonl") == lines(whole, "metrics.jsonl")
    assert lines(cut, "eval.jsonl") == lines(whole, "eval.jsonl")
    for name in PolicyStore(str(whole / "policies")).names():
        weights = [folder / "policies" / name / "pytorch_lora_weights.safetensors" for folder in (cut, whole)]
        assert weights[0].read_bytes() == weights[1].read_bytes()


def test_ctrl_c_keeps_the_run_and_says_how_to_go_on(tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    stopped = subprocess.Popen(command(cut), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _wait_for(lambda: (cut / "checkpoint" / "000001").exists(), stopped)
    stopped.send_signal(signal.SIGINT)
    out, _ = stopped.communicate(timeout=300)
    assert stopped.returncode == 130
    assert f"--out {cut} --resume" in out
    assert json.loads((cut / "status.json").read_text())["state"] == "canceled"


def _wait_for(happened: Any, process: subprocess.Popen[Any], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
