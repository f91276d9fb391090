"""The command against services at an address: the same results, and the services' refusals in its own words."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from emofeedback import backends
from emofeedback.cli.main import main
from emofeedback.domain.assessment import AssessmentFailure, AssessmentOutcome
from emofeedback.judge.calibration_store import CalibrationStore
from emofeedback.runs.directory import read_run
from support.fakes import JUDGE_MODEL, Picture, ScriptedJudge, arbitrary_feeling, known_of, paint
from support.scripted_services import ScriptedEngines, Services, serving

TOKEN = "open sesame"
CREATE = ("create", "a boat on the lake", "--emotion", "awe", "--images", "3")


@pytest.fixture
def services() -> Iterator[Services]:
    """Scripted services behind a token, in an event loop of their own."""
    services = Services(token=TOKEN)
    ready, done = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with serving(services):
            ready.set()
            await done.wait()

    thread = threading.Thread(target=partial(loop.run_until_complete, serve()))
    thread.start()
    assert ready.wait(60)
    yield services
    loop.call_soon_threadsafe(done.set)
    thread.join(60)
    loop.close()


def at(services: Services, token: str = TOKEN) -> tuple[str, ...]:
    return ("--address", services.address, "--token", token)


def test_create_leaves_the_same_run_as_in_process(services: Services, tmp_path: Path) -> None:
    assert main([*CREATE, *at(services), "--out", str(tmp_path / "there")]) == 0
    assert main([*CREATE, "--out", str(tmp_path / "here")], connect=ScriptedEngines().connect) == 0
    there, here = read_run(tmp_path / "there"), read_run(tmp_path / "here")
    assert (there.profile, here.profile) == (None, "nano")
    assert (there.best, there.criticisms, there.judge) == (here.best, here.criticisms, here.judge)
    assert [dataclasses.replace(r, seconds=0) for r in there.rounds] == [
        dataclasses.replace(r, seconds=0) for r in here.rounds
    ]
    for image in (tmp_path / "here").glob("round-*/*.png"):
        assert image.read_bytes() == (tmp_path / "there" / image.relative_to(tmp_path / "here")).read_bytes()


def test_create_for_a_person_leaves_the_same_run_as_in_process(services: Services, tmp_path: Path) -> None:
    people = CalibrationStore(str(tmp_path / "people"))
    people.write(known_of("ada", JUDGE_MODEL))
    services.judge.calibrations = people
    engines = ScriptedEngines(scripted_judge=ScriptedJudge(calibrations=people))
    assert main([*CREATE, "--user", "ada", *at(services), "--out", str(tmp_path / "there")]) == 0
    assert main([*CREATE, "--user", "ada", "--out", str(tmp_path / "here")], connect=engines.connect) == 0
    there, here = read_run(tmp_path / "there"), read_run(tmp_path / "here")
    assert (there.request.user, there.best, there.criticisms) == ("ada", here.best, here.criticisms)
    assert set(services.judge.users) == set(engines.scripted_judge.users) == {"ada"}


def test_a_wrong_token_is_one_clear_line(
    services: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*CREATE, *at(services, "open barley"), "--out", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "token" in said and said.count("\n") == 1
    assert list((tmp_path / "run").iterdir()) == []


def test_the_token_may_come_from_the_environment(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photo.png").write_bytes(paint("a boat", 1))
    assert main(["assess", str(tmp_path / "photo.png"), "--address", services.address]) == 1
    monkeypatch.setenv("EMOFEEDBACK_TOKEN", TOKEN)
    assert main(["assess", str(tmp_path / "photo.png"), "--address", services.address]) == 0


def test_no_service_at_the_address_is_said_at_once_and_once_and_in_the_end_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "PATIENCE_SECONDS", 1.0)
    assert main([*CREATE, "--address", "127.0.0.1:1", "--out", str(tmp_path / "run")]) == 1
    first, *between, last = capsys.readouterr().err.splitlines()
    assert first.startswith("note: nothing answers at 127.0.0.1:1; start it with `emofeedback serve`")
    assert "next try in" in first and first.endswith(", given up after 1 s")
    assert between == [], "so soon it is not said again"
    assert last.startswith("error: nothing answers at 127.0.0.1:1; start it with `emofeedback serve`")


def test_services_behind_tls_are_an_address_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CREATE, "--address", "https://127.0.0.1/path", "--out", str(tmp_path / "run")]) != 0
    assert "--address: 'https://127.0.0.1/path' is not HOST:PORT or https://HOST" in capsys.readouterr().err


def test_one_image_that_the_judge_refuses_does_not_cost_the_others(
    services: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def feeling(picture: Picture) -> AssessmentOutcome:
        return AssessmentFailure(reason="no rating") if picture.seed == 1 else arbitrary_feeling(picture)

    services.judge.feeling = feeling
    paths = [tmp_path / f"{name}.png" for name in ("fine", "unreadable", "empty")]
    for seed, path in enumerate(paths):
        path.write_bytes(paint("a boat", seed))
    paths[2].write_bytes(b"")
    assert main(["assess", *map(str, paths), "--json", *at(services)]) == 1
    said = capsys.readouterr()
    assert [json.loads(line)["path"] for line in said.out.splitlines()] == [str(paths[0])]
    assert f"error: {paths[1]}: the judge could not say: no rating" in said.err
    assert f"error: {paths[2]}: is empty" in said.err
