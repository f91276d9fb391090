"""`make demo`, from its command to its report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from support.running_services import free_port


def demo(python: Path, home: Path, out: Path) -> subprocess.Popen[str]:
    ports = ("--port", str(free_port()), "--http-port", str(free_port()))
    return subprocess.Popen(
        [str(python), "-m", "emofeedback.cli.demo", "--out", str(out), *ports],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="latin-1",
        start_new_session=True,
        env={**os.environ, "HOME": str(home), "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"},
    )


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """This Python where many people keep theirs: in a folder with a space and an umlaut."""
    environment = tmp_path / "Meine Gefühle" / ".venv"
    environment.parent.mkdir()
    environment.symlink_to(sys.prefix)
    return environment / Path(sys.executable).relative_to(sys.prefix)


def test_the_demo_paints_through_the_services_reports_and_leaves_nothing_running(
    python: Path, tmp_path: Path, out: Path
) -> None:
    (tmp_path / "no folder").touch()
    out = out / "größer werden"
    process = demo(python, tmp_path / "no folder", out)
    family = psutil.Process(process.pid)
    seen: set[psutil.Process] = set()
    while process.poll() is None:
        seen.update(family.children(recursive=True) if family.is_running() else ())
        try:
            process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            continue
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    result = json.loads((out / "result.json").read_text())
    assert len(result["rounds"]) == 3
    assert (out / result["best"]["path"]).is_file()
    assert str(out / "report.html") in stdout.replace("\n", "")
    assert seen, "the demo started no process: were the services there at all?"
    _, alive = psutil.wait_procs(list(seen), timeout=60)
    assert alive == []
