"""What is missing is said in one sentence, before anything heavy is loaded."""

import dataclasses
import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.judge.local import LocalJudge
from emofeedback.judge.scorers import ClipScorer
from emofeedback.profiles.builtin import SD35_MEDIUM_PROFILE
from emofeedback.profiles.profile import JudgeSettings
from support import tiny_judges as tiny


@pytest.fixture(autouse=True)
def nothing_heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading weights fails the test."""

    def heavy(*arguments: object, **options: object) -> None:
        raise AssertionError("weights are loaded before the checks are done")

    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", heavy)


def refused(settings: JudgeSettings) -> str:
    with pytest.raises(FailedPrecondition) as refusal:
        LocalJudge.load(settings)
    return str(refusal.value)


def without_cuda(**changes: Any) -> JudgeSettings:
    return dataclasses.replace(SD35_MEDIUM_PROFILE.judge, device="cpu", **changes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has CUDA")
def test_the_full_size_judge_says_that_it_needs_cuda() -> None:
    assert refused(SD35_MEDIUM_PROFILE.judge).startswith("judge.device is cuda and no CUDA device is here")


@pytest.mark.skipif(torch.cuda.is_available(), reason="has CUDA")
def test_a_reasoner_says_that_it_needs_cuda() -> None:
    assert refused(without_cuda(reasoner="cuda")).startswith("judge.reasoner is cuda and no CUDA device is here")


def test_a_gpu_with_too_little_memory_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (8 * 2**30, 16 * 2**30))
    assert "needs 24 GiB of GPU memory, 8.0 of 16.0 GiB are free" in refused(SD35_MEDIUM_PROFILE.judge)


def test_a_model_that_is_not_here_and_no_hub_to_fetch_it_from() -> None:
    assert "Qwen/Qwen2.5-VL-7B-Instruct is not in the hub cache" in refused(without_cuda())


@pytest.mark.parametrize("part", ["checkpoint", "scorer", "scorer_processor"])
def test_a_folder_that_is_not_there(tiny_judges: Path, part: str) -> None:
    message = refused(tiny.settings(tiny_judges, **{part: "/no/such/folder"}))
    assert "/no/such/folder is neither a folder nor a hub id" in message


def test_a_folder_that_holds_no_model(tiny_judges: Path, tmp_path: Path) -> None:
    assert "config.json is missing" in refused(tiny.settings(tiny_judges, checkpoint=str(tmp_path)))


@pytest.mark.parametrize(("part", "wanted"), [("checkpoint", "qwen2_5_vl"), ("scorer", "clip")])
def test_a_model_of_another_kind(tiny_judges: Path, tmp_path: Path, part: str, wanted: str) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen2_vl"}')
    message = refused(tiny.settings(tiny_judges, **{part: str(tmp_path)}))
    assert f"its model_type is qwen2_vl, it must be {wanted}" in message


def test_a_model_that_was_saved_without_its_processor(tiny_judges: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(tiny_judges / "judge" / name, tmp_path / name)
    assert "save the processor" in refused(tiny.settings(tiny_judges, checkpoint=str(tmp_path)))


def test_a_scorer_without_an_image_processor(tiny_judges: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_judges / "scorer", tmp_path, dirs_exist_ok=True)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(FailedPrecondition, match=r"judge\.scorer_processor names the checkpoint that has them"):
        ClipScorer.load(tiny.settings(tiny_judges, scorer_processor=str(tmp_path)))


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="has vLLM")
def test_vllm_where_it_is_not_installed(tiny_judges: Path) -> None:
    assert "vLLM is not installed" in refused(tiny.settings(tiny_judges, engine="vllm"))


def test_pickled_weights_are_not_read(tiny_judges: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for name in ("judge", "scorer"):
        shutil.copytree(tiny_judges / name, tmp_path / name)
    weights = tmp_path / "judge" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    assert "safetensors" in refused(tiny.settings(tmp_path))
