"""Each distribution does what it is for in an empty environment; `make release` hands its own over as DIST."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.scripted_services import Services, serving

pytestmark = pytest.mark.nightly

ROOT = Path(__file__).parents[2]
PROJECTS = (".", "services/emofeedback/nano", "trainer")

CONNECTS = """
import sys
from importlib.util import find_spec
from emofeedback import Client
assert not any(find_spec(name) for name in ("torch", "numpy", "ray", "emofeedback_trainer", "emofeedback.nano"))
with Client(sys.argv[1]) as client:
    print(client.create("a quiet harbor", emotion="awe", rounds=1, images=2))
"""


def done(*command: str | Path, folder: Path) -> str:
    """What a command prints, in a folder that is not the repository."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True, timeout=1800
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels, each built from its source distribution."""
    if given := os.environ.get("DIST"):
        return (ROOT / given).resolve()
    folder = tmp_path_factory.mktemp("dist")
    for project in PROJECTS:
        build = ("-m", "build", "--no-isolation", "--outdir", folder)
        done(sys.executable, *build, ROOT / project, folder=folder)
    return folder


def installed(environment: Path, dist: Path, *requirements: str) -> Path:
    """The folder of commands of a new environment with some distributions and what they ask for, in tested versions."""
    done(sys.executable, "-m", "venv", environment, folder=environment.parent)
    pip = (environment / "bin" / "pip", "--disable-pip-version-check", "install", "-c", ROOT / "constraints.txt")
    if requirements != ("emofeedback",) and (index := os.environ.get("TORCH_INDEX")):
        done(*pip, "--no-deps", "--index-url", index, "torch", folder=environment.parent)
    done(*pip, "--find-links", dist, *requirements, folder=environment.parent)
    return environment / "bin"


@pytest.fixture
async def address() -> AsyncIterator[str]:
    """Of scripted services."""
    async with serving(Services()) as running:
        yield running.address


async def test_the_client_alone_connects_to_services(dist: Path, address: str, tmp_path: Path) -> None:
    commands = await asyncio.to_thread(installed, tmp_path / "client", dist, "emofeedback")
    (tmp_path / "connect.py").write_text(CONNECTS)
    said = await asyncio.to_thread(done, commands / "python", "connect.py", address, folder=tmp_path)
    assert "a quiet harbor" in said
    assert not (commands / "emofeedback-train").exists()
    missing = subprocess.run(
        [commands / "emofeedback", "create", "a cat", "--emotion", "awe"], cwd=tmp_path, capture_output=True, text=True
    )
    assert missing.returncode == 1 and "pip install 'emofeedback[nano]'" in missing.stderr


def test_with_the_embedded_models_it_paints_and_the_trainer_reads_its_commands(dist: Path, tmp_path: Path) -> None:
    commands = installed(tmp_path / "whole", dist, "emofeedback[nano]", "emofeedback-trainer")
    run = ("--valence", "7", "--arousal", "3", "--rounds", "1", "--images", "2", "--out", "run")
    done(commands / "emofeedback", "create", "a dog in a meadow", *run, folder=tmp_path)
    assert len(list((tmp_path / "run").rglob("*.png"))) >= 2
    assert (tmp_path / "run" / "report.html").is_file()
    assert "flow-grpo" in done(commands / "emofeedback-train", "--help", folder=tmp_path)
    assert "--resume" in done(commands / "emofeedback-train", "flow-grpo", "--help", folder=tmp_path)
