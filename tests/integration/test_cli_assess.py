"""`emofeedback assess` from its options to its exit code, with a scripted judge."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from emofeedback.domain.assessment import AssessmentOutcome
from emofeedback.domain.errors import Unauthenticated
from emofeedback.domain.taxonomies import EKMAN
from support.fakes import UNREADABLE, Picture, arbitrary_feeling, assessment, paint
from support.scripted_services import ScriptedEngines


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"photo [{i}].png" for i in range(3)]
    for seed, path in enumerate(paths):
        path.write_bytes(paint("a boat", seed))
    return [str(path) for path in paths]


def test_assess_prints_a_row_for_each_image(
    run: Callable[..., int], photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("assess", *photos) == 0
    said = capsys.readouterr().out
    for name in ("valence", "arousal", "emotion", "confidence", "75%"):
        assert name in said
    assert "[2].png" in said.replace("\n", "")


def test_assess_explains_in_a_paragraph_for_each_image(
    run: Callable[..., int], photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("assess", *photos, "--explain") == 0
    said = capsys.readouterr().out
    assert all(path in said.splitlines() for path in photos)
    assert said.count("  It feels like valence ") == 3


def test_assess_as_json_is_one_object_a_line(
    run: Callable[..., int], photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("assess", *photos, "--json", "--explain") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["path"] for line in lines] == photos
    assert all({"valence", "arousal", "emotion", "confidence"} < line.keys() for line in lines)
    assert all(line["reasoning"].startswith("It feels like") for line in lines)


def test_assess_draws_what_one_picture_makes_people_feel(
    run: Callable[..., int], photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("assess", photos[0]) == 0
    said = capsys.readouterr().out
    assert "█" * 18 in said and said.count(" to ") == 2 and said.count("4%") == 7
    assert run("assess", photos[0], "--explain") == 0
    assert "█" * 18 in capsys.readouterr().out
    assert run("assess", *photos) == 0
    assert "█" * 18 not in capsys.readouterr().out


def test_assess_as_json_says_how_sure_the_judge_is(
    run: Callable[..., int], photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("assess", photos[0], "--json") == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["dominance"] is None) == (line["dominance_distribution"] is None)
    for axis in ("valence", "arousal", *(["dominance"] if line["dominance"] is not None else [])):
        over = line[f"{axis}_distribution"]
        assert over["low"] <= line[axis] <= over["high"] and sum(over["shares"]) == pytest.approx(1, abs=1e-3)
    assert next(iter(line["emotions"].items())) == (line["emotion"], line["confidence"])
    assert run("assess", photos[0], "--json", "--taxonomy", "ekman") == 0
    assert set(json.loads(capsys.readouterr().out)["emotions"]) == set(EKMAN)


def test_an_unknown_taxonomy_is_refused_before_a_judge_is_loaded(
    engines: ScriptedEngines, run: Callable[..., int], photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("assess", *photos, "--taxonomy", "plutchik") == 2
    assert capsys.readouterr().err == "error: --taxonomy: is 'plutchik', it must be one of mikels, ekman\n"
    assert engines.opened == 0


def test_the_numbers_of_an_explained_picture_are_those_of_the_rating(
    engines: ScriptedEngines, run: Callable[..., int], photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    looks = itertools.count()
    engines.scripted_judge.feeling = lambda picture: assessment(3.0 if next(looks) < len(photos) else 8.0, 5.0)
    assert run("assess", *photos, "--explain", "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["valence"] for line in lines] == [3.0] * len(photos)
    assert all(line["reasoning"] == "It feels like valence 8, arousal 5." for line in lines)


@pytest.mark.parametrize(
    ("options", "ways"),
    [
        ((), ["none"]),
        (("--latent",), ["latent"]),
        (("--explain",), ["none", "aloud"]),
        (("--latent", "--explain"), ["latent", "aloud"]),
    ],
)
def test_the_judge_reasons_latently_where_it_is_asked_to_and_aloud_only_to_explain(
    engines: ScriptedEngines, run: Callable[..., int], photos: list[str], options: tuple[str, ...], ways: list[str]
) -> None:
    assert run("assess", *photos, *options) == 0
    assert engines.scripted_judge.ways == ways


@pytest.mark.parametrize("option", [(), ("--explain",)])
def test_a_picture_that_is_not_of_the_judges_world_is_said_to_be_one(
    engines: ScriptedEngines,
    run: Callable[..., int],
    photos: list[str],
    capsys: pytest.CaptureFixture[str],
    option: tuple[str, ...],
) -> None:
    def second_unfamiliar(picture: Picture) -> AssessmentOutcome:
        return dataclasses.replace(assessment(5.0, 5.0), domain_score=3.2 if picture.seed == 1 else 0.4)

    engines.scripted_judge.feeling = second_unfamiliar
    world = "not a picture of this judge's world: its reading means little"
    assert run("assess", *photos, *option) == 0
    said = capsys.readouterr().out
    assert said.count(world) == 1
    assert option or (said.count("(foreign)") == 1 and f"\nforeign: {world}" in said)
    assert run("assess", *photos, *option, "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["in_domain"], line["domain_score"]) for line in lines] == [(True, 0.4), (False, 3.2), (True, 0.4)]


def test_one_bad_file_is_named_and_does_not_stop_the_others(
    engines: ScriptedEngines,
    run: Callable[..., int],
    photos: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def unreadable_second(picture: Picture) -> AssessmentOutcome:
        return UNREADABLE if picture.seed == 1 else arbitrary_feeling(picture)

    engines.scripted_judge.feeling = unreadable_second
    (tmp_path / "empty").mkdir()
    names = (photos[0], str(tmp_path / "none.png"), photos[1], str(tmp_path / "empty"), photos[2])
    assert run("assess", *names, "--json") == 1
    said = capsys.readouterr()
    assert [json.loads(line)["path"] for line in said.out.splitlines()] == [photos[0], photos[2]]
    assert f"error: {tmp_path / 'none.png'}: No such file or directory" in said.err
    assert f"error: {tmp_path / 'empty'}: holds no pictures" in said.err
    assert f"error: {photos[1]}: the judge could not say: the reply holds no rating" in said.err


def test_a_wrong_token_is_said(
    engines: ScriptedEngines, run: Callable[..., int], photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    engines.scripted_judge.failures = {"assess": Unauthenticated("the bearer token is wrong")}
    assert run("assess", *photos) == 1
    assert capsys.readouterr().err == "error: the bearer token is wrong\n"
