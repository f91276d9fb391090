"""`emofeedback-train flow-grpo`: what it refuses before any model is loaded, and what it says while it runs."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from emofeedback.domain.training import Alarm, IterationDone, PanelMeasured
from emofeedback.profiles.overrides import to_toml
from emofeedback.storage.files import held
from emofeedback_trainer.cli import main
from emofeedback_trainer.flow_grpo import cli
from emofeedback_trainer.flow_grpo.config import FlowGrpoConfig
from emofeedback_trainer.flow_grpo.events import RunPaused, RunResumed, RunStarted
from emofeedback_trainer.flow_grpo.reporting.terminal import TrainingDisplay
from emofeedback_trainer.flow_grpo.trainer import RunResult

CURVE: dict[str, Any] = {
    **dict.fromkeys(("judge_valence_error", "judge_arousal_error", "spread_valence", "spread_arousal"), 1.25),
    **{"reward": 0.5, "kl": 0.0001, "clip_fraction": 0.25, "images_per_second": 7.5, "policy": "nano-000000"},
}
PANEL: dict[str, Any] = {
    "valence_error": 2.0,
    "arousal_error": 1.5,
    "valence_correlation": 0.3,
    "arousal_correlation": 0.4,
    "alarm": "",
}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[FlowGrpoConfig]:
    """The configurations that runs are started with; none really runs."""
    configs: list[FlowGrpoConfig] = []

    def trained(config: FlowGrpoConfig, *_: object) -> RunResult:
        configs.append(config)
        return RunResult(policy="nano-final", digest="sha256:1", seconds=60.0)

    monkeypatch.setattr(cli, "_trained", trained)
    monkeypatch.setattr(cli, "write_report", lambda folder: folder / "report.html")
    return configs


def flow_grpo(*words: str) -> int:
    return main(["flow-grpo", *words])


def test_the_help_shows_how_to_start_resume_and_change_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        flow_grpo("--help")
    text = capsys.readouterr().out
    assert all(
        piece in text for piece in ("examples:", "--resume", "--set", "--address", 'extends = "nano"', "DiffusionNFT")
    )


def test_single_keys_are_changed_on_the_command_line(started: list[FlowGrpoConfig], tmp_path: Path) -> None:
    changes = (
        "iterations=7",
        "rewards.alignment=0",
        "rewards.shape=step",
        "name=mine",
        'learner.target_modules=["to_q"]',
    )
    words = [word for change in changes for word in ("--set", change)]
    assert flow_grpo(*words, "--out", str(tmp_path)) == 0
    (config,) = started
    assert (config.iterations, config.name, config.learner.target_modules) == (7, "mine", ("to_q",))
    assert (config.rewards.alignment, config.rewards.shape) == (0.0, "step")


def test_a_resumed_run_keeps_the_configuration_that_it_was_started_with(
    started: list[FlowGrpoConfig], tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text(to_toml(FlowGrpoConfig(name="earlier", iterations=9)))
    (tmp_path / "metrics.jsonl").touch()
    assert flow_grpo("--out", str(tmp_path), "--resume") == 0
    assert started == [FlowGrpoConfig(name="earlier", iterations=9)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--config", "giga"], "giga"),
        (["--set", "groups"], "KEY=VALUE"),
        (["--set", "groups=0"], "groups: is 0, it must be at least 1"),
        (["--set", "learner.rank=0"], "learner.rank"),
        (["--set", "prompts=nowhere.jsonl"], "nowhere.jsonl"),
        (["--address", "127.0.0.1:9000"], "policies"),
        (["--resume", "--config", "nano"], "no run to resume"),
    ],
)
def test_bad_words_are_refused_with_status_2_before_anything_runs(
    words: list[str], said: str, started: list[FlowGrpoConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert flow_grpo(*words, "--out", str(tmp_path / "run")) == 2
    assert said in capsys.readouterr().err
    assert not started
    assert not (tmp_path / "run").exists()


def test_without_a_terminal_every_iteration_is_a_line() -> None:
    console = Console(file=io.StringIO(), width=200)
    with TrainingDisplay(console) as display:
        display.show(RunStarted(iteration=0, iterations=2))
        display.show(PanelMeasured(iteration=0, metrics=PANEL))
        display.show(IterationDone(iteration=1, metrics=CURVE))
        display.show(Alarm(iteration=1, text="the pictures go dark"))
        display.show(RunPaused(reason="nothing answers"))
        display.show(RunResumed(seconds=12.0))
    assert isinstance(console.file, io.StringIO)
    panel, iteration, alarm, paused, resumed = console.file.getvalue().splitlines()
    assert "error V 2.00 A 1.50  correlation V 0.30 A 0.40" in panel
    assert all(
        piece in iteration for piece in ("1/2", "reward 0.500", "KL 0.0001", "clipped 25%", "7.5 images/s", "left")
    )
    assert (alarm, paused, resumed) == ("alarm: the pictures go dark", "paused: nothing answers", "goes on after 12 s")


def test_a_second_command_over_a_run_is_refused_and_the_first_one_goes_on(
    started: list[FlowGrpoConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with held(tmp_path):
        assert flow_grpo("--out", str(tmp_path)) == 1
    assert f"another process works in {tmp_path}" in capsys.readouterr().err
    assert not started and not (tmp_path / "config.toml").exists()


def test_a_finished_run_that_is_resumed_says_what_becomes_of_it(
    started: list[FlowGrpoConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text(to_toml(FlowGrpoConfig(iterations=5)))
    (tmp_path / "result.json").write_text('{"iterations": 5, "policy": "nano-final"}')
    assert flow_grpo("--out", str(tmp_path), "--resume") == 0
    assert "has finished all of its 5 iterations; `--set iterations=N` goes on to more" in capsys.readouterr().out
    assert flow_grpo("--out", str(tmp_path), "--resume", "--set", "iterations=9") == 0
    assert "its policy nano-final stays; it goes on to 9, and" in capsys.readouterr().out


def test_a_folder_that_cant_be_written_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert flow_grpo("--out", str(tmp_path / "file" / "run")) == 2
    assert "can't be written: Not a directory" in capsys.readouterr().err


def test_a_finished_run_ends_with_the_command_that_measures_it(
    started: list[FlowGrpoConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert flow_grpo("--config", "nano", "--report-to", "none", "--out", str(out)) == 0
    line = f"Measure it: emofeedback-train evaluate policy --policy nano-final --policies {out / 'policies'}"
    assert f"{line} --out {out / 'evaluation'}" in capsys.readouterr().out.splitlines()
