"""The benchmark for a GPU, on a CPU with tiny checkpoints: what nobody runs until there is a GPU still runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GPU = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


@pytest.mark.nightly
def test_the_gpu_benchmark_runs_as_it_is_documented_and_paints_what_diffusers_paints() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, str(GPU), "--shape", "tiny", "--runs", "1", "--json"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    rows = {row["what"]: row["ours"] for row in json.loads(ran.stdout)}
    assert rows["levels from diffusers' pictures, 25 steps, mean (largest)"].startswith("0.00")
    asked = ("8 images, 25 steps, seconds", "8 short ratings, seconds", "an iteration of Flow-GRPO, 8 images, seconds")
    assert all(float(rows[what]) > 0 for what in asked)
