"""`make demo`, from its command to its report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil

from support.running_services import free_port


def demo(out: Path) -> subprocess.Popen[str]:
    ports = ("--port", str(free_port()), "--http-port", str(free_port()))
    return subprocess.Popen(
        [sys.executable, "-m", "emofeedback.cli.demo", "--out", str(out), *ports],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_the_demo_paints_through_the_services_reports_and_leaves_nothing_running(out: Path) -> None:
    process = demo(out)
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
    _, alive = psutil.wait_procs(list(seen), timeout=30)
    assert alive == []
