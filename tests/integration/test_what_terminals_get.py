"""Whatever people and models write, a terminal or file gets what it can show, and nothing that steers it."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from emofeedback.observability.console import escape_what_has_no_code, say, shown
from emofeedback.observability.consoles import Consoles, PlainConsole
from emofeedback.storage.files import write_json
from emofeedback_trainer.cli import main as train
from support.pictures import encoded, red
from support.scripted_services import Services

PACKAGES = [Path(__file__).parents[2] / part for part in ("services", "trainer")]
STEERS = "\x1b[31m\x07\r\x08\x9b2J\u202eyad\u2028"


async def test_a_redirected_windows_console_gets_the_result_of_a_picture_with_a_japanese_name(
    services: Services, tmp_path: Path
) -> None:
    (tmp_path / "画像.png").write_bytes(encoded(red(size=(64, 64))))
    path = os.pathsep.join(map(str, PACKAGES))
    for options in ([], ["--json"]):
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "emofeedback", "assess", "画像.png", "--address", services.address, *options],
            env={**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0", "PYTHONPATH": path},
            cwd=tmp_path,
            capture_output=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr.decode("cp1252")
        assert r"\u753b\u50cf.png" in done.stdout.decode("cp1252")
    assert json.loads(done.stdout)["path"] == "画像.png"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@given(text=st.text())
def test_every_text_reaches_every_stream_and_none_steers_it(encoding: str, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("stdout", "stderr"):
            patch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding=encoding))
        escape_what_has_no_code()
        consoles = Consoles()
        table = Table("column")
        table.add_row(text)
        consoles.say(text)
        consoles.out.print(table)
        consoles.note(text)
        consoles.error(text)
        say(text)
        say(text, sys.stderr)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            assert isinstance(stream.buffer, io.BytesIO)
            written = stream.buffer.getvalue().decode(encoding)
            assert shown(written) == written.replace("\r\n", "\n")


def test_what_would_steer_a_terminal_is_shown_and_nothing_of_it_is_lost() -> None:
    said = shown(f"a boat{STEERS}")
    assert said == r"a boat\x1b[31m\x07\r\x08\x9b2J\u202eyad\u2028"
    assert shown("a boat,\n\t画像 🙂‍↕️ é") == "a boat,\n\t画像 🙂‍↕️ é"


def test_markup_in_a_name_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    PlainConsole().print("[bold]run[/x] :boat:")
    assert capsys.readouterr().out == "[bold]run[/x] :boat:\n"


def test_the_trainers_command_shows_what_it_was_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(["data", "check", "oasis", str(tmp_path / f"no{STEERS}where")]) == 2
    with pytest.raises(SystemExit):
        train(["data", "check", "oasis", "folder", f"more{STEERS}"])
    said = capsys.readouterr().err
    assert r"no\x1b[31m\x07\r" in said and r"more\x1b[31m\x07\r" in said and shown(said) == said


def test_nothing_in_the_packages_speaks_past_the_one_place() -> None:
    for package in PACKAGES:
        for path in package.rglob("*.py"):
            code = path.read_text(encoding="utf-8")
            if path.name != "consoles.py" and "v1" not in path.parts:
                assert " Console(" not in code and "=Console(" not in code and "\nprint(" not in code, path


def test_names_that_are_no_unicode_are_kept_escaped_in_files(tmp_path: Path) -> None:
    write_json(tmp_path / "result.json", {"profile": "caf\udce9.toml", "prompt": "画像"})
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["profile"] == "caf\udce9.toml"
    assert "画像" in (tmp_path / "result.json").read_text(encoding="utf-8")


_ON_A_TERMINAL = """
import sys
sys.path.insert(0, {tests!r})
from emofeedback.cli.main import main
from support.scripted_services import ScriptedEngines
engines = ScriptedEngines()
engines.generator.unknown_words = frozenset({{"Häuschen", "画像"}})
engines.generator.delay = 0.2
sys.exit(main(sys.argv[1:], connect=engines.connect))
"""


_IN_ASCII = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.mark.skipif(not str(PACKAGES[0]).isascii(), reason="in such a locale Python itself can't start from there")
def test_a_prompt_is_read_and_its_run_kept_in_a_locale_without_its_letters(tmp_path: Path) -> None:
    script = tmp_path / "command.py"
    script.write_text(_ON_A_TERMINAL.format(tests=str(Path(__file__).parents[1])), encoding="utf-8")

    def create(prompt: str | bytes) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, script, "create", prompt, "--emotion", "awe", "--images", "1", "--rounds", "1"],
            env={**os.environ, **_IN_ASCII, "PYTHONPATH": os.pathsep.join(map(str, PACKAGES))},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )

    done = create("Häuschen 画像")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "runs" / "huschen" / "result.json").read_text(encoding="utf-8"))
    assert result["request"]["prompt"] == "Häuschen 画像"
    refused = create("Häuschen".encode("latin-1"))
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1) and "set a UTF-8 locale" in refused.stderr


def test_a_table_is_as_wide_as_what_the_stream_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", stream)
    table = Table("column")
    table.add_row("画像")
    PlainConsole().print(table)
    stream.seek(0)
    lines = stream.read().splitlines()
    assert any(r"\u753b\u50cf" in line for line in lines) and len({len(line) for line in lines}) == 1


@pytest.mark.parametrize("words", [["create", "Häuschen 画像", "--emotion", "awe"], ["sweep", "画像", "--grid", "2"]])
def test_a_latin_1_terminal_gets_a_run_with_its_live_view_to_the_end(words: list[str], tmp_path: Path) -> None:
    script = _ON_A_TERMINAL.format(tests=str(Path(__file__).parents[1]))
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", script, *words, "--images", "1", "--rounds", "1", "--out", str(tmp_path / "né 画")],
        env={
            **os.environ,
            "LC_ALL": "C.UTF-8",
            "PYTHONIOENCODING": "latin-1",
            "PYTHONUTF8": "0",
            "PYTHONPATH": os.pathsep.join(map(str, PACKAGES)),
            "TERM": "xterm",
        },
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    while chunk := _read(ours):
        said += chunk
    os.close(ours)
    text = said.decode("latin-1")
    assert process.wait(timeout=300) == 0, text
    assert "Round 1 of" in text and r"\u753b" in text
    assert (tmp_path / "né 画" / "result.json").is_file()


def _read(terminal: int) -> bytes:
    """What was written next; empty once nobody can write any more, which Linux calls an error."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""
