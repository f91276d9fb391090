"""The last stages of `make nano`: each goes on where it was cut, and its outcome replaces what was in the package."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from emofeedback_trainer.core.run_files import CONFIG
from emofeedback_trainer.distillation.config import CONFIGS
from emofeedback_trainer.distillation.run import DistillationResult
from emofeedback_trainer.flow_grpo import cli as flow_grpo
from emofeedback_trainer.fusion.config import CONFIGS as FUSIONS
from emofeedback_trainer.fusion.run import FusionResult
from emofeedback_trainer.nano import reinforced


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """A package with earlier policies in it."""
    for name in ("nano-final", "nano-fast", "nano-fused"):
        (tmp_path / "package" / name).mkdir(parents=True)
        (tmp_path / "package" / name / "earlier").write_text("")
    return tmp_path / "package"


def leave_policy(folder: Path, name: str) -> None:
    (folder / "policies" / name).mkdir(parents=True, exist_ok=True)
    (folder / "policies" / name / "weights").write_text("new")
    (folder / CONFIG).write_text("")


def contents(policies: Path, name: str) -> list[str]:
    return [path.name for path in (policies / name).iterdir()]


def test_the_policy_is_trained_resumed_and_put_in_place(
    policies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[argparse.Namespace] = []

    def run(arguments: argparse.Namespace) -> None:
        asked.append(arguments)
        leave_policy(arguments.out, "nano-final")

    monkeypatch.setattr(flow_grpo, "run", run)
    for _ in range(2):
        reinforced.reinforce_generator(tmp_path / "run", policies)
    assert [(one.resume, one.config, one.report_to) for one in asked] == [(False, None, "none"), (True, None, "none")]
    assert contents(policies, "nano-final") == ["weights"] and contents(policies, "nano-fast") == ["earlier"]


def test_the_fast_policy_is_distilled_resumed_and_put_in_place(
    policies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[bool] = []

    def prepare(config: Any, folder: Path, *, resume: bool) -> None:
        assert config == CONFIGS["nano"]
        checked.append(resume)

    def distill(config: Any, folder: Path) -> DistillationResult:
        leave_policy(folder, config.name)
        return DistillationResult(
            policy=config.name, digest="", teacher="nano-final", updates=1, error=0.1, teacher_in_as_many_steps=0.3
        )

    monkeypatch.setattr(reinforced, "prepare", prepare)
    monkeypatch.setattr(reinforced, "distill", distill)
    for _ in range(2):
        (tmp_path / "run").mkdir(exist_ok=True)
        reinforced.distill_generator(tmp_path / "run", policies)
    assert checked == [False, True]
    assert contents(policies, "nano-fast") == ["weights"] and contents(policies, "nano-final") == ["earlier"]


def test_the_fused_policy_is_made_resumed_and_put_in_place(
    policies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[bool] = []

    def prepare(config: Any, folder: Path, *, resume: bool) -> None:
        checked.append(resume)

    def fuse(config: Any, folder: Path) -> FusionResult:
        assert config == FUSIONS["nano"] and config.policy == "nano-fast"
        leave_policy(folder, config.name)
        return FusionResult(
            policy=config.name, digest="", teacher="nano-fast", judge="", updates=1, error=0.1, without_tokens=0.9
        )

    monkeypatch.setattr(reinforced, "prepare_fusion", prepare)
    monkeypatch.setattr(reinforced, "fuse", fuse)
    for _ in range(2):
        (tmp_path / "run").mkdir(exist_ok=True)
        reinforced.fuse_generator(tmp_path / "run", policies)
    assert checked == [False, True]
    assert contents(policies, "nano-fused") == ["weights"] and contents(policies, "nano-fast") == ["earlier"]
