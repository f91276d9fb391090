"""The embedded judge trained for a few steps on drawn scenes: by fine-tuning, by GRPO, cut and resumed, compared."""

import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from emofeedback.domain.errors import InvalidRequest
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.storage.checkpoints import digest
from emofeedback_trainer.cli import main
from emofeedback_trainer.data.storage import read_split
from emofeedback_trainer.judge.config import GRPO_CONFIGS, SFT_CONFIGS, GrpoConfig, Schedule, SftConfig
from emofeedback_trainer.judge.folder import JudgeRunFolder
from emofeedback_trainer.judge.grpo import train_grpo
from emofeedback_trainer.judge.sft import train_sft
from emofeedback_trainer.nano.dataset import SceneData, build_scenes

SCHEDULE = Schedule(steps=2, learning_rate=1e-3, batch=4, save_every=1, measure_every=2, measured=1)
SFT = replace(SFT_CONFIGS["nano"], schedule=SCHEDULE)
GRPO = replace(GRPO_CONFIGS["nano"], schedule=SCHEDULE, num_generations=4, max_new_tokens=100)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "data"
    build_scenes(folder, SceneData(train=8, val=1, test=2), lambda *_: None)
    return folder


class CutShort(Console):
    """A terminal whose user presses Ctrl-C as soon as a text appears."""

    def __init__(self, text: str) -> None:
        super().__init__(file=StringIO())
        self._text = text

    def print(self, *objects: Any, **options: Any) -> None:
        if objects and self._text in str(objects[0]):
            raise KeyboardInterrupt


def quiet() -> Console:
    return Console(file=StringIO())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = load_file(JudgeRunFolder(folder).judge / "model.safetensors")
    return loaded


Train = Callable[..., Any]


@pytest.mark.parametrize(
    ("train", "config"),
    [
        pytest.param(train_sft, SFT, id="sft"),
        # Cut and resumed by the same loop, but twice as slow.
        pytest.param(train_grpo, GRPO, id="grpo", marks=pytest.mark.nightly),
    ],
)
def test_a_run_that_was_cut_and_resumed_leaves_the_same_judge(
    train: Train, config: SftConfig | GrpoConfig, scenes: Path, tmp_path: Path
) -> None:
    samples = {"train": read_split(scenes, "train"), "held_out": read_split(scenes, "val")}
    whole = train(config, tmp_path / "whole", **samples, console=quiet())
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "cut", **samples, console=CutShort("   2/2"))
    assert not JudgeRunFolder(tmp_path / "cut").judge.exists()
    resumed = train(config, tmp_path / "cut", **samples, resume=True, console=quiet())

    assert resumed.digest == whole.digest == digest(whole.checkpoint)
    curves = [
        [(line["step"], line["loss"], line["num_tokens"]) for line in JudgeRunFolder(tmp_path / name).lines("metrics")]
        for name in ("whole", "cut")
    ]
    assert curves[0] == curves[1] and [step for step, *_ in curves[1]] == [1, 2]
    before = load_file(Path(config.model.checkpoint) / "model.safetensors")
    after = weights(tmp_path / "whole")
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_run_leaves_curves_samples_and_nothing_that_would_have_to_be_unpickled(scenes: Path, tmp_path: Path) -> None:
    samples: dict[str, Any] = {"train": read_split(scenes, "train"), "held_out": read_split(scenes, "val")}
    train_sft(replace(SFT, schedule=replace(SCHEDULE, steps=1)), tmp_path / "run", **samples, console=quiet())
    files = JudgeRunFolder(tmp_path / "run")
    assert [line["step"] for line in files.lines("eval")] == [0, 1]
    (sample, _) = files.lines("samples")
    assert sample["reply"].startswith("<think>It shows")
    assert sample["truth"] == json.dumps(json.loads(sample["truth"]))
    assert (files.path / "curves.png").read_bytes().startswith(b"\x89PNG")
    kinds = {path.suffix for path in files.path.rglob("*") if path.is_file()}
    assert kinds <= {".json", ".jsonl", ".safetensors", ".toml", ".png", ".jinja", ".md"}


def test_without_held_out_pictures_nothing_is_trained(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no validation split"):
        train_sft(SFT, tmp_path / "run", train=read_split(scenes, "train"), held_out=[], console=quiet())
    assert not (tmp_path / "run").exists()


def test_the_command_compares_variants_and_does_no_work_twice(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schedule = "schedule.steps = 1\nschedule.batch = 4\nschedule.measured = 1\n"
    (tmp_path / "sft.toml").write_text(schedule)
    (tmp_path / "grpo.toml").write_text(f"{schedule}num_generations = 4\nmax_new_tokens = 80\n")
    words = ["judge-compare", "--data", str(scenes), "--out", str(tmp_path / "out"), "--only", "joint", "--json"]
    words += ["--sft", str(tmp_path / "sft.toml"), "--grpo", str(tmp_path / "grpo.toml"), "--limit", "1"]
    assert main(words) == 0
    first = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["way"]) for row in first["rows"]][-2:] == [("sft", "short"), ("joint", "short")]
    assert "valence MAE" in (tmp_path / "out" / "table.md").read_text()
    judge = tmp_path / "out" / "joint" / "judge" / "model.safetensors"
    written = judge.stat().st_mtime_ns
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == first["rows"]
    assert judge.stat().st_mtime_ns == written
    (tmp_path / "grpo.toml").write_text(f"{schedule}num_generations = 2\nmax_new_tokens = 80\n")
    assert main(words) == 2
    assert "joint was started with another one: num_generations = 2 is new" in capsys.readouterr().err


def test_a_judge_that_is_fine_tuned_already_is_compared_as_it_is(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schedule = "schedule.steps = 1\nschedule.warmup = 0\nschedule.batch = 8\nschedule.measured = 1\n"
    (tmp_path / "one.toml").write_text(schedule)
    words = ["judge-compare", "--data", str(scenes), "--out", str(tmp_path / "out"), "--only", "sft-longer", "--json"]
    words += [f"--{stage}={tmp_path / 'one.toml'}" for stage in ("sft", "grpo")]
    assert main([*words, "--fine-tuned", "nano", "--limit", "1"]) == 0
    models = {model["role"]: model for model in json.loads(capsys.readouterr().out)["provenance"]["models"]}
    embedded = Path(NANO_PROFILE.judge.checkpoint)
    assert (models["sft"]["name"], models["sft"]["digest"]) == (str(embedded), digest(embedded))
    assert models["sft-longer"]["digest"] != digest(embedded)
    assert JudgeRunFolder(tmp_path / "out" / "sft").result() == {}


@pytest.mark.nightly
def test_the_stages_of_eemo_logic_are_compared_on_questions_that_are_made_of_the_scenes(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schedule = "schedule.steps = 1\nschedule.warmup = 0\nschedule.batch = 4\nschedule.measured = 1\n"
    (tmp_path / "sft.toml").write_text(schedule)
    (tmp_path / "grpo.toml").write_text(f"{schedule}num_generations = 4\nmax_new_tokens = 80\n")
    data = tmp_path / "eemodb"
    words = ["judge-compare", "--paper", "eemo-logic", "--data", str(data), "--out", str(tmp_path / "out")]
    words += ["--sft", str(tmp_path / "sft.toml"), "--grpo", str(tmp_path / "grpo.toml"), "--limit", "1", "--json"]
    assert main(["data", "build-eemodb", str(data), "--source", "built", str(scenes)]) == 0
    capsys.readouterr()
    assert main([*words, "--only", "both"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["name"] for row in rows] == ["base", "sft", "both"]
    assert set(rows[1]["gained"]) == {"perception", "pair", "ranking", "emotion"}
    assert JudgeRunFolder(tmp_path / "out" / "both").result()["steps"] == 1
    (data / "questions" / "test.jsonl").unlink()
    assert main(words) == 1
    assert "questions/test.jsonl is made by `data build-eemodb`" in capsys.readouterr().err


def test_commands_refuse_bad_input_before_anything_is_loaded(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--data", str(scenes), "--out", str(tmp_path / "out")]
    assert main(["judge-grpo", *where, "--set", "schedule.batch=5"]) == 2
    assert "num_generations: is 8, it must divide the 5 replies of a step" in capsys.readouterr().err
    assert main(["judge-compare", *where, "--only", "best"]) == 2
    assert "only: 'best' is none of sft, sft-longer, joint" in capsys.readouterr().err
    assert main(["judge-sft", *where, "--resume"]) == 2
    assert "holds no run to resume" in capsys.readouterr().err
