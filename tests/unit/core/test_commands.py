"""The trainer's command: what earlier versions called otherwise."""

import pytest

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
