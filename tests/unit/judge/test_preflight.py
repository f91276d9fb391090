"""What is wrong with the judge's folders is one sentence, before anything is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.judge.preflight import preflight
from emofeedback.profiles.builtin import NANO_PROFILE
from support import tiny_judges as tiny
from support.damages import cut, edit, sharded_with_one_lost

WEIGHTS = "model.safetensors"


def without_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def with_a_wide_language_model(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["hidden_size"] = 96
    (folder / "config.json").write_text(json.dumps(config))


Damages = dict[str, tuple[Callable[[Path], Any], str]]
OF_WEIGHTS: Damages = {
    "no configuration": (lambda f: (f / "config.json").unlink(), r"config\.json is missing"),
    "a configuration that is no JSON": (
        lambda f: (f / "config.json").write_text("{"),
        "can't be read as a model's configuration",
    ),
    "another model": (
        lambda f: edit(f / "config.json", model_type="qwen2_vl"),
        "its model_type is qwen2_vl, it must be (qwen2_5_vl|clip)",
    ),
    "pickled weights only": (
        lambda f: (f / WEIGHTS).rename(f / "pytorch_model.bin"),
        "is not complete: it holds no weights in safetensors",
    ),
    "a variant only": (
        lambda f: (f / WEIGHTS).rename(f / "model.fp16.safetensors"),
        r"is not complete: model\.safetensors is missing",
    ),
    "a shard is missing": (sharded_with_one_lost, r"is not complete: model-00002-of-00002\.safetensors is missing"),
    "a download that broke off": (
        lambda f: cut(f / WEIGHTS),
        r"model\.safetensors is no whole safetensors file, fetch it again",
    ),
    "a pointer of git-lfs": (
        lambda f: (f / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1"),
        "is no whole safetensors file",
    ),
}
OF_PROCESSORS: Damages = {
    "no tokenizer": (
        lambda f: (f / "tokenizer.json").unlink(),
        r"its tokenizer is missing \(tokenizer\.json, or vocab\.json and merges\.txt\): ",
    ),
    "a tokenizer that is a pointer of git-lfs": (
        lambda f: (f / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1"),
        r"tokenizer\.json can't be read as JSON",
    ),
    "no image processor": (
        lambda f: (f / "preprocessor_config.json").unlink(),
        r"its image processor is missing \(processor_config\.json, or preprocessor_config\.json\): ",
    ),
}
OF_JUDGES: Damages = {
    "no chat template": (without_template, "its tokenizer has no chat template: save the processor"),
    "another model's vision tower": (
        with_a_wide_language_model,
        r"its language model takes tokens of 96 numbers \(hidden_size\), its vision tower gives 64",
    ),
}


def refused(tiny_judges: Path, tmp_path: Path, part: str, damage: tuple[Callable[[Path], Any], str]) -> str:
    harm, sentence = damage
    folder = shutil.copytree(tiny_judges / ("judge" if part == "checkpoint" else "scorer"), tmp_path / "copy")
    harm(folder)
    with pytest.raises(FailedPrecondition, match=sentence) as refusal:
        preflight(tiny.settings(tiny_judges, **{part: str(folder)}))
    return str(refusal.value)


@pytest.mark.parametrize("damage", OF_WEIGHTS | OF_PROCESSORS | OF_JUDGES)
def test_a_damaged_judge_says_what_is_missing(tiny_judges: Path, tmp_path: Path, damage: str) -> None:
    refused(tiny_judges, tmp_path, "checkpoint", (OF_WEIGHTS | OF_PROCESSORS | OF_JUDGES)[damage])


@pytest.mark.parametrize("damage", OF_WEIGHTS)
def test_a_damaged_scorer_says_what_is_missing(tiny_judges: Path, tmp_path: Path, damage: str) -> None:
    refused(tiny_judges, tmp_path, "scorer", OF_WEIGHTS[damage])


@pytest.mark.parametrize("damage", OF_PROCESSORS)
def test_a_damaged_processor_of_the_scorer_says_what_is_missing(tiny_judges: Path, tmp_path: Path, damage: str) -> None:
    said = refused(tiny_judges, tmp_path, "scorer_processor", OF_PROCESSORS[damage])
    assert "can't be read" in said or said.endswith("judge.scorer_processor names the checkpoint that has it")


def test_a_tokenizer_in_its_older_form_and_a_flat_configuration_are_whole(tiny_judges: Path, tmp_path: Path) -> None:
    """As `Qwen/Qwen2.5-VL-7B-Instruct` lies on the hub."""
    folder = shutil.copytree(tiny_judges / "judge", tmp_path / "copy")
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "chat_template.jinja").unlink()
    edit(folder / "tokenizer_config.json", chat_template="{{ messages }}")
    config = json.loads((folder / "config.json").read_text())
    config |= config.pop("text_config") | {"model_type": config["model_type"]}
    (folder / "config.json").write_text(json.dumps(config))
    preflight(tiny.settings(tiny_judges, checkpoint=str(folder)))


def test_whole_folders_pass(tiny_judges: Path) -> None:
    for name in ("judge", "reasoner", "babbler"):
        preflight(tiny.settings(tiny_judges, checkpoint=str(tiny_judges / name)))
    preflight(NANO_PROFILE.judge)
