"""The curves of a run, by accelerate's trackers: TensorBoard scalars without double steps, and grids to look at."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.training import IterationDone, PanelMeasured
from emofeedback_trainer.flow_grpo.events import RolloutPainted, RunStarted
from emofeedback_trainer.flow_grpo.reporting.charts import CHARTS
from emofeedback_trainer.flow_grpo.reporting.sample_grid import sample_grid
from emofeedback_trainer.flow_grpo.reporting.trackers import Trackers, check_trackers
from support.staged_training import curve_line, panel_line, staged_rollout

RNG = np.random.default_rng(0)


def run(folder: Path, first: int, last: int, *, shift: float = 0.0) -> None:
    """Iterations `first` + 1 to `last` of a run of ten."""
    with Trackers(folder, run="calm", every=5) as trackers:
        trackers.show(RunStarted(iteration=first, iterations=10))
        for iteration in range(first + 1, last + 1):
            figures = curve_line(iteration, 10, RNG) | {"reward": iteration + shift}
            trackers.show(IterationDone(iteration=iteration, metrics=figures))
            if iteration % 5 == 0:
                trackers.show(PanelMeasured(iteration=iteration, metrics=panel_line(iteration, 10)))


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return [(event.step, round(event.value, 3)) for event in found.Scalars(tag)]


def test_every_figure_of_a_chart_becomes_a_scalar(tmp_path: Path) -> None:
    run(tmp_path, 0, 6)
    assert scalars(tmp_path, "reward/sum") == [(i, float(i)) for i in range(1, 7)]
    assert [step for step, _ in scalars(tmp_path, "panel_s_error/sum")] == [5]
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert len(found.Tags()["scalars"]) == sum(len(chart.series) for chart in CHARTS)


def test_a_resumed_run_has_no_step_twice(tmp_path: Path) -> None:
    run(tmp_path, 0, 7)
    run(tmp_path, 4, 10, shift=0.5)  # cut after the seventh, the checkpoint was of the fourth
    expected = [(i, float(i)) for i in range(1, 5)] + [(i, i + 0.5) for i in range(5, 11)]
    assert scalars(tmp_path, "reward/sum") == expected
    assert [step for step, _ in scalars(tmp_path, "panel_s_error/sum")] == [5, 10]


def test_grids_are_made_of_the_first_rollout_and_of_every_fifth(tmp_path: Path) -> None:
    with Trackers(tmp_path, run="calm", every=5) as trackers:
        trackers.show(RunStarted(iteration=0, iterations=10))
        for iteration in range(1, 8):
            trackers.show(RolloutPainted(iteration=iteration, rollout=staged_rollout(groups=1, size=2)))
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["000001.png", "000005.png"]
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [image.step for image in found.Images("samples")] == [1, 5]


def test_a_grid_has_a_row_a_group_with_the_nearest_to_the_target_on_the_left() -> None:
    rollout = staged_rollout(groups=3, size=4)
    grid = sample_grid(rollout)
    row = grid.height // 3
    for number, group in enumerate(rollout.groups):
        target = group.condition.target
        nearest = min(
            group.samples,
            key=lambda s: abs(s.assessment.valence - target.valence) + abs(s.assessment.arousal - target.arousal),
        )
        picture = Image.open(io.BytesIO(nearest.trajectory.image)).convert("RGB")
        shown = np.asarray(grid)[number * row : (number + 1) * row, 6 : 6 + picture.width].astype(float)
        wanted = np.asarray(picture).astype(float)
        height = picture.height
        gaps = [np.abs(shown[top : top + height] - wanted).max() for top in range(len(shown) - height + 1)]
        assert min(gaps) == pytest.approx(0.0)


def test_a_rollout_of_which_nothing_is_left_has_an_empty_grid() -> None:
    assert sample_grid(staged_rollout(groups=0)).size == (192, 192)


@pytest.mark.parametrize(("name", "problem"), [("paper", "'paper' is none of"), ("aim", "aim is not installed")])
def test_a_tracker_that_is_not_there_is_named(name: str, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        check_trackers(["tensorboard", name])
