"""`emofeedback-train data check`: what is in a data set, and exit codes for what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emofeedback_trainer.cli import main
from support import published_layouts as layouts


def check(*words: str | Path) -> int:
    return main(["data", "check", *map(str, words)])


def test_the_table_names_splits_ranges_and_categories(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layouts.emotic_mat(tmp_path)
    assert check("emotic", tmp_path) == 0
    text = capsys.readouterr().out
    for piece in (
        "5 samples, 5 with a picture",
        "train 3, val 1",
        "dominance",
        "labels: Peace 2, Sadness 2, Happiness 1",
    ):
        assert piece in text


def test_json_counts_what_was_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layouts.oasis(tmp_path)
    layouts.replaced(tmp_path / "OASIS.csv", "7.0", "8.5")
    assert check("oasis", tmp_path, "--skip-bad", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["axes"]["valence"] == {"count": 1, "mean": 5.0, "lowest": 5.0, "highest": 5.0}
    assert (said["splits"], said["labels"], said["skipped"]) == ({"": 1}, {"Object": 1}, 1)
    (bad,) = said["bad_rows"]
    assert (bad["file"], bad["row"], bad["column"]) == ("OASIS.csv", 3, "Valence_mean")


def test_a_bad_row_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layouts.oasis(tmp_path)
    layouts.replaced(tmp_path / "OASIS.csv", "7.0", "8.5")
    assert check("oasis", tmp_path) == 2
    assert "OASIS.csv row 3 column Valence_mean: is 8.5, it must lie in [1, 7]" in capsys.readouterr().err


def test_a_picture_that_cannot_be_read_is_a_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layouts.artphoto(tmp_path)
    (tmp_path / "sad_0002.jpg").write_bytes(b"no picture")
    assert check("artphoto", tmp_path) == 2
    assert "sad_0002.jpg: is not a readable PNG, JPEG or WebP image" in capsys.readouterr().err
    assert check("artphoto", tmp_path, "--skip-bad") == 0
    text = capsys.readouterr().out
    assert "2 samples" in text and "left out: 1 bad rows\n  sad_0002.jpg: is not a readable" in text


def test_the_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        check("--help")
    assert "examples:" in capsys.readouterr().out
