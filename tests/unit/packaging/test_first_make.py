"""What `make demo` does first, on a machine that isn't ready for it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.documents import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What of a clone `make demo` reads first, in a folder that has a space in its name."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def make_demo(clone: Path, python: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "demo", f"PYTHON={python}", "TORCH_INDEX="]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_python_that_is_too_old_is_refused_before_anything_is_made(clone: Path) -> None:
    code = "import sys; sys.version_info = (3, 10, 4); exec(sys.argv[1])"
    old = script(clone / "old python", f'exec {shlex.quote(sys.executable)} -c {shlex.quote(code)} "$2"')
    done = make_demo(clone, old)
    assert done.returncode != 0
    assert done.stderr.startswith("Python 3.11 or newer is needed: PYTHON=NAME\n")
    assert not (clone / ".venv").exists()


def test_a_machine_without_python_is_told_so(clone: Path) -> None:
    assert make_demo(clone, "").stderr.startswith("there is no python3 on PATH")


def test_an_environment_that_was_left_without_pip_is_made_again(clone: Path) -> None:
    (clone / ".venv" / "bin").mkdir(parents=True)
    script(clone / ".venv" / "bin" / "python", "exit 0")
    logged = f'[ "$1" = -c ] && exec {shlex.quote(sys.executable)} "$@"; echo "$@" > made; exit 1'
    make_demo(clone, script(clone / "python", logged))
    assert (clone / "made").read_text() == "-m venv .venv\n"
