"""`emofeedback show` and `emofeedback reproduce`, over every door by which a picture comes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from emofeedback.domain.png import is_marked_synthetic, with_texts
from emofeedback.domain.recipe import read_recipe, with_recipe
from emofeedback.manifests import Signer
from support.certificates import Authority
from support.fakes import GENERATOR_MODEL, JUDGE_MODEL
from support.scripted_services import ScriptedEngines

Run = Callable[..., int]
CREATE = ("create", "a boat", "--emotion", "awe", "--rounds", "2", "--images", "2", "--out", "OUT")


@pytest.fixture
def picture(engines: ScriptedEngines, run: Run, tmp_path: Path) -> Path:
    """A picture of a finished run."""
    engines.generator.recipes = True
    assert run(*CREATE) == 0
    return tmp_path / "run" / "round-1" / "image-2.png"


def test_a_picture_of_a_run_says_all_of_it(
    picture: Path, run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    capsys.readouterr()
    assert run("show", str(picture), "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["seed"], said["generator"]["digest"]) == (1, GENERATOR_MODEL.digest)
    assert said["wish"] == {"prompt": "a boat", "target": {"valence": 6.85, "arousal": 3.83}, "dominance": None}
    judged = json.loads((tmp_path / "run" / "result.json").read_text())["rounds"][0]["candidates"][1]["outcome"]
    assert said["reading"]["judge"]["digest"] == JUDGE_MODEL.digest
    assert {name: said["reading"][name] for name in ("valence", "arousal", "confidence")} == {
        name: judged[name] for name in ("valence", "arousal", "confidence")
    }
    assert str(tmp_path) not in json.dumps(said)


def test_every_picture_of_a_run_paints_the_same_pixels_again(picture: Path, run: Run) -> None:
    for path in sorted(picture.parents[1].glob("round-*/image-?.png")):
        assert run("reproduce", str(path)) == 0
        before, again = (read_recipe(p.read_bytes()) for p in (path, path.with_name(f"{path.stem}-again.png")))
        assert before and again and before.pixels == again.pixels


def test_reproduce_says_which_digest_is_missing(picture: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = read_recipe(picture.read_bytes())
    assert recipe is not None
    other = "sha256:" + "9" * 64
    for changed in (
        replace(recipe, generator=replace(recipe.generator, digest=other)),
        replace(recipe, pixels=other),
        replace(recipe, policy_digest=other),
    ):
        picture.write_bytes(with_recipe(picture.read_bytes(), changed))
        assert run("reproduce", str(picture)) == 1
        assert other in capsys.readouterr().err.replace("\n", "")


def test_a_picture_that_was_imagined_is_imagined_again(
    engines: ScriptedEngines, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines.generator.recipes = True
    engines.generator.known_policies, engines.generator.fused = ("felt",), {"felt": JUDGE_MODEL}
    assert run(*CREATE, "--policy", "felt", "--imagine") == 0
    for path in sorted((tmp_path / "run").glob("round-*/image-?.png")):
        assert run("reproduce", str(path)) == 0
    path = tmp_path / "run" / "round-1" / "image-1.png"  # later rounds are painted from rewrites, in words alone
    recipe = read_recipe(path.read_bytes())
    assert recipe is not None and recipe.emotion is not None and recipe.wish is not None
    assert run("show", str(path)) == 0
    capsys.readouterr()
    other = "sha256:" + "9" * 64
    for changed, said in (
        (replace(recipe, emotion=replace(recipe.emotion, judge=replace(JUDGE_MODEL, digest=other))), other),
        (replace(recipe, emotion=replace(recipe.emotion, digest=other)), "does not imagine of its wish"),
        (replace(recipe, wish=None), "does not say what was wished for"),
        (replace(recipe, emotion=replace(recipe.emotion, scale=0.5)), "the picture's pixels is"),
    ):
        path.write_bytes(with_recipe(path.read_bytes(), changed))
        assert run("reproduce", str(path)) == 1
        assert said in " ".join(capsys.readouterr().err.split())


def test_a_picture_without_a_recipe_is_refused(
    engines: ScriptedEngines, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*CREATE) == 0
    path = tmp_path / "run" / "round-1" / "image-1.png"
    assert not is_marked_synthetic(path.read_bytes())
    assert run("show", str(path)) != 0
    assert "carries no recipe, as a PNG that EmoFeedback wrote does" in " ".join(capsys.readouterr().err.split())


def test_show_says_whether_a_manifest_is_there_and_whether_it_verifies(
    picture: Path, run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = Authority().certify_signer("A Painter")
    for name, pem in (("certificate", made.certificate), ("key", made.key)):
        (tmp_path / name).write_bytes(pem)
    plain = picture.read_bytes()
    signed = Signer(str(tmp_path / "certificate"), str(tmp_path / "key")).sign(plain)
    changed = with_texts(signed, {"Comment": "a word more"})
    said = []
    for png in (plain, signed, changed):
        picture.write_bytes(png)
        capsys.readouterr()
        assert run("show", str(picture)) == 0
        shown = capsys.readouterr().out
        assert run("show", str(picture), "--json") == 0
        said.append((json.loads(capsys.readouterr().out)["manifest"], shown))
    (none, first), (held, second), (broken, third) = said
    assert none is None and "manifest" in first and "none" in first
    assert held == {"verifies": True, "signed_by": "A Painter", "problems": []} and "signed by A Painter" in second
    assert broken["verifies"] is False and "DOES NOT VERIFY" in third
