"""`fuse` on a tiny checkpoint: the student reads tokens, keeps what it painted without, and a cut run goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.reasoning import Imagination
from emofeedback.generator.policy_store import WEIGHTS, PolicyStore
from emofeedback.profiles.overrides import load_profile
from emofeedback.profiles.profile import JudgeSettings
from emofeedback_trainer.cli import main
from emofeedback_trainer.core.pairs import Pair
from emofeedback_trainer.fusion import evaluation
from emofeedback_trainer.fusion import run as run_module
from emofeedback_trainer.fusion.config import CONFIGS, load_config, with_changes
from emofeedback_trainer.fusion.evaluation_run import FusedPolicy, paint_all
from emofeedback_trainer.fusion.run import FusionResult, fuse, prepare
from emofeedback_trainer.fusion.states import JudgeReasoner, load_numbers
from support.reasoning_judge import untrained_reasoning_judge
from support.small_trainings import tiny_profile
from support.tiny_judges import save_tiny_qwen25vl, settings

MOODS = ("bright", "dark")


class TwoMoods:
    """A judge whose tokens are one of two constants: what is above the middle, and what isn't."""

    info = ModelInfo(name="two moods", digest="sha256:two")
    variations = 2
    shape = (3, 8)

    def look(self, pictures: Sequence[Image.Image]) -> torch.Tensor:
        return torch.stack([self._states(np.asarray(picture).mean() > 127) for picture in pictures])

    def imagine(self, imaginations: Sequence[tuple[Imagination, int]]) -> torch.Tensor:
        return torch.stack([self._states(one.target.valence > 5) for one, _ in imaginations])

    def _states(self, is_bright: bool) -> torch.Tensor:
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(int(is_bright)))


def load_two_moods(settings: JudgeSettings) -> TwoMoods:
    return TwoMoods()


@pytest.fixture(scope="module")
def config(tiny_sd3: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuse")
    profile = tiny_profile(folder, tiny_sd3)
    for mood, level in zip(MOODS, (250, 5), strict=True):
        Image.new("RGB", (8, 8), (level, level, level)).save(folder / f"{mood}.png")
    lines = [
        {
            "prompt": f"a dog {n}",
            "told": f"{mood} {mood} {mood}",
            "valence": 2 + 6 * (mood == "bright"),
            "arousal": 5,
            **({"image": f"{mood}.png"} if n % 2 else {"variations": [n % 2]}),
        }
        for n in range(6)
        for mood in MOODS
    ]
    lines += [{"prompt": f"a cat {n}"} for n in range(3)]
    (folder / "lessons.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "fuse.toml").write_text(
        f"""extends = "nano"
name = "tiny-fused"
policy = "warm"
profile = {json.dumps(str(profile))}
lessons = {json.dumps(str(folder / "lessons.jsonl"))}
steps = 2
teacher_steps = 2
count = 30
painted = 20
word_updates = 40
updates = 60
batch = 8
windows = 2
save_every = 10
learning_rate = 1e-2
adapter_rate = 1e-3
[connector]
width = 16
heads = 2
layers = 1
"""
    )
    return folder / "fuse.toml"


@pytest.fixture(scope="module")
def whole(config: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FusionResult]:
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, fuse(load_config(str(config)), folder, load_judge=load_two_moods)


def test_the_student_paints_from_tokens_what_the_teacher_paints_from_words(whole: tuple[Path, FusionResult]) -> None:
    folder, result = whole
    assert result.teacher == "warm"
    assert result.error < 0.7 * result.without_tokens
    assert json.loads((folder / "result.json").read_text())["digest"] == result.digest
    assert (folder / "samples.png").exists()


def test_the_policy_says_whose_tokens_it_reads_and_how_it_is_painted_with(whole: tuple[Path, FusionResult]) -> None:
    folder, result = whole
    manifest = PolicyStore(str(folder / "policies")).manifest(result.policy)
    fusion = FusedPolicy.of_run(folder).fusion
    assert manifest.fusion == fusion
    assert (fusion.judge, fusion.tokens, fusion.width, fusion.variations) == (TwoMoods.info, 3, 8, 2)
    assert manifest.sampling is not None
    assert (manifest.sampling.levels, manifest.sampling.guidance) == ((1.0, 0.5), 1.0)
    assert manifest.rank == 2  # the teacher's, whose adapter it goes on with


def test_a_cut_run_goes_on_to_the_same_policy(
    whole: tuple[Path, FusionResult], config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cut"

    def cut(line: str) -> None:
        if "30 of 60 updates" in line:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(run_module, "say", cut)
        fuse(load_config(str(config)), folder, load_judge=load_two_moods)
    prepare(load_config(str(config)), folder, resume=True)
    assert fuse(load_config(str(config)), folder, load_judge=load_two_moods).digest == whole[1].digest


def test_numbers_stand_for_a_judge_and_words_alone_leave_the_adapter_as_it_is(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ("states=numbers", "tokens=3", "updates=0", "adapter_rate=0")
    asked = ["fuse", "--config", str(config), *(word for change in changes for word in ("--set", change))]
    assert main([*asked, "--out", str(tmp_path / "run")]) == 0
    assert "without the tokens" in capsys.readouterr().out
    network, digest = load_numbers(tmp_path / "run" / "numbers")
    assert network.shape == {"tokens": 3, "width": 16, "variations": 1}
    assert FusedPolicy.of_run(tmp_path / "run").fusion.judge == ModelInfo(name="numbers", digest=digest)
    before, after = (
        load_file(folder / WEIGHTS)
        for folder in (config.parent / "policies" / "warm", tmp_path / "run" / "policies" / "tiny-fused")
    )
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], weight.half()) for name, weight in before.items())


def test_a_judge_without_tokens_is_told_how_to_learn_them(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tiny_qwen25vl(tmp_path / "judge")
    monkeypatch.setenv("EMOFEEDBACK_PROFILE__JUDGE__CHECKPOINT", str(tmp_path / "judge"))
    monkeypatch.setenv("EMOFEEDBACK_PROFILE__JUDGE__DEVICE", "cpu")
    monkeypatch.setenv("EMOFEEDBACK_PROFILE__JUDGE__DTYPE", "float32")
    assert main(["fuse", "--config", str(config), "--out", str(tmp_path / "run")]) == 1
    assert "train them with `emofeedback-train judge-latent`" in capsys.readouterr().err


def test_a_judge_is_asked_about_pictures_and_imaginations(tmp_path: Path) -> None:
    save_tiny_qwen25vl(tmp_path / "plain")
    folder = untrained_reasoning_judge(tmp_path / "judge", of=tmp_path / "plain", reasons=16, variations=2)
    reasoner = JudgeReasoner(replace(settings(folder), checkpoint=str(folder)), together=2)
    dog = Imagination(prompt="a dog", target=AffectPoint(7, 3))
    looked = reasoner.look([Image.new("RGB", (56, 56), color) for color in ("red", "green", "blue")])
    imagined = reasoner.imagine([(dog, 0), (dog, 1)])
    assert looked.shape[1:] == imagined.shape[1:] == reasoner.shape and reasoner.shape[0] == 16
    assert not torch.allclose(looked[0], looked[1]) and not torch.allclose(imagined[0], imagined[1])
    torch.testing.assert_close(reasoner.imagine([(dog, 1)])[0], imagined[1])
    with pytest.raises(InvalidRequest, match="has 2, the judge has 2, counted from 0"):
        reasoner.imagine([(dog, 2)])


def test_another_judge_does_not_go_on_with_the_first_ones_tokens(
    whole: tuple[Path, FusionResult], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TwoMoods, "info", ModelInfo(name="another", digest="sha256:another"))
    with pytest.raises(FailedPrecondition, match="holds the tokens of another judge"):
        fuse(load_config(str(config)), whole[0], load_judge=load_two_moods)


def test_a_folder_holds_one_run(whole: tuple[Path, FusionResult], config: Path, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("steps = 3", r"teacher_steps: is 4, it must be a multiple of steps \(3\)"),
        ("windows = 5", r"windows: is 5, it must be at most steps \(4\)"),
        ("connector.heads = 3", r"connector.width: is 160, it must be a multiple of heads \(3\)"),
        ('policy = "base"', "begin_with_it: is true, but the base has no adapter"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    path.write_text(f'extends = "nano"\n{change}\n')
    with pytest.raises(InvalidRequest, match=said):
        load_config(str(path))


def test_what_cannot_be_measured_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fuse-evaluate", "--run", str(tmp_path)]) == 1
    assert "holds no finished fusion: `emofeedback-train fuse --resume` finishes it" in capsys.readouterr().err
    assert main(["fuse-evaluate", "--policy", "nano-fast"]) == 1
    assert "policy 'nano-fast' reads no emotion tokens: make one that does" in capsys.readouterr().err
    assert main(["fuse-evaluate", "--limit", "1"]) == 2
    assert "limit: is 1, it must be 2 or more" in capsys.readouterr().err


def test_every_way_paints_every_pair_from_the_same_seeds(
    whole: tuple[Path, FusionResult], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the models is real here: a policy's tokens reach its pictures, others' and none make other ones."""
    profile = load_profile(load_config(str(config)).profile)
    pairs = [Pair(prompt=f"a dog {n}", target=AffectPoint(8 - 6 * (n % 2), 5), subject="dog") for n in range(3)]
    painted = paint_all(
        pairs,
        profile,
        FusedPolicy.of_run(whole[0]),
        released="warm",
        tell=lambda pair, way: f"{pair.prompt} {way}",
        numbers=None,
        load_judge=load_two_moods,
    )
    assert all(len(groups) == 3 and {len(group) for group in groups} == {4} for groups in painted.values())
    imagined, shuffled, null = (painted[name] for name in (evaluation.IMAGINED, evaluation.SHUFFLED, evaluation.NULL))
    # Tokens of another mood: pair 0 gets those of pair 2, which are its own mood's; pair 1 the other mood's.
    assert shuffled[0] == imagined[0] and shuffled[1] != imagined[1]
    assert all(one != other for one, other in zip(imagined, null, strict=True))
    assert painted[evaluation.BASE] != painted[evaluation.RELEASED]
