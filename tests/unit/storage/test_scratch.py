"""Temporary folders are gone after a crash, at the latest with the next start."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.storage.scratch import ScratchFolder, scratch_folder

MAKES_ONE = """
import sys, time
from emofeedback.storage.scratch import scratch_folder
folder = scratch_folder("tests")
(folder.path / "large").write_bytes(bytes(1000))
print(folder.path, flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def another_process() -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen([sys.executable, "-c", MAKES_ONE], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_process_left_goes_with_the_next_start_and_a_living_ones_stays() -> None:
    (killed, left), (living, kept) = another_process(), another_process()
    try:
        killed.kill()
        killed.wait()
        assert (left / "large").is_file()
        scratch_folder("tests").cleanup()
        assert not left.exists()
        assert (kept / "large").is_file()
    finally:
        living.kill()
        living.wait()


def test_two_folders_of_one_process_do_not_sweep_each_other() -> None:
    first, second = scratch_folder("tests"), scratch_folder("tests")
    assert first.path.is_dir() and second.path.is_dir() and first.path != second.path
    first.cleanup()
    first.cleanup()
    assert not first.path.exists() and second.path.is_dir()
    second.cleanup()


def test_many_that_start_at_once_each_keep_their_own() -> None:
    with ThreadPoolExecutor(16) as pool:
        folders: list[ScratchFolder] = list(pool.map(scratch_folder, ["tests"] * 64))
    assert len({folder.path for folder in folders}) == 64
    assert all(folder.path.is_dir() for folder in folders)
    for folder in folders:
        folder.cleanup()


def test_other_purposes_are_left_alone_and_nobody_else_can_read() -> None:
    one, other = scratch_folder("tests"), scratch_folder("others")
    assert one.path.parent != other.path.parent
    assert one.path.parent.stat().st_mode & 0o077 == 0
    one.cleanup()
    other.cleanup()


def test_a_link_that_somebody_has_put_in_the_place_is_not_followed(temporary: Path) -> None:
    (temporary / "elsewhere").mkdir()
    (temporary / f"emofeedback-tests-{os.getuid()}").symlink_to(temporary / "elsewhere")
    with pytest.raises(FailedPrecondition, match="in the way"):
        scratch_folder("tests")
