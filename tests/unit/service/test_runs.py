"""How a run stands, by its record, its own words and its process; and what its files tell, each thing once."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest, ResourceExhausted
from emofeedback.domain.training import Alarm, IterationDone, PanelMeasured, PolicyPublished, RunState
from emofeedback_trainer.core.history import History
from emofeedback_trainer.core.jsonl import Tail, add_line, cut_back, last_line, read_lines
from emofeedback_trainer.core.run_files import Status, read_status
from emofeedback_trainer.service.backends.base import JobStatus
from emofeedback_trainer.service.backends.process import Processes
from emofeedback_trainer.service.client_cli import configuration, told
from emofeedback_trainer.service.store import Record, RunStore, silence, standing


def record(**changes: Any) -> Record:
    return Record(**{"name": "calm", "policies": "p", "request_id": "", "created": 1.0, "queued": 1.0, **changes})


def status(state: str, message: str = "") -> Status:
    return Status(state=RunState(state), iteration=2, iterations=5, message=message)


@pytest.mark.parametrize(
    ("decided", "said", "alive", "state", "message"),
    [
        ({}, None, False, RunState.QUEUED, ""),
        ({"canceled": 2.0}, None, False, RunState.CANCELED, ""),
        ({"started": True}, None, True, RunState.RUNNING, ""),
        ({"started": True}, status("paused", "no judge"), True, RunState.PAUSED, "no judge"),
        ({"started": True}, status("finished"), True, RunState.RUNNING, ""),  # it still writes its report
        ({"started": True}, status("finished"), False, RunState.FINISHED, ""),
        ({"started": True}, status("failed", "why"), False, RunState.FAILED, "why"),
        ({"started": True, "canceled": 2.0}, status("running"), True, RunState.RUNNING, "being cancelled"),
        ({"started": True, "canceled": 2.0}, status("canceled"), False, RunState.CANCELED, ""),
        ({"started": True, "canceled": 2.0}, status("running"), False, RunState.CANCELED, "it was killed"),
        ({"started": True, "canceled": 2.0}, status("finished"), False, RunState.FINISHED, ""),  # it was faster
        ({"started": True}, status("running"), False, RunState.FAILED, "its process is gone (its last words: oh)"),
        ({"started": True}, None, False, RunState.FAILED, "can be resumed"),
        ({"started": True, "refused": "may not"}, None, False, RunState.FAILED, "may not"),
        ({"started": True, "canceled": 2.0}, None, False, RunState.CANCELED, ""),
    ],
)
def test_a_run_stands_as_its_record_its_words_and_its_process_say(
    decided: dict[str, Any], said: Status | None, alive: bool, state: RunState, message: str
) -> None:
    found, why = standing(record(**decided), said, JobStatus(alive=alive, words="" if alive else "oh"))
    assert found is state
    assert message in why and bool(message) == bool(why)


def test_a_run_that_waits_for_room_in_a_cluster_is_queued_and_says_what_it_waits_for() -> None:
    waits = JobStatus(alive=True, words="0/3 nodes have a GPU to spare")
    assert standing(record(started=True), None, waits) == (RunState.QUEUED, waits.words)
    assert standing(record(started=True), status("running"), waits)[0] is RunState.RUNNING


def write(folder: Path, name: str, *lines: dict[str, Any], cut: str = "") -> None:
    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines) + cut)


def test_history_comes_in_order_and_only_once(tmp_path: Path) -> None:
    history = History(tmp_path)
    assert history.news() == []
    write(tmp_path, "eval.jsonl", {"iteration": 0, "error": 4.0, "alarm": ""})
    write(tmp_path, "metrics.jsonl", {"iteration": 1, "reward": 0.5, "policy": "calm-000000"})
    assert history.news() == [
        PolicyPublished(iteration=0, policy="calm-000000"),
        PanelMeasured(iteration=0, metrics={"error": 4.0}),
        IterationDone(iteration=1, metrics={"reward": 0.5}),
    ]
    assert history.news() == []
    write(
        tmp_path,
        "metrics.jsonl",
        {"iteration": 1, "reward": 0.5, "policy": "calm-000000"},
        {"iteration": 2, "reward": 0.6, "policy": "calm-000001"},
        cut='{"iteration": 3, "rew',
    )
    write(
        tmp_path,
        "eval.jsonl",
        {"iteration": 0, "error": 4.0, "alarm": ""},
        {"iteration": 2, "error": 4.5, "alarm": "it falls"},
    )
    assert history.news() == [
        PolicyPublished(iteration=1, policy="calm-000001"),
        IterationDone(iteration=2, metrics={"reward": 0.6}),
        PanelMeasured(iteration=2, metrics={"error": 4.5}),
        Alarm(iteration=2, text="it falls"),
    ]


def test_a_curve_that_a_resumed_run_has_cut_is_not_told_again(tmp_path: Path) -> None:
    lines = [{"iteration": i, "reward": i / 10, "policy": "p"} for i in range(1, 6)]
    history = History(tmp_path)
    write(tmp_path, "metrics.jsonl", *lines[:4])
    history.news()
    write(tmp_path, "metrics.jsonl", *lines[:2])
    assert history.news() == []
    write(tmp_path, "metrics.jsonl", *lines)
    assert [event.iteration for event in history.news()] == [5]


def test_history_begins_where_it_is_asked_to(tmp_path: Path) -> None:
    lines = [{"iteration": i, "policy": f"p{i - 1}"} for i in range(1, 5)]
    write(tmp_path, "metrics.jsonl", *lines)
    write(tmp_path, "result.json", {"iterations": 4, "policy": "p-final"})
    events = History(tmp_path, from_iteration=3).news()
    assert [type(event) for event in events] == [IterationDone, PolicyPublished, IterationDone, PolicyPublished]
    assert [event.iteration for event in events] == [3, 3, 4, 4]


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"state": "asleep", "iteration": 1, "iterations": 2}')
    with pytest.raises(FailedPrecondition, match=r"status\.json can't be read: .*asleep"):
        read_status(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("no json\n")
    with pytest.raises(FailedPrecondition, match=r"metrics\.jsonl can't be read"):
        read_lines(tmp_path / "metrics.jsonl")


def test_records_outlive_the_store_and_come_in_the_order_of_the_queue(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    for name, queued in (("late", 9.0), ("early", 3.0)):
        store.keep(record(name=name, queued=queued), config="seed = 1\n")
    records, unreadable = RunStore(tmp_path).records()
    assert [found.name for found in records] == ["early", "late"] and not unreadable
    assert store.config_path("late").read_text() == "seed = 1\n"


NEWER = json.dumps({**asdict(Record(name="calm", policies="", request_id="", created=1, queued=1)), "mood": "new"})

LATER = json.dumps(asdict(Record(name="calm", policies="", request_id="", created=1e300, queued=1)))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "[" * 100_000, '{"name": "other"}', NEWER, LATER, b"\xff\xfe".decode("latin1")]
)
def test_a_record_that_cant_be_read_costs_its_own_run_only(tmp_path: Path, content: str) -> None:
    store = RunStore(tmp_path)
    for name in ("calm", "tense"):
        store.keep(record(name=name), config="seed = 1\n")
    (store.service_directory("calm") / "run.json").write_text(content)
    records, unreadable = store.records()
    assert [found.name for found in records] == ["tense"]
    assert unreadable.keys() == {"calm"} and "calm/run.json can't be read" in unreadable["calm"]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (".service/calm/config.toml", None),
        (".service/calm/config.toml", b"\xff"),
        ("calm/status.json", b"{"),
        ("calm/metrics.jsonl", b"no json\n"),
        ("calm/eval.jsonl", b"[1]\n"),
    ],
)
def test_a_run_of_which_a_file_cant_be_read_stands_all_the_same_and_names_it(
    tmp_path: Path, file: str, content: bytes | None
) -> None:
    store = RunStore(tmp_path)
    store.keep(record(started=True), config="seed = 1\n")
    (tmp_path / "calm").mkdir()
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    run = store.run(record(started=True), JobStatus(alive=True))
    assert run.state is RunState.RUNNING
    assert f"{tmp_path / file} can't be read" in run.message


@pytest.mark.parametrize(
    ("silent", "iteration", "is_told"), [(60, 5.0, False), (1700, 5.0, False), (1900, 5.0, True), (1900, 600.0, False)]
)
def test_a_process_that_says_nothing_for_long_is_told_of(silent: float, iteration: float, is_told: bool) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    said = replace(status("running"), updated=now - timedelta(seconds=silent))
    assert bool(silence(said, {"seconds": iteration}, now)) is is_told
    assert silence(status("running"), {}, now) == silence(None, {}, now) == ""


@given(
    lines=st.lists(st.text(st.characters(codec="utf-8"), max_size=3000), max_size=8),
    cut=st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=50),
)
def test_the_last_whole_line_is_found_from_the_end(lines: list[str], cut: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.jsonl"
        for number, text in enumerate(lines):
            add_line(path, {"iteration": number, "text": text})
        with path.open("a", encoding="utf-8") as file:
            file.write(cut)
        assert last_line(path) == next(iter(read_lines(path)[::-1]), None)


def test_a_curve_is_read_once_however_often_it_is_looked_at(tmp_path: Path) -> None:
    path, tail = tmp_path / "metrics.jsonl", Tail()
    assert tail.news(path) == []
    add_line(path, {"iteration": 1})
    assert [line["iteration"] for line in tail.news(path)] == [1]
    with path.open("a") as file:
        file.write('{"iteration": 2}\n{"iterat')
    assert [line["iteration"] for line in tail.news(path)] == [2]
    assert tail.news(path) == []
    cut_back(path, "iteration", 1)
    assert [line["iteration"] for line in tail.news(path)] == [1]


class Sleeper:
    """Processes that prepare, say a word, and then run a line of Python."""

    def __init__(self, line: str, prepare: str = "pass") -> None:
        script = f"import signal, subprocess, sys, time; {prepare}; print('hello'); {line}"
        self.processes = Processes([sys.executable, "-uc", script])

    def started(self, folder: Path) -> Processes:
        self.processes.start(folder, [])
        until(lambda: "hello" in (folder / "output.log").read_text())
        return self.processes


def until(holds: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_a_process_is_known_to_whoever_asks_and_only_as_long_as_it_lives(tmp_path: Path) -> None:
    processes = Sleeper("time.sleep(60)").started(tmp_path)
    another = Processes()  # as after a restart of the service
    assert processes.look(tmp_path) == another.look(tmp_path) == JobStatus(alive=True)
    first = (tmp_path / "process").read_text()
    another.start(tmp_path, [])  # a service that was cut before it knew that it had started the run
    assert (tmp_path / "process").read_text() == first
    another.interrupt(tmp_path)
    until(lambda: not another.look(tmp_path).alive and not processes.look(tmp_path).alive)
    assert another.look(tmp_path) == JobStatus(alive=False, words="KeyboardInterrupt")
    another.kill(tmp_path)  # nobody is there any more: nothing happens


def test_a_process_that_ignores_the_request_is_killed_with_what_it_has_started(tmp_path: Path) -> None:
    child = "subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    processes = Sleeper(child, prepare="signal.signal(signal.SIGINT, signal.SIG_IGN)").started(tmp_path)
    processes.interrupt(tmp_path)
    time.sleep(0.2)
    assert processes.look(tmp_path).alive
    processes.kill(tmp_path)
    group = (tmp_path / "process").read_text()

    def all_gone() -> bool:
        alive = processes.look(tmp_path).alive  # which waits for its dead child, too: a zombie is still in the group
        return not alive and not subprocess.run(["pgrep", "-g", group], capture_output=True, check=False).stdout

    until(all_gone)


@pytest.mark.parametrize("content", ["", "-1", "0", "one", "²"])
def test_a_process_whose_number_is_lost_is_not_mistaken_for_another(tmp_path: Path, content: str) -> None:
    processes = Sleeper("time.sleep(60)").started(tmp_path)
    number = (tmp_path / "process").read_text()
    (tmp_path / "process").write_text(content)
    with pytest.raises(FailedPrecondition, match="holds no process's number"):
        processes.kill(tmp_path)
    assert processes.look(tmp_path).alive
    (tmp_path / "process").write_text(number)
    processes.kill(tmp_path)
    until(lambda: not processes.look(tmp_path).alive)


def test_a_run_is_not_started_on_a_full_disk_or_in_a_folder_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FailedPrecondition, match="can't be written: No such file"):
        Processes().start(tmp_path / "gone", [])

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(ResourceExhausted, match="the disk is full"):
        Processes().start(tmp_path, [])


def test_a_command_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="can be started: No such file"):
        Processes(["/nowhere/python"]).start(tmp_path, [])
    assert Processes().look(tmp_path) == JobStatus(alive=False)


def test_a_built_in_configuration_is_sent_with_what_changes(tmp_path: Path) -> None:
    sent = configuration("nano", ["iterations=60", "rewards.alignment = 0.5"])
    assert sent == 'extends = "nano"\niterations = 60\nrewards.alignment = 0.5\n'
    file = tmp_path / "mine.toml"
    file.write_text("iterations = 7\n")
    assert configuration(str(file), []) == "iterations = 7\n"
    for source, changes, problem in (
        (None, [], "--config: is missing"),
        ("nano", ["iterations"], "--set: 'iterations' is not of the form KEY=VALUE"),
        (str(file), ["seed=1"], "--set: goes with a built-in"),
        (str(tmp_path / "none.toml"), [], "can't be read"),
    ):
        with pytest.raises(InvalidRequest, match=problem):
            configuration(source, changes)


def test_an_event_is_told_in_one_line() -> None:
    assert told(IterationDone(iteration=3, metrics={"reward": 0.5, "kl": 0.01})) == "iteration 3: reward 0.5, KL 0.01"
    assert told(Alarm(iteration=3, text="it falls")) == "ALARM after 3: it falls"


def test_a_client_of_the_service_needs_no_pytorch() -> None:
    script = "import sys; from emofeedback_trainer.cli import main\ntry: main(['runs', '--help'])\n"
    script += "except SystemExit: assert 'grpc' in sys.modules and not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
