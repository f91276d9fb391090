"""`emofeedback-train evaluate generation` with the embedded models, their policy and the independent judge."""

import json
from pathlib import Path

import pytest
from PIL import Image

from emofeedback_trainer.cli import main
from emofeedback_trainer.evaluation import plane_picture, runs

WAYS = ["base", "reward feedback", "textual feedback", "both"]


def test_one_command_measures_all_four_ways_and_keeps_what_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plane_picture, "_GRID", 2)
    monkeypatch.setattr(runs, "ROUNDS", 2)
    monkeypatch.setattr(runs, "IMAGES", 2)
    (tmp_path / "quick.toml").write_text('extends = "nano"\n[generator]\nsteps = 3\n')
    words = ["--profile", str(tmp_path / "quick.toml"), "--out", str(tmp_path / "out"), "--limit", "2", "--json"]
    assert main(["evaluate", "generation", *words]) == 0
    content = json.loads(capsys.readouterr().out)
    assert list(content["ways"]) == WAYS
    for metrics in content["ways"].values():
        assert {
            "judge_valence_error",
            "valence_error",
            "arousal_error",
            "error",
            "subject_accuracy",
            "clip_score",
        } <= set(metrics)
        assert metrics["clip_score"]["n"] == 2 and "aesthetic" not in metrics
    models = {model["role"]: model for model in content["provenance"]["models"]}
    assert set(models) == {"generator", "judge", "independent judge", "CLIP-Score"}
    assert len({model["digest"] for model in models.values()}) == 4 and models["generator"]["policy"] == "nano-fused"
    kept = {path.name for path in (tmp_path / "out").iterdir()}
    assert kept == {"plane.png", "errors.png", "metrics.json", "table.md", "settings.json", "runs", "seen"}
    assert Image.open(tmp_path / "out" / "plane.png").width > Image.open(tmp_path / "out" / "errors.png").height
    assert (
        len(list((tmp_path / "out" / "runs").rglob("image-*.png"))) == 2 * 2 * 2 * 2
    )  # policies, pairs, rounds, images
