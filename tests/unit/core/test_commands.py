"""The trainer's command: what earlier versions called otherwise, folders, disks."""

import errno
import os
from pathlib import Path

import pytest

from emofeedback.domain.errors import InvalidRequest
from emofeedback.storage.files import LOCK, held
from emofeedback_trainer.cli import main
from emofeedback_trainer.core.run_files import require_free
from emofeedback_trainer.nano import dataset


@pytest.mark.parametrize(
    ("argv", "now"),
    [
        (["flow-grpo-evaluate", "--limit", "2"], "`evaluate policy`, and its --ablation `evaluate generation`"),
        (["data", "from-scenes", "runs/scenes"], "`nano dataset`"),
    ],
)
def test_an_old_command_names_the_new_one(argv: list[str], now: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"is now {now}")


@pytest.mark.parametrize("words", [["nano", "world"], ["evaluate", "judge", "scenes"], ["evaluate", "loop"]])
def test_a_folder_is_one_command_s(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with held(tmp_path):
        assert main([*words, "--out", str(tmp_path)]) != 0
    assert f"another process works in {tmp_path}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "said"), [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "can't be written: Read-only file system")]
)
def test_a_disk_that_takes_nothing_is_one_line_whoever_met_it(
    code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: object) -> None:
        raise OSError(code, os.strerror(code), str(tmp_path / "a picture"))

    monkeypatch.setattr(dataset, "build_scenes", refused)
    assert main(["nano", "dataset", str(tmp_path / "scenes")]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("emofeedback-train:")]
    assert said in line and str(tmp_path / "a picture") in line


def test_a_run_that_was_cut_before_it_wrote_anything_is_begun_by_the_same_resume(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="holds no run to resume"):
        require_free(tmp_path, begun=False, resume=True)
    (tmp_path / LOCK).touch()
    require_free(tmp_path, begun=False, resume=True)
