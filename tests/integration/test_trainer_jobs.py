"""The trainer service over clusters: its runs as RayJobs of a pretended KubeRay, and as jobs of a real Ray."""

from __future__ import annotations

import asyncio
import os
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emofeedback.domain.errors import Unavailable
from emofeedback.domain.training import RunRequest, RunState
from emofeedback.serving.kubernetes import connect
from emofeedback_trainer.service.backends.base import Backend
from emofeedback_trainer.service.backends.kubernetes import KubernetesJobs
from emofeedback_trainer.service.backends.ray import RayJobs
from support.kubernetes.api import kube_api
from support.kubernetes.kuberay import PretendedKubeRay, pretended_kuberay
from support.kubernetes.store import KubeApi
from support.running_services import free_port, is_open
from support.scripted_training import (
    COMMAND,
    holding,
    iterations,
    let_scripts_have_keys,
    states,
    trainer,
    until,
    watched,
)

TEMPLATE = """
apiVersion: ray.io/v1
kind: RayJob
spec: {rayClusterSpec: {headGroupSpec: {template: {spec: {containers: []}}}}}
"""


@pytest.fixture(autouse=True)
def scripted_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    let_scripts_have_keys(monkeypatch)


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeApi]:
    with kube_api() as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path)))
        yield api


@pytest.fixture
def kuberay(api: KubeApi, tmp_path: Path) -> Iterator[PretendedKubeRay]:
    commands = tmp_path / "commands"
    commands.mkdir()
    (commands / "emofeedback-train").write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
    (commands / "emofeedback-train").chmod(0o755)
    with pretended_kuberay(api, commands) as operator:
        yield operator


@pytest.fixture
def rayjobs(api: KubeApi, tmp_path: Path) -> Callable[[], Backend]:
    """A back end as every start of the service makes one."""
    template = tmp_path / "rayjob.yaml"
    template.write_text(TEMPLATE)
    return lambda: KubernetesJobs(connect(), template, recent=0.05)


async def test_a_run_is_a_rayjob_that_is_followed_to_its_end(
    tmp_path: Path, api: KubeApi, kuberay: PretendedKubeRay, rayjobs: Callable[[], Backend]
) -> None:
    async with trainer(tmp_path / "runs", rayjobs()) as client:
        await client.trainer.create(RunRequest(name="calm", config="iterations = 4\n"))
        events = await watched(client, "calm")
        assert states(events)[-1] is RunState.FINISHED and iterations(events) == [1, 2, 3, 4]
        (job,) = api.objects("RayJob")
        assert job["metadata"]["annotations"] == {"emofeedback.io/run": "calm"}
        assert job["status"]["jobDeploymentStatus"] == "Complete"
        asked = len(api.requests)
        assert (await client.trainer.get("calm")).state is RunState.FINISHED
        await asyncio.sleep(0.3)
        assert len(api.requests) == asked  # a cluster is not asked about what has ended


async def test_a_run_waits_for_a_node_and_says_so(
    tmp_path: Path, kuberay: PretendedKubeRay, rayjobs: Callable[[], Backend]
) -> None:
    kuberay.room = False
    async with trainer(tmp_path / "runs", rayjobs()) as client:
        await client.trainer.create(RunRequest(name="calm", config="iterations = 1\n"))
        while "Insufficient nvidia.com/gpu" not in (run := await client.trainer.get("calm")).message:
            assert run.state is RunState.QUEUED
        kuberay.room = True
        assert states(await watched(client, "calm"))[-1] is RunState.FINISHED


async def test_a_service_that_is_started_anew_finds_its_rayjobs_cancels_and_resumes_them(
    tmp_path: Path, api: KubeApi, kuberay: PretendedKubeRay, rayjobs: Callable[[], Backend]
) -> None:
    hold = tmp_path / "hold"
    async with trainer(tmp_path / "runs", rayjobs()) as client:
        await client.trainer.create(RunRequest(name="calm", config=f"iterations = 9\n{holding(hold)}"))
        await until(client, "calm", RunState.RUNNING, iteration=1)
    async with trainer(tmp_path / "runs", rayjobs()) as client:
        assert (await client.trainer.get("calm")).state is RunState.RUNNING
        assert len(api.objects("RayJob")) == 1
        await client.trainer.cancel("calm")
        await until(client, "calm", RunState.CANCELED)
        assert (await client.trainer.get("calm")).message == "stopped; --resume goes on"
        assert api.objects("RayJob")[0]["spec"]["suspend"] is True and api.objects("Pod") == []
        hold.unlink()
        await client.trainer.create(RunRequest(name="calm", resume=True))
        events = await watched(client, "calm")
        assert states(events)[-1] is RunState.FINISHED and iterations(events) == list(range(1, 10))
        assert len(api.objects("RayJob")) == 1


async def test_a_run_whose_node_dies_has_failed_and_can_be_resumed(
    tmp_path: Path, api: KubeApi, kuberay: PretendedKubeRay, rayjobs: Callable[[], Backend]
) -> None:
    hold = tmp_path / "hold"
    async with trainer(tmp_path / "runs", rayjobs()) as client:
        await client.trainer.create(RunRequest(name="calm", config=f"iterations = 4\n{holding(hold)}"))
        await until(client, "calm", RunState.RUNNING, iteration=1)
        kuberay.kill_pod(api.objects("RayJob")[0]["metadata"]["name"])
        await until(client, "calm", RunState.FAILED)
        assert "its last words: AppFailed; iteration" in (await client.trainer.get("calm")).message
        hold.unlink()
        await client.trainer.create(RunRequest(name="calm", resume=True))
        assert iterations(await watched(client, "calm")) == [1, 2, 3, 4]


async def test_a_cluster_that_is_away_loses_nothing(
    tmp_path: Path, api: KubeApi, kuberay: PretendedKubeRay, rayjobs: Callable[[], Backend]
) -> None:
    async with trainer(tmp_path / "runs", rayjobs()) as client:
        api.down = "the control plane is being upgraded"
        run = await client.trainer.create(RunRequest(name="calm", config="iterations = 2\n"))
        assert run.state is RunState.QUEUED
        api.down = ""
        assert states(await watched(client, "calm"))[-1] is RunState.FINISHED
        assert len(api.objects("RayJob")) == 1


@pytest.fixture(scope="module")
def ray_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The dashboard of a Ray cluster of this machine, as `ray start --head` brings it up."""
    if " " in sys.executable:
        pytest.skip("`ray start` itself can't start its client server from a folder with a space")
    folder = tmp_path_factory.mktemp("ray")
    os.environ.update(RAY_AUTH_MODE="token", RAY_USAGE_STATS_ENABLED="0")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    port, dashboard = free_port(), free_port()
    options = ("--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=2")
    shown = ("--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}")
    others = ("--object-store-memory=100000000", f"--dashboard-agent-listen-port={free_port()}")
    with (folder / "output").open("wb") as output:
        head = subprocess.Popen(
            [str(Path(sys.executable).with_name("ray")), "start", *options, *shown, *others],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        while not is_open(dashboard):
            assert head.poll() is None, (folder / "output").read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        head.send_signal(signal.SIGTERM)
        head.wait()


async def test_a_run_is_a_ray_job_that_outlives_the_service(tmp_path: Path, ray_address: str) -> None:
    def jobs() -> RayJobs:
        return RayJobs(ray_address, grace=20, command=COMMAND)

    deadline = time.monotonic() + 600
    while True:
        try:
            jobs().look(tmp_path)
            break
        except Unavailable as error:  # Ray comes up; a run would wait just so
            assert "is `ray start --head` running?" in str(error) and time.monotonic() < deadline
            time.sleep(0.2)
    hold = tmp_path / "hold"
    async with trainer(tmp_path, jobs()) as client:
        await client.trainer.create(RunRequest(name="calm", config=f"iterations = 9\n{holding(hold)}"))
        await until(client, "calm", RunState.RUNNING, iteration=1)
    async with trainer(tmp_path, jobs()) as client:
        assert (await client.trainer.get("calm")).state is RunState.RUNNING
        await client.trainer.cancel("calm")
        await until(client, "calm", RunState.CANCELED)
        assert (await client.trainer.get("calm")).message == "stopped; --resume goes on"
        hold.unlink()
        await client.trainer.create(RunRequest(name="calm", resume=True))
        events = await watched(client, "calm")
        assert states(events)[-1] is RunState.FINISHED and iterations(events) == list(range(1, 10))
        await client.trainer.create(RunRequest(name="tense", config='pace = "fast"\n'))
        await until(client, "tense", RunState.FAILED)
        assert "its last words: TypeError" in (await client.trainer.get("tense")).message
