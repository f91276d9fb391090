"""`distill-steps` on a tiny checkpoint: the student learns from its teacher, then beside real pictures.

A cut run goes on to the same policy.
"""

import json
from pathlib import Path

import pytest
from PIL import Image

from emofeedback.domain.errors import InvalidRequest
from emofeedback.generator.policy_store import PolicyStore
from emofeedback_trainer.cli import main
from emofeedback_trainer.core.task import load_task
from emofeedback_trainer.distillation import run as run_module
from emofeedback_trainer.distillation.config import CONFIGS, load_config, with_changes
from emofeedback_trainer.distillation.run import DistillationResult, distill, prepare
from support.small_trainings import tiny_profile


@pytest.fixture(scope="module")
def config(tiny_sd3: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distill")
    profile = tiny_profile(folder, tiny_sd3)
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"a dog {n}"}) + "\n" for n in range(8)))
    Image.new("RGB", (32, 32), "red").save(folder / "red.png")
    (folder / "pictures.jsonl").write_text(json.dumps({"caption": "a red dog", "image": "red.png"}) + "\n")
    (folder / "distill.toml").write_text(
        f"""extends = "nano"
name = "tiny-fast"
profile = {json.dumps(str(profile))}
prompts = {json.dumps(str(folder / "prompts.jsonl"))}
policy = "base"
steps = 2
teacher_steps = 6
trajectories = 16
updates = 60
batch = 8
save_every = 10
rank = 8
learning_rate = 1e-2

[finish]
pictures = {json.dumps(str(folder / "pictures.jsonl"))}
updates = 30
head_start = 10
count = 8
batch = 4
kept = 2
realism = 0.05
learning_rate = 1e-3
"""
    )
    return folder / "distill.toml"


@pytest.fixture(scope="module")
def whole(config: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DistillationResult]:
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, distill(load_config(str(config)), folder)


def test_the_student_comes_nearer_to_the_teacher_than_the_teacher_in_a_hurry(
    whole: tuple[Path, DistillationResult],
) -> None:
    folder, result = whole
    assert result.teacher == "base"
    assert result.error < 0.8 * result.teacher_in_as_many_steps
    assert json.loads((folder / "result.json").read_text())["digest"] == result.digest
    assert (folder / "samples.png").exists()


def test_the_policy_says_how_it_is_painted_with(whole: tuple[Path, DistillationResult]) -> None:
    folder, result = whole
    manifest = PolicyStore(str(folder / "policies")).manifest(result.policy)
    assert manifest.sampling is not None
    assert (manifest.sampling.levels, manifest.sampling.guidance) == ((1.0, 0.5), 1.0)


def test_lessons_beside_real_pictures_come_behind_the_teachers_own(
    whole: tuple[Path, DistillationResult],
) -> None:
    folder, result = whole
    assert result.updates == 90
    (first, *_), (*_, last) = (
        [json.loads(line) for line in (folder / part / "curve.jsonl").read_text().splitlines()]
        for part in ("student", "finish")
    )
    assert first["step"] == 10 and last["step"] == 30
    assert result.error == pytest.approx(last["error"], abs=1e-3)


@pytest.mark.parametrize("cut_at", ["30 of 60 updates", "20 of 30 updates beside real pictures"])
def test_a_cut_run_goes_on_to_the_same_policy(
    cut_at: str,
    whole: tuple[Path, DistillationResult],
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "cut"

    def cut(line: str) -> None:
        if cut_at in line:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(run_module, "say", cut)
        assert main(["distill-steps", "--config", str(config), "--out", str(folder)]) == 130
    promised = capsys.readouterr().out
    assert f"distill-steps --out {folder} --resume" in promised
    assert main(["distill-steps", "--out", str(folder), "--resume"]) == 0
    assert whole[1].digest in capsys.readouterr().out


def test_a_folder_holds_one_run(whole: tuple[Path, DistillationResult], config: Path, tmp_path: Path) -> None:
    mine = load_config(str(config))
    with pytest.raises(InvalidRequest, match="holds a run"):
        prepare(mine, whole[0], resume=False)
    with pytest.raises(InvalidRequest, match="holds no run to resume"):
        prepare(mine, tmp_path, resume=True)
    with pytest.raises(InvalidRequest, match="seed: is 1, the run was begun with 0"):
        prepare(with_changes(mine, {"seed": 1}), whole[0], resume=True)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_built_in_configurations_can_be_had(name: str) -> None:
    config = load_config(name)
    assert config.levels[0] == 1 and set(config.levels) <= set(config.teacher_levels)
    assert load_task(config.prompts).training


def test_steps_that_do_not_divide_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    path.write_text('extends = "nano"\nsteps = 5\n')
    with pytest.raises(InvalidRequest, match=r"teacher_steps: is 12, it must be a multiple of steps \(5\)"):
        load_config(str(path))


def test_lessons_that_would_end_before_the_student_learns_are_refused_by_name() -> None:
    with pytest.raises(InvalidRequest, match=r"finish\.head_start: is 150, it must be less than updates \(150\)"):
        with_changes(CONFIGS["nano"], {"finish.updates": 150})
