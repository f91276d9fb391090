"""The trainer service as a user starts it, with a real run of the embedded models that is hit wherever it hurts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from emofeedback.client import Client
from emofeedback.domain.training import (
    IterationDone,
    PanelMeasured,
    PolicyPublished,
    RunRequest,
    RunState,
    RunStateChanged,
)
from support.running_services import free_port, wait_until_listening
from support.telemetry import SPAN, TRACE, Collector, callers_span, collecting, wait_for

CONFIG = """extends = "nano"
iterations = 4
groups = 2
num_generations = 2
rewards.shape = "continuous"
learner.rank = 2
panel.pairs = 1
panel.images = 1
panel.every = 4
[sampling]
steps = 4
sde_window_range = [0, 1]
"""
CREATED = ("emofeedback-trainer", "TrainerService/CreateRun")
ITERATION = ("emofeedback-run", "flow-grpo iteration")
SECONDS = 240.0
"""Far more than a step needs on a quiet machine."""


@contextmanager
def service(
    folder: Path, port: int, token: str, metrics_port: int, collector: Collector
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "emofeedback_trainer", "serve", "--runs", str(folder)),
            *("--port", str(port), "--metrics-port", str(metrics_port)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "EMOFEEDBACK_TOKEN": token, **collector.environment()},
    )
    try:
        wait_until_listening(port, process)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_a_run_outlives_its_service_and_goes_on_after_a_kill_and_a_cancel(tmp_path: Path) -> None:
    port, metrics_port = free_port(), free_port()
    process_file = tmp_path / ".service" / "small" / "process"
    with collecting() as collector, callers_span(), Client(f"127.0.0.1:{port}", token="let-me-in") as client:

        def stands(state: RunState, iteration: int = 0) -> Callable[[], bool]:
            def so() -> bool:
                run = client.trainer.get("small")
                return run.state is state and run.iteration >= iteration

            return so

        with service(tmp_path, port, "let-me-in", metrics_port, collector) as server:
            client.trainer.create(RunRequest(name="small", config=CONFIG))
            until(stands(RunState.RUNNING, iteration=1))
            os.kill(int(process_file.read_text()), signal.SIGSTOP)  # lest it be over before the service is back
            server.kill()
        with service(tmp_path, port, "let-me-in", metrics_port, collector):
            assert not client.trainer.get("small").state.is_over

            os.kill(int(process_file.read_text()), signal.SIGKILL)
            until(stands(RunState.FAILED))
            assert "its process is gone" in client.trainer.get("small").message
            client.trainer.create(RunRequest(name="small", resume=True))
            until(stands(RunState.RUNNING, iteration=2))

            client.trainer.cancel("small")
            until(stands(RunState.CANCELED))
            done = client.trainer.get("small").iteration
            client.trainer.create(RunRequest(name="small", resume=True))
            events = list(client.trainer.watch("small", from_iteration=done))

            page = wait_for(metrics_port, lambda page: page.value("emofeedback_training_runs", state="finished") == 1)
            spans = collector.wait(lambda spans: {CREATED, ITERATION} <= {(span.service, span.name) for span in spans})
    assert [event.iteration for event in events if isinstance(event, IterationDone)] == list(range(done, 5))
    assert [event.iteration for event in events if isinstance(event, PanelMeasured)] == [4]
    assert [event.policy for event in events if isinstance(event, PolicyPublished)][-1] == "small-final"
    assert isinstance(events[-1], RunStateChanged) and events[-1].run.state is RunState.FINISHED
    assert (tmp_path / "small" / "report.html").exists()

    assert page.value("emofeedback_training_runs", state="finished") == 1
    assert page.value("emofeedback_training_iteration", run="small") == 4
    reward = page.value("emofeedback_training_figure", run="small", source="rollout", figure="reward")
    assert reward == pytest.approx(
        json.loads((tmp_path / "small" / "metrics.jsonl").read_text().splitlines()[-1])["reward"]
    )
    assert page.value("emofeedback_call_seconds_count", method="TrainerService/CreateRun", code="OK") == 2
    created = [span for span in spans if (span.service, span.name) == CREATED]
    assert {(span.trace, span.parent) for span in created} == {(TRACE, SPAN)}
    learned = [span for span in spans if (span.service, span.name) == ITERATION]
    assert learned and all(span.links == (TRACE,) and span.trace != TRACE for span in learned)
