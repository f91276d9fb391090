"""TrainerService over a real gRPC server, its runs as real processes that behave as their configuration says."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from emofeedback.client import AsyncClient, RetryPolicy
from emofeedback.domain.errors import EmoFeedbackError, FailedPrecondition, InvalidRequest, NotFound, Unauthenticated
from emofeedback.domain.training import (
    Alarm,
    IterationDone,
    PanelMeasured,
    PolicyPublished,
    RunRequest,
    RunState,
    RunStateChanged,
)
from emofeedback.observability import metrics
from emofeedback_trainer.cli import main
from emofeedback_trainer.service import server
from emofeedback_trainer.service.backends.process import Processes
from emofeedback_trainer.service.server import serving
from emofeedback_trainer.service.supervisor import Supervisor
from support.running_services import free_port
from support.scripted_training import (
    holding,
    iterations,
    let_scripts_have_keys,
    processes,
    states,
    trainer,
    until,
    watched,
)


@pytest.fixture(autouse=True)
def scripted_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    let_scripts_have_keys(monkeypatch)


async def test_a_run_is_created_watched_and_finished(tmp_path: Path) -> None:
    async with trainer(tmp_path) as client:
        run = await client.trainer.create(RunRequest(name="calm", config="iterations = 4\n"))
        assert run.state in (RunState.QUEUED, RunState.RUNNING)
        assert run.folder == str(tmp_path / "calm") and run.policies == str(tmp_path / "calm" / "policies")
        events = await watched(client, "calm")
        assert states(events)[-1] is RunState.FINISHED and events[-1] == RunStateChanged(
            run=await client.trainer.get("calm")
        )
        assert iterations(events) == [1, 2, 3, 4]
        assert [e.policy for e in events if isinstance(e, PolicyPublished)] == [
            *(f"calm-{i:06d}" for i in range(4)),
            "calm-final",
        ]
        assert [e.iteration for e in events if isinstance(e, PanelMeasured)] == [0, 3]
        assert Alarm(iteration=3, text="the reward rises, the panel falls") in events
        finished = await client.trainer.get("calm")
        assert (finished.iteration, finished.iterations) == (4, 4)
        assert finished.metrics == {"reward": pytest.approx(0.4)} and finished.panel == {"error": 4.5}
        assert 'name = "calm"' in finished.config


async def test_a_watch_begins_where_it_is_asked_to_and_ends_with_a_run_that_is_over(tmp_path: Path) -> None:
    async with trainer(tmp_path) as client:
        await client.trainer.create(RunRequest(name="calm", config="iterations = 4\n"))
        await until(client, "calm", RunState.FINISHED)
        events = await watched(client, "calm", from_iteration=3)
        assert states(events) == [RunState.FINISHED] and iterations(events) == [3, 4]
        assert isinstance(events[-1], RunStateChanged), "that it is over is told last: nothing was cut off"
        assert [e.iteration for e in events if isinstance(e, PanelMeasured)] == [3]


async def test_runs_wait_for_their_turn_and_are_listed_newest_first(tmp_path: Path) -> None:
    async with trainer(tmp_path) as client:
        holds = {"first": tmp_path / "one", "second": tmp_path / "two", "third": tmp_path / "three"}
        for name, hold in holds.items():
            await client.trainer.create(RunRequest(name=name, config=holding(hold)))
        found = await client.trainer.list()
        assert [run.name for run in found] == ["third", "second", "first"]
        assert [run.state for run in found] == [RunState.QUEUED, RunState.QUEUED, RunState.RUNNING]
        assert all(run.config == "" for run in found)
        assert [run.name for run in await client.trainer.list(limit=1)] == ["third"]
        assert (await client.trainer.cancel("second")).state is RunState.CANCELED
        releasing = {RunState.QUEUED: holds["first"], RunState.RUNNING: holds["third"]}
        events = await watched(client, "third", releasing=releasing)
        assert states(events) == [RunState.QUEUED, RunState.RUNNING, RunState.FINISHED]
        assert (await client.trainer.get("first")).state is RunState.FINISHED
        assert not (tmp_path / "second").exists()


async def test_two_runs_at_a_time_where_that_is_asked_for(tmp_path: Path) -> None:
    async with trainer(tmp_path, parallel=2) as client:
        for name in ("first", "second"):
            await client.trainer.create(RunRequest(name=name, config="pace = 60\n"))
        await until(client, "second", RunState.RUNNING)
        assert (await client.trainer.get("first")).state is RunState.RUNNING
        for name in ("first", "second"):
            await client.trainer.cancel(name)
            await until(client, name, RunState.CANCELED)


async def test_a_canceled_run_saves_its_work_and_goes_on_when_it_is_resumed(tmp_path: Path) -> None:
    async with trainer(tmp_path) as client:
        hold = tmp_path / "hold"
        await client.trainer.create(RunRequest(name="calm", config=f"iterations = 6\n{holding(hold)}"))
        await until(client, "calm", RunState.RUNNING, iteration=2)
        await client.trainer.cancel("calm")
        await until(client, "calm", RunState.CANCELED)
        canceled = await client.trainer.get("calm")
        assert (canceled.iteration, canceled.message) == (2, "stopped; --resume goes on")
        assert await client.trainer.cancel("calm") == canceled  # nothing more to end
        hold.unlink()
        await client.trainer.create(RunRequest(name="calm", resume=True))
        events = await watched(client, "calm")
        assert states(events)[-1] is RunState.FINISHED and iterations(events) == [1, 2, 3, 4, 5, 6]
        with pytest.raises(FailedPrecondition, match="'calm' is finished: only one that failed or was cancelled"):
            await client.trainer.create(RunRequest(name="calm", resume=True))


async def test_a_run_that_does_not_end_in_time_is_killed(tmp_path: Path) -> None:
    async with trainer(tmp_path, grace=0.3) as client:
        await client.trainer.create(RunRequest(name="calm", config="pace = 60\nstubborn = true\n"))
        await until(client, "calm", RunState.RUNNING)
        while not (tmp_path / "calm" / "status.json").exists():
            await asyncio.sleep(0.02)
        assert (await client.trainer.cancel("calm")).message == "it is being cancelled"
        await until(client, "calm", RunState.CANCELED)
        assert "did not end by itself in time" in (await client.trainer.get("calm")).message


async def test_a_killed_run_has_failed_and_can_be_resumed(tmp_path: Path) -> None:
    async with trainer(tmp_path) as client:
        hold = tmp_path / "hold"
        await client.trainer.create(RunRequest(name="calm", config=f"iterations = 5\n{holding(hold)}"))
        await until(client, "calm", RunState.RUNNING, iteration=1)
        os.kill(int((tmp_path / ".service/calm/process").read_text()), signal.SIGKILL)
        events = await watched(client, "calm")
        assert states(events)[-1] is RunState.FAILED
        message = (await client.trainer.get("calm")).message
        assert "its process is gone" in message and "its last words: iteration" in message
        hold.unlink()
        await client.trainer.create(RunRequest(name="calm", resume=True))
        assert iterations(await watched(client, "calm")) == [1, 2, 3, 4, 5]


async def test_a_run_says_why_it_pauses_and_why_it_fails(tmp_path: Path) -> None:
    (tmp_path / "calm").mkdir()
    away = tmp_path / "away"
    away.touch()
    async with trainer(tmp_path) as client:
        with pytest.raises(FailedPrecondition, match="'calm' already"):  # somebody's folder is never written over
            await client.trainer.create(RunRequest(name="calm", config="iterations = 5\n"))
        await client.trainer.create(RunRequest(name="tense", config=f'fails_at = 2\naway = "{away}"\n'))
        await until(client, "tense", RunState.PAUSED)
        assert (await client.trainer.get("tense")).message == "the judge is away"
        away.unlink()
        assert states(await watched(client, "tense"))[-1] is RunState.FAILED
        assert (await client.trainer.get("tense")).message == "the judge is another one"


async def test_a_service_that_is_started_anew_goes_on_with_its_runs(tmp_path: Path) -> None:
    async with trainer(tmp_path) as client:
        hold = tmp_path / "hold"
        await client.trainer.create(RunRequest(name="first", config=f"iterations = 8\n{holding(hold)}"))
        await client.trainer.create(RunRequest(name="second", config="iterations = 2\n"))
        await until(client, "first", RunState.RUNNING, iteration=1)
        process = (tmp_path / ".service/first/process").read_text()
    async with trainer(tmp_path) as client:
        assert (await client.trainer.get("second")).state is RunState.QUEUED
        events = await watched(client, "first", releasing={RunState.RUNNING: hold})
        assert states(events) == [RunState.RUNNING, RunState.FINISHED]
        assert iterations(events) == list(range(1, 9))
        assert (tmp_path / ".service/first/process").read_text() == process
        await until(client, "second", RunState.FINISHED)


async def test_a_watch_goes_on_when_the_service_is_started_anew(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        port = free_port()
        address = await stack.enter_async_context(serving(tmp_path, processes(), port=port))
        retry = RetryPolicy(attempts=20, initial_backoff=0.1, multiplier=1.0)
        async with AsyncClient(address, retry=retry) as client:
            await client.trainer.create(RunRequest(name="calm", config="iterations = 8\npace = 0.2\n"))
            events = []
            watching = client.trainer.watch("calm")
            async for event in watching:
                events.append(event)
                if isinstance(event, IterationDone) and event.iteration == 2:
                    await stack.aclose()
                    await stack.enter_async_context(serving(tmp_path, processes(), port=port))
            assert iterations(events) == list(range(1, 9))
            assert states(events)[-1] is RunState.FINISHED and len(states(events)) == len(set(states(events)))


async def test_a_retry_creates_no_second_run(tmp_path: Path) -> None:
    async with trainer(tmp_path) as client:
        request = RunRequest(name="calm", config="pace = 60\n", request_id="once")
        await client.trainer.create(request)
        assert (await client.trainer.create(request)).name == "calm"
        assert len(await client.trainer.list()) == 1
        with pytest.raises(FailedPrecondition, match="there is a run 'calm' already"):
            await client.trainer.create(RunRequest(name="calm", config="pace = 60\n"))
        await client.trainer.cancel("calm")
        await until(client, "calm", RunState.CANCELED)


@pytest.mark.parametrize(
    ("ask", "kind", "words"),
    [
        (lambda t: t.create(RunRequest(name="a/b", config="seed = 1")), InvalidRequest, "name: is 'a/b'"),
        (lambda t: t.create(RunRequest(name="calm")), InvalidRequest, "config: is empty"),
        (lambda t: t.create(RunRequest(name="calm", config="x = [")), InvalidRequest, "config: is not TOML"),
        (lambda t: t.create(RunRequest(name="calm", config=9000 * "a." + "b=1")), InvalidRequest, "is nested too dee"),
        (lambda t: t.create(RunRequest(name="calm", config="seed = " + 5000 * "9")), InvalidRequest, "is not TOML"),
        (lambda t: t.create(RunRequest(name="calm", config="colour = 1")), InvalidRequest, "config.colour"),
        (
            lambda t: t.create(RunRequest(name="calm", config="num_generations = 1")),
            InvalidRequest,
            "config.num_generations",
        ),
        (lambda t: t.create(RunRequest(name="calm", config='extends = "x"')), InvalidRequest, "config.extends"),
        (lambda t: t.create(RunRequest(name="calm", config='name = "b"')), InvalidRequest, "config.name"),
        (lambda t: t.create(RunRequest(name="calm", resume=True)), NotFound, "nothing to resume"),
        (lambda t: t.get("calm"), NotFound, "no run is called 'calm'"),
        (lambda t: t.get("../calm"), InvalidRequest, "name: is '../calm'"),
        (lambda t: t.cancel("calm"), NotFound, "no run is called 'calm'"),
        (lambda t: t.list(limit=0), InvalidRequest, "limit: is 0"),
    ],
)
async def test_what_cannot_be_done_is_said(
    tmp_path: Path, ask: Callable[[Any], Any], kind: type[EmoFeedbackError], words: str
) -> None:
    async with trainer(tmp_path) as client:
        with pytest.raises(kind, match=words):
            await ask(client.trainer)
        assert await client.trainer.list() == ()
        with pytest.raises(NotFound):
            await watched(client, "nobody")


async def test_a_run_that_cannot_be_started_has_failed_and_says_why(tmp_path: Path) -> None:
    async with trainer(tmp_path, Processes(["/nowhere/python"])) as client:
        run = await client.trainer.create(RunRequest(name="calm", config="iterations = 1\n"))
        assert run.state is RunState.FAILED
        assert run.message == "no process for calm can be started: No such file or directory"


async def test_a_damaged_run_is_named_in_the_list_and_the_others_go_on(tmp_path: Path) -> None:
    async with trainer(tmp_path) as client:
        await client.trainer.create(RunRequest(name="calm", config="iterations = 2\n"))
        await until(client, "calm", RunState.FINISHED)
        record = tmp_path / ".service/calm/run.json"
        record.write_text(record.read_text().replace("{", '{"mood": "new",', 1))
        await client.trainer.create(RunRequest(name="tense", config="iterations = 2\n"))
        await until(client, "tense", RunState.FINISHED)
        found = {run.name: run for run in await client.trainer.list()}
        assert found.keys() == {"calm", "tense"} and found["calm"].state is RunState.FAILED
        assert "calm/run.json can't be read" in found["calm"].message and "mood" in found["calm"].message
        assert await client.trainer.get("calm") == found["calm"]
        assert states(await watched(client, "calm")) == [RunState.FAILED]
        lock = tmp_path / ".service/tense/process"
        lock.unlink()
        lock.mkdir()  # neither this one's process can be looked at
    async with trainer(tmp_path, parallel=2) as client:
        assert "Is a directory" in (await client.trainer.get("tense")).message
        await client.trainer.create(RunRequest(name="third", config="iterations = 1\n"))
        await until(client, "third", RunState.FINISHED)
        assert len(await client.trainer.list()) == 3


async def test_a_fault_in_one_pass_over_the_runs_is_counted_and_the_next_pass_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, float]] = []
    metrics.export(lambda metric, value, labels: told.append((metric.name, value)))
    tend, faults = Supervisor._tend, [RuntimeError("a bug"), OSError("a disk")]

    def faulty(self: Supervisor) -> None:
        if faults:
            raise faults.pop()
        tend(self)

    monkeypatch.setattr(Supervisor, "_tend", faulty)
    try:
        async with trainer(tmp_path) as client:
            async with asyncio.timeout(60):
                while "training_tended_timestamp_seconds" not in dict(told):
                    await asyncio.sleep(0.02)
            await client.trainer.create(RunRequest(name="calm", config="iterations = 1\n"))
            await until(client, "calm", RunState.FINISHED)
    finally:
        metrics.export(None)
    assert told.count(("training_faults", 1)) == 2
    assert dict(told)["training_tended_timestamp_seconds"] == pytest.approx(time.time(), abs=60)


async def test_a_service_whose_passes_hang_says_to_its_probe_that_it_is_not_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HANGS_SECONDS", 1.0)
    tend, hanging, released = Supervisor._tend, threading.Event(), threading.Event()

    def slow(self: Supervisor) -> None:
        if hanging.is_set():
            released.wait(600)
        tend(self)

    monkeypatch.setattr(Supervisor, "_tend", slow)
    async with (
        asyncio.timeout(600),
        serving(tmp_path, processes(), token="secret", interval=0.05) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        check = health_pb2_grpc.HealthStub(channel).Check

        async def says(status: int) -> None:
            while (await check(health_pb2.HealthCheckRequest())).status != status:
                await asyncio.sleep(0.05)

        await says(health_pb2.HealthCheckResponse.SERVING)
        hanging.set()
        await says(health_pb2.HealthCheckResponse.NOT_SERVING)
        hanging.clear()
        released.set()
        await says(health_pb2.HealthCheckResponse.SERVING)


async def test_fifty_who_watch_a_long_run_keep_nobody_waiting(tmp_path: Path) -> None:
    async with trainer(tmp_path) as client, asyncio.timeout(600):
        await client.trainer.create(RunRequest(name="calm", config="pace = 600\n"))
        while not (tmp_path / "calm/status.json").exists():
            await asyncio.sleep(0.02)
        lines = (json.dumps({"iteration": n, "policy": f"calm-{n - 1:06d}", "reward": 0.1}) for n in range(1, 5001))
        (tmp_path / "calm/metrics.jsonl").write_text("\n".join(lines) + "\n")
        told = [0] * 50

        async def watch(number: int) -> None:
            async for event in client.trainer.watch("calm", from_iteration=4900):
                told[number] += isinstance(event, IterationDone)

        watching = [asyncio.create_task(watch(number)) for number in range(50)]
        while min(told) < 101:
            await asyncio.sleep(0.05)
        waits = []
        for _ in range(10):
            began = time.process_time()  # service and watchers are of this process; others may use the machine too
            await client.trainer.get("calm")
            waits.append(time.process_time() - began)
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        await client.trainer.cancel("calm")
        print(f"GetRun beside 50 watchers: {sorted(waits)[5]:.3f} s in the middle, {max(waits):.3f} s at most")
        assert sorted(waits)[5] < 1.0


async def test_the_token_is_asked_for(tmp_path: Path) -> None:
    async with trainer(tmp_path, token="secret") as client:
        assert await client.trainer.list() == ()
        async with AsyncClient(client._connection.address, token="guess") as stranger:
            for asked in (stranger.trainer.list(), watched(stranger, "calm")):
                with pytest.raises(Unauthenticated):
                    await asked


async def test_a_folder_and_a_port_belong_to_one_service(tmp_path: Path) -> None:
    async with trainer(tmp_path / "one") as client:
        with pytest.raises(FailedPrecondition, match="another process works in"):
            await serving(tmp_path / "one", processes()).__aenter__()
        port = int(client._connection.address.partition(":")[2])
        with pytest.raises(FailedPrecondition, match="choose another with --port"):
            await serving(tmp_path / "two", processes(), port=port).__aenter__()


async def test_the_command_creates_lists_shows_watches_and_cancels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with trainer(tmp_path) as client:

        async def says(*words: str) -> str:
            address = ["--address", client._connection.address]
            assert await asyncio.to_thread(main, ["runs", *words, *address]) == 0
            return capsys.readouterr().out

        changes = ["--set", "seed=7", "--set", 'rewards.shape = "step"']
        assert "folder " in await says("create", "calm", "--config", "nano", *changes)
        told = await says("watch", "calm")
        assert "iteration 3: reward 0.3\n" in told and "ALARM after 3: the reward rises" in told
        assert told.endswith("calm is finished, 3 of 3 iterations done: the policy is ready\n")
        assert "iteration 2" not in await says("watch", "calm", "--from", "3")
        shown = await says("show", "calm")
        assert 'extends = "nano"\nseed = 7\nrewards.shape = "step"' in shown and "reward 0.3" in shown
        assert "3/3" in await says("list")
        assert "calm is finished" in await says("cancel", "calm")
        address = client._connection.address
        assert await asyncio.to_thread(main, ["runs", "create", "calm", "--address", address]) == 2
        assert await asyncio.to_thread(main, ["runs", "show", "nobody", "--address", address]) == 1
        said = capsys.readouterr().err
        assert "--config: is missing" in said and "no run is called 'nobody'" in said
