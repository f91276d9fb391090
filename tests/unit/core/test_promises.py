"""What a cut training tells people to type is a command that the trainer reads, wherever the run lies."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

import pytest

from emofeedback.domain.errors import Unavailable
from emofeedback.observability.consoles import PlainConsole
from emofeedback_trainer.core.run_files import CONFIG
from emofeedback_trainer.flow_grpo import cli as flow_grpo
from emofeedback_trainer.flow_grpo.folder import RunFolder
from emofeedback_trainer.judge import sft_cli
from emofeedback_trainer.judge.command import run_training


def promised(said: str) -> list[str]:
    return shlex.split(said.partition("`")[2].partition("`")[0])


def test_a_cut_training_of_the_judge_goes_on_by_the_command_that_it_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my judge's run"
    checkpoint = out / "checkpoints" / "checkpoint-10"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text("{}")
    (out / CONFIG).touch()

    def cut(_: object) -> None:
        raise Unavailable("the machine is gone")

    with pytest.raises(Unavailable):
        run_training(argparse.Namespace(out=out, data=tmp_path / "a folder", resume=True), "judge-sft", cut)  # type: ignore[arg-type]
    program, command, *words = promised(capsys.readouterr().out)
    assert (program, command) == ("emofeedback-train", "judge-sft")
    parser = argparse.ArgumentParser()
    sft_cli.add_arguments(parser)
    options = parser.parse_args(words)
    assert (options.out, options.data, options.resume) == (out, tmp_path / "a folder", True)


def test_a_cut_training_of_the_generator_does_so_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = RunFolder(tmp_path / "my run")
    files.checkpoints.mkdir(parents=True)
    flow_grpo._say_what_is_kept(files, PlainConsole())
    program, command, *words = promised(capsys.readouterr().out)
    assert (program, command) == ("emofeedback-train", "flow-grpo")
    parser = argparse.ArgumentParser()
    flow_grpo.add_arguments(parser)
    options = parser.parse_args(words)
    assert (options.out, options.resume) == (files.path, True)
