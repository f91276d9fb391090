"""`emofeedback calibrate`: from a table of ratings to a map that `emofeedback assess --user` applies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from emofeedback.cli.main import main
from emofeedback.domain.assessment import AssessmentOutcome
from emofeedback.judge.calibration_store import CalibrationStore
from support.fakes import JUDGE_MODEL, UNREADABLE, Picture, assessment, paint
from support.scripted_services import ScriptedEngines

COUNT = 16


def feeling(picture: Picture) -> AssessmentOutcome:
    """A judge for whom the seed decides: valence rises with it, arousal falls."""
    return assessment(1 + picture.seed / 2, 9 - picture.seed / 2)


@pytest.fixture
def engines() -> ScriptedEngines:
    engines = ScriptedEngines()
    engines.scripted_judge.feeling = feeling
    return engines


@pytest.fixture
def run(engines: ScriptedEngines, tmp_path: Path) -> Callable[..., int]:
    """Runs `calibrate` on `tmp_path/ratings.csv`."""

    def run(*words: str, user: str = "ada", store: str = "people") -> int:
        table, people = str(tmp_path / "ratings.csv"), str(tmp_path / store)
        return main(["calibrate", table, "--user", user, "--calibrations", people, *words], connect=engines.connect)

    return run


def ratings(folder: Path, rate: Callable[[int], tuple[object, object]], *, count: int = COUNT) -> None:
    """Paints pictures of seeds from 0 on, and writes down how a person rates them."""
    lines = ["image,valence,arousal"]
    for seed in range(count):
        (folder / f"{seed}.png").write_bytes(paint("a boat", seed))
        valence, arousal = rate(seed)
        lines.append(f"{seed}.png,{valence},{arousal}")
    (folder / "ratings.csv").write_text("\n".join(lines) + "\n")


def gloomy(seed: int) -> tuple[object, object]:
    """Rates two below the judge, and arousal by chance."""
    chance = np.random.default_rng(seed)
    return round(max(1.0, seed / 2 - 1 + chance.normal(0, 0.2)), 2), round(float(chance.uniform(1, 9)), 2)


def test_it_stores_what_it_learned_and_shows_the_gain(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ratings(tmp_path, gloomy)
    assert run() == 0
    said = capsys.readouterr()
    assert f"Stored: {tmp_path / 'people' / 'ada.json'}" in said.out
    for piece in ("valence", "pictures", "judge", "calibrated", "gain", "±", "at 5"):
        assert piece in said.out
    assert "note: arousal stays as the judge sees it" in said.err
    known = CalibrationStore(str(tmp_path / "people")).read("ada", JUDGE_MODEL)
    assert known.valence is not None and known.valence.apply(7) == pytest.approx(5, abs=0.5)
    assert known.arousal is None


def test_json_has_gain_and_refusal(run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ratings(tmp_path, gloomy)
    assert run("--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["user"], said["valence"]["images"]) == ("ada", COUNT)
    assert said["valence"]["error"] < said["valence"]["judge_error"] and "reason" in said["arousal"]


def test_nothing_is_stored_where_nothing_was_learned(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ratings(tmp_path, lambda seed: (1 + seed / 2, ""))
    assert run() == 1
    said = capsys.readouterr().err
    assert "no calibration for ada" in said and "arousal: 0 pictures are rated, at least 10 are needed" in said
    assert not (tmp_path / "people").exists()


def test_a_picture_that_the_judge_cannot_say_anything_of_is_left_out(
    engines: ScriptedEngines, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines.scripted_judge.feeling = lambda picture: UNREADABLE if picture.seed == 3 else feeling(picture)
    ratings(tmp_path, gloomy)
    assert run("--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["valence"]["images"] == COUNT - 1
    assert said.err.count("3.png is left out") == 1


def test_decimal_commas_between_commas_are_refused_and_nothing_is_stored(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ratings(tmp_path, lambda seed: (f"{seed // 2 + 1},5", "3,2"))
    assert run() == 2
    assert "ratings.csv row 2: has more cells than the header has columns" in capsys.readouterr().err
    assert not (tmp_path / "people").exists()


def test_a_german_spreadsheet_gives_the_same_calibration(run: Callable[..., int], tmp_path: Path) -> None:
    ratings(tmp_path, gloomy)
    assert run(store="people") == 0
    table = tmp_path / "ratings.csv"
    german = table.read_text().replace(",", ";").replace(".", ",").replace(",png", ".png").replace("\n", "\r\n")
    table.write_bytes(german.encode("utf-8-sig"))
    assert run(store="the same") == 0
    one, other = (CalibrationStore(str(tmp_path / store)).read("ada", JUDGE_MODEL) for store in ("people", "the same"))
    assert one.valence == other.valence


WRONG = {
    "a rating off the scale": ("2.png,-,", "2.png,11,", "ratings.csv row 4 column valence: is 11, it must lie in"),
    "a rating that is no number": ("2.png,-,", "2.png,low,", "ratings.csv row 4 column valence: is 'low'"),
    "a rating that is NaN": ("2.png,-,", "2.png,nan,", "ratings.csv row 4 column valence: is nan"),
    "a picture that is not there": ("2.png,-,", "9.png,5,", "ratings.csv row 4 column image: names '9.png'"),
    "a picture twice": ("2.png,-,", "1.png,5,", "1.png twice"),
    "a missing column": ("arousal", "a", "ratings.csv row 1 column arousal: is missing"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_table_is_refused_by_row_and_column(
    case: str,
    engines: ScriptedEngines,
    run: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old, new, problem = WRONG[case]
    ratings(tmp_path, lambda seed: ("-" if seed == 2 else 5, 5), count=3)
    table = tmp_path / "ratings.csv"
    table.write_text(table.read_text().replace(old, new, 1))
    assert run() == 2
    assert problem in capsys.readouterr().err
    assert engines.opened == 0


def test_options_that_make_no_sense_are_refused_before_anything_is_loaded(
    engines: ScriptedEngines, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ratings(tmp_path, gloomy)
    assert run(user="../ada") == 2
    assert "--user: is '../ada'" in capsys.readouterr().err
    assert main(["calibrate", str(tmp_path / "ratings.csv"), "--user", "ada"], connect=engines.connect) == 2
    assert "--calibrations: is missing" in capsys.readouterr().err
    assert run("--profile", "nowhere") == 2
    assert engines.opened == 0


def test_assess_asks_for_a_persons_eyes(engines: ScriptedEngines, tmp_path: Path) -> None:
    ratings(tmp_path, gloomy, count=1)
    assert main(["assess", str(tmp_path / "0.png"), "--user", "ada"], connect=engines.connect) == 0
    assert main(["assess", str(tmp_path / "0.png")], connect=engines.connect) == 0
    assert main(["assess", str(tmp_path / "0.png"), "--user", "a/b"], connect=engines.connect) == 2
    assert engines.scripted_judge.users == ["ada", ""]
