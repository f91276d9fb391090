"""A file is written whole or not at all, and what was there before is kept where somebody may want it."""

from __future__ import annotations

from pathlib import Path

import pytest

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.storage.files import set_aside, write_keeping


def test_what_a_file_held_is_kept_beside_it_where_it_was_something_else(tmp_path: Path) -> None:
    table = tmp_path / "measured" / "table.md"
    for content in (b"one", b"one", b"two", b"three"):
        write_keeping(table, content)
    held = {path.name: path.read_bytes() for path in table.parent.iterdir()}
    assert held == {"table.md": b"three", "table-1.md": b"one", "table-2.md": b"two"}


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
