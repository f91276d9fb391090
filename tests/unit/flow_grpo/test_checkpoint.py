"""Checkpoints: always a whole one, never another run's."""

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest, ResourceExhausted
from emofeedback.domain.generation import ModelInfo
from emofeedback.profiles.overrides import flat
from emofeedback_trainer.core.config import RenamedKey
from emofeedback_trainer.flow_grpo.checkpoint import (
    Checkpoint,
    load_checkpoint,
    require_same_config,
    require_same_models,
    save_checkpoint,
)
from emofeedback_trainer.flow_grpo.config import FlowGrpoConfig, with_changes

GENERATOR = ModelInfo(name="generator", digest="sha256:1")
JUDGE = ModelInfo(name="judge", digest="sha256:2")
CONFIG = FlowGrpoConfig()


def checkpoint(iteration: int, value: float = 0.1) -> Checkpoint:
    return Checkpoint(
        iteration=iteration,
        seconds=1.5,
        config=flat(CONFIG),
        generator=GENERATOR,
        judge=JUDGE,
        state={"weights": torch.full((2, 3), value), "steps": torch.tensor(iteration)},
    )


def loaded(folder: Path) -> Checkpoint:
    found = load_checkpoint(folder)
    assert found is not None
    return found


def test_a_checkpoint_comes_back_to_the_bit(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(7))
    found = loaded(tmp_path)
    assert (found.iteration, found.seconds, found.generator, found.judge) == (7, 1.5, GENERATOR, JUDGE)
    assert torch.equal(found.state["weights"], checkpoint(7).state["weights"])
    require_same_config(found, CONFIG)
    require_same_models(found, GENERATOR, JUDGE)


def test_the_newest_one_replaces_those_before(tmp_path: Path) -> None:
    for iteration in (9, 10, 11):
        save_checkpoint(tmp_path, checkpoint(iteration))
    assert [path.name for path in tmp_path.iterdir()] == ["000011"]


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None


def test_what_was_cut_while_it_was_written_does_not_count(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(3))
    (tmp_path / ".unfinished").mkdir()
    (tmp_path / ".unfinished" / "state.safetensors").write_bytes(b"half of")
    assert loaded(tmp_path).iteration == 3
    save_checkpoint(tmp_path, checkpoint(4))
    assert loaded(tmp_path).iteration == 4


def test_two_whole_ones_after_a_kill_between_writing_and_deleting(tmp_path: Path, monkeypatch: Any) -> None:
    save_checkpoint(tmp_path, checkpoint(3))
    monkeypatch.setattr("shutil.rmtree", lambda *args, **kwargs: None)
    save_checkpoint(tmp_path, checkpoint(4))
    assert len(list(tmp_path.iterdir())) == 2
    assert loaded(tmp_path).iteration == 4


@pytest.mark.parametrize("full_after", [0, 1, 2])
def test_a_full_disk_leaves_the_last_checkpoint_intact(full_after: int, tmp_path: Path, monkeypatch: Any) -> None:
    save_checkpoint(tmp_path, checkpoint(3))
    left, really = iter(range(full_after)), os.fsync

    def fsync(descriptor: int) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(ResourceExhausted, match="disk is full"):
        save_checkpoint(tmp_path, checkpoint(4))
    monkeypatch.undo()
    assert loaded(tmp_path).iteration in ((3,) if full_after < 2 else (3, 4))
    assert torch.equal(loaded(tmp_path).state["weights"], checkpoint(3).state["weights"])


def test_a_state_that_has_changed_is_not_believed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(3))
    file = tmp_path / "000003" / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(FailedPrecondition, match="has changed"):
        load_checkpoint(tmp_path)


def test_an_unreadable_record_is_said(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(3))
    (tmp_path / "000003" / "checkpoint.json").write_text("{")
    with pytest.raises(FailedPrecondition, match="000003"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("change", [{"seed": 5}, {"learner": {"rank": 8}}, {"sampling": {"sde_window_range": [0, 4]}}])
def test_a_run_does_not_go_on_as_another_one(change: dict[str, Any], tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(3))
    key = next(f"{k}.{next(iter(v))}" if isinstance(v, dict) else k for k, v in change.items())
    with pytest.raises(InvalidRequest) as caught:
        require_same_config(loaded(tmp_path), with_changes(CONFIG, change))
    assert caught.value.violations[0].field == key


def test_what_does_not_change_the_result_may_differ(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(3))
    change = {
        "address": "127.0.0.1:9000",
        "policies": "s3://here/policies",
        "iterations": 500,
        "patience": 5.0,
        "panel": {"every": 3},
    }
    require_same_config(loaded(tmp_path), with_changes(CONFIG, change))


def test_another_judge_or_generator_is_refused() -> None:
    with pytest.raises(FailedPrecondition, match="generator"):
        require_same_models(checkpoint(3), replace(GENERATOR, digest="sha256:9"), JUDGE)
    with pytest.raises(FailedPrecondition, match="judge"):
        require_same_models(checkpoint(3), GENERATOR, replace(JUDGE, name="another"))


def test_a_run_from_before_its_keys_were_renamed_goes_on(tmp_path: Path) -> None:
    old = {
        "learner.beta": "learner.kl_weight",
        "learner.lora_alpha": "learner.alpha",
        "sampling.sde_type": "sampling.kind",
    }
    kept = {old.get(key, key): value for key, value in flat(CONFIG).items()}
    first, latest = kept.pop("sampling.sde_window_range")
    kept |= {"sampling.window_from": first, "sampling.window_to": latest}
    save_checkpoint(tmp_path, replace(checkpoint(3), config=kept))
    with pytest.warns(RenamedKey):
        require_same_config(loaded(tmp_path), CONFIG)
    with pytest.warns(RenamedKey), pytest.raises(InvalidRequest, match=r"learner\.beta"):
        require_same_config(loaded(tmp_path), with_changes(CONFIG, {"learner.beta": 0.5}))
