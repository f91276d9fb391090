"""`build-emoset` on Ray: the same bytes whatever happened to the build, and pictures that get no captions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import datasets
import pytest

from emofeedback.domain.affect import LEXICON, Emotion
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.serving.ray_local import local_cluster
from emofeedback_trainer.data.captioning import PART
from emofeedback_trainer.data.storage import read_split
from support import emoset_building
from support import published_layouts as layouts
from support.emoset_building import BUILD, CaptioningJudge, build


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(emoset_building.__file__).parents[1]))  # where the workers find it
        with local_cluster():
            yield


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("EmoSet")
    layouts.emoset(folder, per_split=200)
    return folder


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "data"
    assert build(source, folder, CaptioningJudge()) == []
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_judges(
    source: Path, built: Path, tmp_path: Path
) -> None:
    build(source, tmp_path, CaptioningJudge(), replace(BUILD, judges=2))
    assert content(tmp_path) == content(built)


def test_a_build_that_was_killed_goes_on_to_the_same_bytes(source: Path, built: Path, tmp_path: Path) -> None:
    import ray  # only now, that the cluster's token is in the environment

    command = [sys.executable, emoset_building.__file__, str(source), str(tmp_path / "data"), "0.4"]
    environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    captions = tmp_path / "data" / ".captions"
    try:
        waited_until = time.monotonic() + 300
        while len(list(captions.glob("*.json"))) < 2 and time.monotonic() < waited_until:
            time.sleep(0.05)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    kept = {path: path.stat().st_mtime_ns for path in captions.glob("*.json")}
    assert 2 <= len(kept) < (BUILD.train + BUILD.test) / PART
    assert not (tmp_path / "data" / "train").exists()

    assert build(source, tmp_path / "data", CaptioningJudge()) == []
    assert content(tmp_path / "data") == content(built)


def test_what_was_captioned_before_the_cut_is_not_captioned_again(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest):
        build(source, tmp_path, CaptioningJudge(speechless="0"))
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / ".captions").glob("*.json")}
    with pytest.raises(InvalidRequest):
        build(source, tmp_path, CaptioningJudge(speechless="0"))
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / ".captions").glob("*.json")} == kept
    (tmp_path / ".captions" / "000000.json").unlink()
    with pytest.raises(FailedPrecondition, match="of several judges"):
        build(source, tmp_path, CaptioningJudge(name="another"))


def test_train_pictures_have_both_captions_and_test_pictures_the_neutral_one(built: Path) -> None:
    train, test = read_split(built, "train"), read_split(built, "test")
    assert (len(train), len(test)) == (150, 50)
    assert all(sample.neutral_prompt.startswith("a picture of ") for sample in train + test)
    assert all(sample.emotional_prompt not in ("", sample.neutral_prompt) for sample in train)
    assert not any(sample.emotional_prompt for sample in test)
    joyful, sad = (
        [sample.valence or 0 for sample in train if sample.emotion is emotion]
        for emotion in (Emotion.EXCITEMENT, Emotion.SADNESS)
    )
    for drawn, emotion in ((joyful, Emotion.EXCITEMENT), (sad, Emotion.SADNESS)):
        assert abs(sum(drawn) / len(drawn) - LEXICON[emotion].valence_mean) < 1.0


def test_datasets_opens_it_with_pictures_and_labels(built: Path, tmp_path: Path) -> None:
    opened = datasets.load_dataset(str(built), cache_dir=str(tmp_path))
    assert {name: len(split) for name, split in opened.items()} == {"train": 150, "test": 50}
    row = opened["train"][7]
    assert row["image"].size == (12, 8)
    assert (row["id"], row["valence"]) == (
        read_split(built, "train")[7].id,
        read_split(built, "train")[7].valence,
    )


def test_the_card_tells_how_it_was_made(built: Path) -> None:
    card = (built / "README.md").read_text()
    for piece in (
        "a test",
        f"scripted sha256:{'2' * 64}",
        "| train | 150 |",
        "truncated to the scale",
        "histograms.png",
    ):
        assert piece in card
    assert (built / "histograms.png").stat().st_size > 10_000


def test_pictures_without_captions_stop_the_build_until_it_may_leave_them_out(source: Path, tmp_path: Path) -> None:
    speechless = CaptioningJudge(speechless="0")
    with pytest.raises(InvalidRequest, match=r"train column \w+: the judge gave no \w+ caption.*--skip-bad"):
        build(source, tmp_path, speechless)
    left_out = build(source, tmp_path, speechless, replace(BUILD, skip_bad=True))
    assert len(left_out) > 5
    samples = read_split(tmp_path, "train") + read_split(tmp_path, "test")
    assert len(samples) + len(left_out) == 200
    assert f"{len(left_out)} pictures of the choice are left out" in (tmp_path / "README.md").read_text()


def test_another_seed_is_another_data_set(source: Path, built: Path) -> None:
    with pytest.raises(FailedPrecondition, match="with other settings"):
        build(source, built, CaptioningJudge(), replace(BUILD, seed=6))
