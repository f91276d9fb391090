"""Drawn scenes as a data set: known labels, the same bytes for the same seed, and a build that can be cut."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import numpy as np
import pytest

from emofeedback.domain.affect import Emotion
from emofeedback_trainer.cli import main
from emofeedback_trainer.data.eemodb.build import relabeled
from emofeedback_trainer.data.storage import data_digest, read_split
from emofeedback_trainer.nano.dataset import SceneData, build_scenes, described, scene_sample
from emofeedback_trainer.nano.question_lessons import told
from emofeedback_trainer.nano.world.language import reasoning_lesson
from emofeedback_trainer.nano.world.scenes import affect, dominance, emotion, sample_scene

FEW = ("--train", "12", "--val", "0", "--test", "5")


def build(*argv: str | Path) -> int:
    return main(["nano", "dataset", *map(str, argv)])


def content(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def pictures(folder: Path, split: str) -> list[bytes]:
    return [one.image.read_bytes() for one in read_split(folder, split) if isinstance(one.image, Path)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    assert build(folder, *FEW) == 0
    return folder


def test_a_scene_comes_with_what_it_truly_makes_people_feel() -> None:
    rng = np.random.default_rng(3)
    scene = sample_scene(rng)
    sample = scene_sample(scene, rng, id="1", split="test", worn=False)
    assert (sample.valence, sample.arousal) == pytest.approx((affect(scene).valence, affect(scene).arousal), abs=1e-4)
    assert sample.dominance == pytest.approx(dominance(scene), abs=1e-4)
    assert sample.emotion is emotion(scene)
    assert sample.ranking[0].label == emotion(scene)
    assert {place.label for place in sample.ranking} == set(Emotion)
    weights = [place.weight for place in sample.ranking]
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) == pytest.approx(1, abs=1e-5)
    assert reasoning_lesson(scene).reply.startswith(f"<think>{sample.comments[0]}</think>")
    assert scene.subject in sample.neutral_prompt
    assert scene.weather in sample.emotional_prompt


def test_eemodb_ranks_a_scenes_emotions_as_the_judges_lessons_do() -> None:
    rng = np.random.default_rng(4)
    scenes = [sample_scene(rng) for _ in range(40)]
    brought = [relabeled(described(scene, rng, id="1", split="train"), {}, None) for scene in scenes]
    ranked = [(ours, told(scene)) for ours, scene in zip(brought, scenes, strict=True) if ours.ranking]
    assert len(ranked) >= 38  # two emotions that lie equally near leave no ranking
    for ours, taught in ranked:
        assert ours.label == taught.label
        assert [place.label for place in ours.ranking] == [place.label for place in taught.ranking]


def test_the_same_seed_gives_the_same_bytes_and_another_one_other_scenes(built: Path, tmp_path: Path) -> None:
    build(tmp_path / "same", *FEW)
    build(tmp_path / "other", *FEW, "--seed", "1")
    assert content(tmp_path / "same") == content(built)
    assert not set(pictures(built, "train")) & set(pictures(tmp_path / "other", "train"))


def test_splits_share_no_scene(built: Path) -> None:
    assert len({*pictures(built, "train"), *pictures(built, "test")}) == 17


def test_a_cut_build_goes_on_to_the_same_bytes(built: Path, tmp_path: Path) -> None:
    def cut(split: str, done: int, wanted: int) -> None:
        if (split, done) == ("test", 2):
            raise KeyboardInterrupt

    data = SceneData(train=12, val=0, test=5)
    with pytest.raises(KeyboardInterrupt):
        build_scenes(tmp_path, data, cut)
    drawn = []
    build_scenes(tmp_path, data, lambda split, done, wanted: drawn.append(split))
    assert set(drawn) == {"test"}
    assert content(tmp_path) == content(built)


def test_datasets_opens_it(built: Path, tmp_path: Path) -> None:
    opened = datasets.load_dataset(str(built), cache_dir=str(tmp_path))
    assert {name: len(split) for name, split in opened.items()} == {"train": 12, "test": 5}
    assert opened["train"][0]["image"].size == (128, 128)
    assert opened["test"][4]["comments"] == list(read_split(built, "test")[4].comments)


def test_the_card_names_the_command_and_the_labels_digest(built: Path) -> None:
    card = (built / "README.md").read_text()
    assert "emofeedback-train nano dataset OUT --train 12 --val 0 --test 5 --seed 0 --worn 0.5" in card
    assert data_digest(built) in card
    assert json.loads((built / "dataset.json").read_text())["title"] == "Drawn scenes"


@pytest.mark.parametrize(
    ("words", "complaint", "status"),
    [
        (("--train", "-1"), "train: is -1", 2),
        (("--worn", "1.5"), "worn: is 1.5", 2),
        (("--train", "0", "--val", "0", "--test", "0"), "at least one must have scenes", 2),
        ((*FEW, "--seed", "9"), "with other settings", 1),
    ],
)
def test_bad_settings_are_refused_by_name(
    built: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], complaint: str, status: int
) -> None:
    assert build(built, *words) == status
    assert complaint in capsys.readouterr().err


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert build(tmp_path, *FEW) == 1
    assert "is not empty" in capsys.readouterr().err
    assert content(tmp_path) == {"thesis.txt": b"mine"}
