"""The demo takes nothing from anybody: it checks first, paints beside, replaces last, and goes on where it was cut."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from emofeedback.cli import demo
from emofeedback.domain.errors import FailedPrecondition
from support.fakes import ScriptedGenerator
from support.running_services import free_port
from support.scripted_services import Services, serving

ROOT = Path(__file__).parents[2]


@pytest.fixture
def generator() -> ScriptedGenerator:
    return ScriptedGenerator()


@pytest.fixture
def run_demo(generator: ScriptedGenerator) -> Callable[..., int]:
    """Runs the demo against scripted services."""

    @contextmanager
    def scripted(profile: str, *, port: int, http_port: int, progress: Callable[[str], None]) -> Iterator[str]:
        progress("starting Ray")
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        context = serving(Services(generator=generator))
        running = asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result()
        try:
            yield running.address
        finally:
            asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def run(*arguments: str) -> int:
        return demo.main(list(arguments), services=scripted)

    return run


def refusing(error: BaseException) -> Callable[..., Any]:
    """Services that do not come up."""

    @contextmanager
    def services(profile: str, **options: Any) -> Iterator[str]:
        raise error
        yield ""

    return services


@pytest.fixture
def former(tmp_path: Path) -> Path:
    """A run that somebody has."""
    folder = tmp_path / "runs" / "cat"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text('{"dear": "to me"}')
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_finished_demo_takes_its_place_and_the_former_run_is_kept(
    run_demo: Callable[..., int], former: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert run_demo("--out", str(former)) == 0
    said = capsys.readouterr()
    kept = former.with_name("cat-1")
    assert (kept / "result.json").read_text() == '{"dear": "to me"}'
    assert f"The former run is kept in {kept}" in said.out.splitlines()
    assert f"Report: {former / 'report.html'}" in said.out.splitlines() and (former / "report.html").is_file()
    assert json.loads((former / "result.json").read_text())["stopped_because"] == "rounds"
    assert names(former.parent) == {"cat", "cat-1", "cat-2"}
    assert "note: starting Ray" in said.err


@pytest.mark.parametrize(
    ("error", "code"), [(FailedPrecondition("port 9000 on 127.0.0.1 can't be used"), 1), (KeyboardInterrupt(), 130)]
)
def test_where_the_services_do_not_come_up_everything_is_as_it_was(
    former: Path, error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.main(["--out", str(former)], services=refusing(error)) == code
    assert capsys.readouterr().err.startswith("error: ")
    assert names(former.parent) == {"cat"} and names(former) == {"result.json"}


@pytest.mark.parametrize("through_make", [False, True])
def test_a_cut_demo_goes_on_by_the_command_that_it_names(
    run_demo: Callable[..., int],
    generator: ScriptedGenerator,
    former: Path,
    through_make: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if through_make:
        monkeypatch.setenv("MAKELEVEL", "1")
    else:
        monkeypatch.delenv("MAKELEVEL", raising=False)
    spaced = former.rename(former.with_name("my cat's"))
    generator.failures = {(1, 2): FailedPrecondition("the generator is gone")}
    assert run_demo("--out", str(spaced)) == 1
    said = capsys.readouterr().err
    assert "1 finished round are kept" in said
    assert names(spaced) == {"result.json"}, "the former run keeps its place until the new one is finished"
    generator.failures = {}
    promised = said.partition("`")[2].partition("` goes on from there")[0]
    assert run_demo(*demo_arguments(promised)) == 0
    assert json.loads((spaced / "result.json").read_text())["stopped_because"] == "rounds"
    assert len([r for r in generator.requests if r.prompt == demo.REQUEST.prompt]) == 1, "round one is not repeated"
    assert names(spaced.parent) == {"my cat's", "my cat's-1"}


def demo_arguments(command: str) -> list[str]:
    """What a command line, as a shell and perhaps make read it, hands to the demo."""
    words = shlex.split(command)
    if words[0] == "make":
        if shutil.which("make") is None:
            pytest.skip("make is not installed")
        printed = subprocess.run(
            [*words, "--dry-run", "--old-file", ".venv/.serving"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        words = shlex.split(next(line for line in printed.stdout.splitlines() if "emofeedback.cli.demo" in line))
    return words[words.index("emofeedback.cli.demo") + 1 :]


def test_a_cut_demo_that_is_not_gone_on_with_is_kept_as_well(
    run_demo: Callable[..., int], generator: ScriptedGenerator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator.failures = {(0, 2): FailedPrecondition("the generator is gone")}
    assert run_demo("--out", str(tmp_path / "demo")) == 1
    generator.failures = {}
    assert run_demo("--out", str(tmp_path / "demo")) == 0
    assert f"What was cut before is kept in {tmp_path / 'demo-1'}" in capsys.readouterr().out
    assert (tmp_path / "demo-1" / "round-1" / "image-1.png").is_file()
    assert names(tmp_path) == {"demo", "demo-1"}


def test_what_is_no_run_and_what_is_not_there_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    never = refusing(AssertionError("the services were started"))
    (tmp_path / "thesis.tex").write_text("years of work")
    for place in (tmp_path, tmp_path / "thesis.tex"):
        assert demo.main(["--out", str(place)], services=never) == 2
        assert f"--out: {place} is there and is no run" in capsys.readouterr().err
    assert demo.main(["--out", str(tmp_path / "thesis.tex" / "demo")], services=never) == 2
    assert "thesis.tex is a file: name a folder" in capsys.readouterr().err
    assert demo.main(["--out", str(tmp_path / "demo"), "--resume"], services=never) == 2
    assert "--resume: there is no cut demo" in capsys.readouterr().err


@pytest.mark.skipif(not str(ROOT).isascii(), reason="in such a locale Python itself can't start from such a folder")
def test_what_ray_could_not_read_in_a_locale_without_unicode_is_refused_at_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "emofeedback.cli.demo", "--out", str(tmp_path / "größer"), *ports()],
        env={
            **os.environ,
            "LC_ALL": "C",
            "PYTHONCOERCECLOCALE": "0",
            "PYTHONUTF8": "0",
            "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("services", "trainer")),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: Ray can't read ") and "set PYTHONUTF8=1" in done.stderr
    assert names(tmp_path) == set()


def ports() -> tuple[str, ...]:
    return "--port", str(free_port()), "--http-port", str(free_port())
