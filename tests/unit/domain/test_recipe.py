"""A picture carries how it was made, and its pixels don't change by that."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import GenerationRequest
from emofeedback.domain.png import is_marked_synthetic, read_text, with_texts
from emofeedback.domain.recipe import KEYWORD, Reading, Wish, read_recipe, with_recipe, with_whole_recipe
from emofeedback.runs.run import recipe_schema
from support.fakes import GENERATOR_MODEL, JUDGE_MODEL, assessment, paint, scripted_recipe

PLAIN = paint("ein Boot, \u6d77", 3)
RECIPE = scripted_recipe(GenerationRequest(prompt="ein Boot, \u6d77", seeds=(3,)), 3, PLAIN, GENERATOR_MODEL)
WISH = Wish(prompt="a boat", target=AffectPoint(8, 6), dominance=7)
STRONG = dataclasses.replace(
    assessment(7.5, 6.25), dominance=6.5, dominance_distribution=assessment(6.5, 5).valence_distribution
)
READING = Reading.of(STRONG, JUDGE_MODEL)
SCHEMA = Path(__file__).parents[3] / "docs" / "recipe.schema.json"


def pixels(png: bytes) -> bytes:
    return Image.open(io.BytesIO(png)).convert("RGB").tobytes()


def test_a_recipe_is_read_as_it_was_written_and_the_pixels_stay() -> None:
    whole = with_whole_recipe(with_recipe(PLAIN, RECIPE), WISH, READING)
    assert read_recipe(whole) == dataclasses.replace(RECIPE, wish=WISH, reading=READING)
    assert pixels(whole) == pixels(PLAIN)


def test_a_recipe_from_before_dominance_is_read_too() -> None:
    content = json.loads(read_text(with_whole_recipe(with_recipe(PLAIN, RECIPE), WISH, READING), KEYWORD) or "")
    del content["wish"]["dominance"], content["reading"]["dominance"], content["reading"]["dominance_interval"]
    earlier = read_recipe(with_texts(PLAIN, {KEYWORD: json.dumps(content)}))
    assert earlier is not None and earlier.wish == dataclasses.replace(WISH, dominance=None)
    assert earlier.reading == dataclasses.replace(READING, dominance=None, dominance_interval=None)


def test_pillow_reads_the_same_texts() -> None:
    info = Image.open(io.BytesIO(with_recipe(PLAIN, RECIPE))).info
    assert json.loads(info[KEYWORD])["prompt"] == "ein Boot, \u6d77"
    assert "trainedAlgorithmicMedia" in info["XML:com.adobe.xmp"]


def test_a_recipe_written_again_takes_the_place_of_the_first() -> None:
    once = with_recipe(PLAIN, RECIPE)
    assert with_recipe(once, RECIPE) == once
    assert read_text(with_texts(once, {KEYWORD: "other"}), KEYWORD) == "other"


def test_a_picture_without_a_recipe_never_gets_one_on_the_way() -> None:
    assert with_whole_recipe(PLAIN, WISH, READING) == PLAIN
    assert read_recipe(PLAIN) is None and not is_marked_synthetic(PLAIN)
    assert is_marked_synthetic(with_recipe(PLAIN, RECIPE))


@pytest.mark.parametrize("text", ["nonsense", "[]", "{}", '{"format": "emofeedback.recipe/9"}', "[" * 100_000])
def test_a_recipe_that_cannot_be_read_is_said_by_the_pictures_name(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"a\.png: carries a recipe that can't be read"):
        read_recipe(with_texts(PLAIN, {KEYWORD: text}), field="a.png")


@pytest.mark.parametrize("data", [b"", b"GIF89a", PLAIN[:20], PLAIN[:8] + b"\xff" * 40])
def test_what_is_no_png_carries_nothing(data: bytes) -> None:
    assert read_recipe(data) is None


def test_the_schema_is_the_one_in_the_docs_and_a_recipe_is_one() -> None:
    assert json.loads(SCHEMA.read_text()) == recipe_schema(), "run `make schemas`"
    whole = with_whole_recipe(with_recipe(PLAIN, RECIPE), WISH, READING)
    Draft202012Validator(recipe_schema()).validate(json.loads(read_text(whole, KEYWORD) or ""))
