"""Files are written as a whole by whoever writes them, and a folder is one command's at a time."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest, ResourceExhausted
from emofeedback.storage.files import held, set_aside, write_keeping, write_new, write_whole

HOLD = "import sys, pathlib; from emofeedback.storage.files import held\nwith held(pathlib.Path(sys.argv[1])): "


def test_many_who_write_one_file_at_once_never_mix(tmp_path: Path) -> None:
    path, contents = tmp_path / "new" / "file", [bytes([n]) * 100_000 for n in range(64)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda content: write_whole(path, content), contents))
    assert path.read_bytes() in contents
    assert [file.name for file in path.parent.iterdir()] == ["file"]


def test_of_many_who_write_a_new_file_at_once_one_does(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def wrote(number: int) -> bool:
        try:
            write_new(path, str(number).encode())
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        (winner,) = [number for number, has in enumerate(pool.map(wrote, range(150))) if has]
    assert path.read_text() == str(winner)
    assert list(tmp_path.iterdir()) == [path]


def test_where_there_are_no_links_a_new_file_is_still_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refused)
    write_new(tmp_path / "file", b"first")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"


@pytest.mark.parametrize("write", [write_whole, write_new])
def test_a_full_disk_is_said_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: object
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceExhausted, match="the disk is full"):
        write(tmp_path / "file", b"x")  # type: ignore[operator]
    assert list(tmp_path.iterdir()) == []


def test_a_second_command_over_a_folder_is_refused_at_once_and_a_killed_one_leaves_it_free(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD + "print('mine', flush=True); input()", str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert first.stdout is not None and first.stdout.readline() == b"mine\n"
    with (
        pytest.raises(FailedPrecondition, match=r"another process works in .*run: wait for it"),
        held(tmp_path / "run"),
    ):
        raise AssertionError("it was let in")
    first.kill()
    first.wait()
    with held(tmp_path / "run"):
        pass
    with held(tmp_path / "run"):
        pass


def test_a_folder_that_cant_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(InvalidRequest, match=r"^out: .*file/run can't be written: Not a directory"),
        held(tmp_path / "file/run"),
    ):
        pass


def test_what_a_file_held_is_kept_beside_it_where_it_was_something_else(tmp_path: Path) -> None:
    table = tmp_path / "measured" / "table.md"
    for content in (b"one", b"one", b"two", b"three"):
        write_keeping(table, content)
    now = {path.name: path.read_bytes() for path in table.parent.iterdir()}
    assert now == {"table.md": b"three", "table-1.md": b"one", "table-2.md": b"two"}


def test_a_folder_is_kept_whole_under_the_first_free_name(tmp_path: Path) -> None:
    folder = tmp_path / "run v1.5"
    assert set_aside(folder) is None
    folder.mkdir()
    assert set_aside(folder) is None, "an empty folder holds nothing to keep"
    (tmp_path / "run v1.5-1").mkdir()
    (folder / "a.png").write_bytes(b"dear")
    assert set_aside(folder) == tmp_path / "run v1.5-2"
    assert (tmp_path / "run v1.5-2/a.png").read_bytes() == b"dear" and not folder.exists()


def test_what_can_not_be_moved_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").write_text("dear")

    def refused(path: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(FailedPrecondition, match="run can't be moved: Permission denied"):
        set_aside(tmp_path / "run")
    assert (tmp_path / "run").read_text() == "dear"
