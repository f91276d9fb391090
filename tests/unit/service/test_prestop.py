"""What a pod does before it ends: its training runs are interrupted and waited for, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from emofeedback_trainer.service import prestop as last_call

SAVES = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[-1])
try:
    (folder / "trains").touch()
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.3)
    (folder / "saved").touch()
"""


def test_runs_are_interrupted_and_waited_for(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    run = subprocess.Popen([sys.executable, "-c", SAVES, "flow-grpo", "--out", str(tmp_path)])
    other = subprocess.Popen([sys.executable, "-c", SAVES, "nano", "--out", str(tmp_path / "other")])
    try:
        while not (tmp_path / "trains").exists():
            assert run.poll() is None
        found = last_call.runs()
        assert other.pid not in [process.pid for process in found]
        # Only ours: the machine may train in earnest beside the tests.
        last_call.interrupt([process for process in found if process.pid == run.pid])
        assert (tmp_path / "saved").exists()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
        run.wait()
