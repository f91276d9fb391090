"""A real training run against real replicas, which are killed under it: it goes on as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from support.running_services import Cluster, serving

CHANGES = (
    *(
        "iterations=3",
        "groups=2",
        "num_generations=2",
        "sampling.steps=5",
        "sampling.sde_window_range=[0, 1]",
        "learner.rank=2",
    ),
    *("panel.pairs=1", "panel.images=1", "panel.every=9"),
)
SECONDS = 300.0
"""Far more than a step needs on a quiet machine."""


@pytest.mark.chaos
@pytest.mark.parametrize("application", ["generator", "judge"])
def test_a_killed_replica_costs_a_run_nothing_but_time(cluster: Cluster, runs: Path, application: str) -> None:
    folder = runs / application
    words = [
        word
        for change in (f"policies={runs / 'policies'}", f"name={application}", *CHANGES)
        for word in ("--set", change)
    ]
    run = subprocess.Popen(
        [
            *(sys.executable, "-m", "emofeedback_trainer", "flow-grpo", "--config", "nano-window"),
            *("--address", cluster.services.address, "--out", str(folder), *words),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_for(folder / "checkpoint" / "000001", run)
    for replica in cluster.replicas(application):
        os.kill(replica, signal.SIGKILL)
    _, said = run.communicate(timeout=SECONDS)
    assert run.returncode == 0, said
    curve = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in curve] == [1, 2, 3]
    assert all(line["groups"] == 2 and line["groups_dropped"] == 0 for line in curve)
    assert all(line["log_probability_drift"] < 1e-5 for line in curve)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the runs and of the policies that they share with the services."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def cluster(runs: Path) -> Any:
    """Services that take their policies from where the runs publish them."""
    with serving("--policies", str(runs / "policies")) as running:
        yield Cluster(running, "")


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + SECONDS
    while not path.exists():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
