"""A disk that is full again and again, and one that can't be written: one clear error, then it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from support.forked_command import Command, ran, warm
from support.killed_command import kept
from support.small_disk import SmallDisk, mounted
from support.small_evaluations import NAMES as EVALUATIONS
from support.small_evaluations import evaluations
from support.small_trainings import NAMES, commands

LARGE = 64 << 20
SHARES = (0.0, 0.25, 0.5, 0.75)
"""Of the room that a whole run takes: so much there is, one after another."""

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def long_commands(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Command]:
    warm()
    folder = tmp_path_factory.mktemp("inputs")
    return {**commands(folder), **evaluations(folder / "evaluations")}


@pytest.mark.parametrize("name", [*NAMES, *EVALUATIONS])
def test_a_command_ends_with_one_error_and_goes_on_once_there_is_room(
    name: str, long_commands: Mapping[str, Command], tmp_path: Path
) -> None:
    command, log = long_commands[name], tmp_path / "log"
    with mounted(tmp_path / "whole-disk", size=LARGE) as disk:
        ended = ran(command, disk.path / "run", log)
        assert ended.code == 0, ended.said
        whole, used = kept(disk.path / "run"), disk.used
    with mounted(tmp_path / "disk", size=LARGE) as disk:
        run = disk.path / "run"
        codes = [refused(command, disk, log, size=LARGE, read_only=True)]
        codes += [refused(command, disk, log, size=max(round(share * used), 4096)) for share in SHARES]
        codes += [refused(command, disk, log, size=LARGE, read_only=True)]
        disk.set(size=LARGE)
        ended = ran(command, run, log, resume=run.exists())
        assert ended.code == 0, ended.said
        assert kept(run) == whole
    print(f"{name}: read-only, full {len(SHARES)} times, read-only; codes {codes}; then as if nothing had been")


def refused(command: Command, disk: SmallDisk, log: Path, *, size: int, read_only: bool = False) -> int:
    """Runs it on a disk that can't take it; returns the exit code, 0 where it had enough room."""
    disk.set(size=size, read_only=read_only)
    run = disk.path / "run"
    ended = ran(command, run, log, resume=run.exists() and any(run.iterdir()))
    assert "Traceback" not in ended.said, ended.said
    if ended.code:
        errors = [line for line in ended.said.splitlines() if line.startswith(("emofeedback", "error:"))]
        assert len(errors) == 1 and ("disk is full" in errors[0] or "can't be" in errors[0]), ended.said
    else:
        assert not read_only, ended.said
    return ended.code
