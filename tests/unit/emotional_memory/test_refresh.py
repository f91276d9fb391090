"""A refresh of the judge from real data and an emotional memory."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emofeedback.domain.affect import AffectPoint, Emotion
from emofeedback.domain.errors import InvalidRequest
from emofeedback.judge.engines.base import CHECKPOINT_MARKER
from emofeedback.storage.checkpoints import digest
from emofeedback_trainer.cli import main
from emofeedback_trainer.data.storage import read_split
from emofeedback_trainer.emotional_memory.entries import Known
from emofeedback_trainer.emotional_memory.lessons import Collator, rating_lesson
from emofeedback_trainer.emotional_memory.measuring import difference, misses, relative_change
from emofeedback_trainer.emotional_memory.refresh import Refreshed, is_kept, refresh
from emofeedback_trainer.emotional_memory.refresh_config import REFRESH_CONFIGS
from emofeedback_trainer.evaluation.judge import image_of
from emofeedback_trainer.evaluation.metrics import Estimate
from emofeedback_trainer.judge.processor import JudgeProcessor
from support.colored_world import data_folder

_CONFIG = replace(REFRESH_CONFIGS["nano"], steps=2, batch=4, save_every=1, measured=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_folder(tmp_path_factory.mktemp("colors"), train=12, val=4)


def _refresh(folder: Path, data: Path, config: object = _CONFIG, *, memory: bool = True) -> Refreshed:
    train, val = read_split(data, "train"), read_split(data, "val")
    return refresh(
        config,  # type: ignore[arg-type]
        folder,
        real=train[:6],
        memory=[Known(sample=sample, sd=0.7) for sample in train[6:]] if memory else [],
        held_out=val,
        held_out_painted=val,
        show=lambda part, done, wanted: None,
    )


def test_a_refresh_leaves_a_whole_judge_and_says_what_it_came_to_and_again_does_nothing(
    tmp_path: Path, data: Path
) -> None:
    done = _refresh(tmp_path, data)
    assert (done.checkpoint / CHECKPOINT_MARKER).exists()
    assert done.checkpoint.name == ("judge" if done.kept else "dismissed")
    assert done.digest == digest(done.checkpoint) != digest(Path(_CONFIG.model.checkpoint))
    assert done.kept == is_kept(done.real, done.painted)
    assert _refresh(tmp_path, data) == done
    with pytest.raises(InvalidRequest, match=r"out: .*another configuration"):
        _refresh(tmp_path, data, replace(_CONFIG, steps=3))


def test_without_a_memory_only_the_control_runs(tmp_path: Path, data: Path) -> None:
    with pytest.raises(InvalidRequest, match="memory: is empty"):
        _refresh(tmp_path, data, memory=False)


@pytest.mark.parametrize(
    ("real", "painted", "kept"), [(0.01, -0.02, True), (0.011, -0.02, False), (-0.1, 0.0, False), (-0.1, 0.01, False)]
)
def test_it_is_kept_where_painted_falls_and_real_rises_by_a_hundredth_at_most(
    real: float, painted: float, kept: bool
) -> None:
    assert is_kept(*(Estimate(value=value, low=value, high=value, n=9) for value in (real, painted))) is kept


@pytest.mark.parametrize(("value", "written", "share"), [(6.4, "6", 0.4), (1.0, "1", 0.0), (9.0, "8", 1.0)])
def test_a_ratings_digits_are_shared_so_that_their_expectation_is_the_label(
    data: Path, value: float, written: str, share: float
) -> None:
    processor = JudgeProcessor.load(Path(_CONFIG.model.checkpoint), max_pixels=_CONFIG.model.max_pixels)
    image = image_of(read_split(data, "val")[0])
    lessons = [
        rating_lesson(image, AffectPoint(value, value), Emotion.AWE, weight=weight, mirrored=False)
        for weight in (1.0, 0.5)
    ]
    batch = Collator(processor, max_pixels=_CONFIG.model.max_pixels)(lessons, "cpu")
    assert batch.weights.tolist() == [1.0, 0.5]
    said = batch.labels[0][batch.labels[0] != -100]
    assert processor.tokenizer.decode(said, skip_special_tokens=True) == f"{written} {written} awe"
    places = [place for place, id in enumerate(batch.labels[0].tolist()) if id >= 0][:3:2]
    assert batch.shares[0, places].tolist() == pytest.approx([share, share])
    above = processor.tokenizer.decode(batch.neighbors[0, places[0]])
    assert int(written) * (1 - share) + int(above) * share == pytest.approx(value)


def test_a_picture_that_cannot_be_read_counts_as_the_largest_miss_and_changes_are_paired() -> None:
    truth = np.array([[5.0, 5.0], [5.0, 5.0]])
    before, after = misses(np.array([[6.0, 7.0], [np.nan, np.nan]]), truth), np.array([0.75, 4.0])
    assert before.tolist() == [1.5, 8.0]
    assert difference(before, after).value == pytest.approx(-2.375)
    assert relative_change(before, after) == Estimate(value=-0.5, low=-0.5, high=-0.5, n=2)


def test_a_refresh_is_refused_more_of_the_memory_than_a_judge_can_live_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["memory", "refresh", str(tmp_path), "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main([*words, "--set", "share=0.5"]) == 2
    assert "share: is 0.5, it must be at most 0.3" in capsys.readouterr().err
