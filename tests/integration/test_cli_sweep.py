"""`emofeedback sweep` from its options to its exit code, with a scripted generator and judge behind the real loop."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from emofeedback.domain.errors import Unavailable
from support.scripted_services import ScriptedEngines

SWEEP = ("sweep", "a boat", "--grid", "2", "--images", "2", "--rounds", "1", "--out", "OUT")


def test_sweep_draws_the_plane_and_keeps_a_run_for_every_cell(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*SWEEP) == 0
    assert f"Picture: {tmp_path / 'run/plane.png'}" in capsys.readouterr().out
    with Image.open(tmp_path / "run/plane.png") as picture:
        assert picture.width > 300 and picture.height > 300
    result = json.loads((tmp_path / "run/result.json").read_text())
    targets = {(cell["target"]["valence"], cell["target"]["arousal"]) for cell in result["cells"]}
    assert targets == {(3, 3), (7, 3), (3, 7), (7, 7)}
    for cell in result["cells"]:
        assert (tmp_path / "run" / cell["best"]["path"]).exists()
        assert (tmp_path / "run" / cell["run"] / "result.json").exists()


def test_cells_share_the_images_of_all_runs_the_nearest_pairs_first(run: Callable[..., int], tmp_path: Path) -> None:
    assert run(*SWEEP) == 0
    runs = [json.loads(path.read_text()) for path in (tmp_path / "run/cells").glob("*/result.json")]
    images = [image for found in runs for image in found["rounds"][0]["candidates"]]
    assert len({image["seed"] for image in images}) == 4 * 2
    cells = json.loads((tmp_path / "run/result.json").read_text())["cells"]
    assert len({cell["best"]["path"] for cell in cells}) == 4
    losses = [
        abs(image["outcome"]["valence"] - cell["target"]["valence"])
        + abs(image["outcome"]["arousal"] - cell["target"]["arousal"])
        for image in images
        for cell in cells
    ]
    assert min(cell["best"]["loss"] for cell in cells) == pytest.approx(min(losses))


def test_a_cut_sweep_goes_on_with_the_cells_that_are_missing(
    engines: ScriptedEngines, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines.generator.failures = {(2, 1): Unavailable("the generator is gone")}
    assert run(*SWEEP) == 1
    assert "2 of 4 cells are kept" in capsys.readouterr().err
    engines.generator.failures = {}
    assert run(*SWEEP) == 2
    assert run(*SWEEP, "--resume") == 0
    assert len(engines.generator.requests) == 3 + 2
    assert (tmp_path / "run/plane.png").exists()
    assert run(*SWEEP, "--seed", "3", "--resume") == 2
    assert "--seed: the sweep in" in capsys.readouterr().err
