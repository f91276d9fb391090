"""The trainer's command: what earlier versions called otherwise."""

from pathlib import Path

import pytest

from emofeedback.storage.files import held
from emofeedback_trainer.cli import main


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
