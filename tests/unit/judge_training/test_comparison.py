"""The table that says what each part of the judge's training is worth."""

from collections.abc import Sequence

import pytest

from emofeedback.domain.affect import Emotion
from emofeedback.domain.assessment import Assessment
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.evaluation.provenance import Data, Model, Provenance
from emofeedback_trainer.judge.comparison import VARIANTS, WAYS, Measured, Variant, with_their_starts
from emofeedback_trainer.judge.comparison_table import Row, rows, to_json, to_markdown

TEST = [
    Sample(id=str(n), source="made up", license="", valence=5.0, arousal=4.0 + n % 2, emotion=Emotion.AWE)
    for n in range(20)
]
START = Variant(name="sft", what="fine-tuned", start="base")
TRAINED = Variant(name="joint", what="rewarded", start="sft", rewards={})
PROVENANCE = Provenance(
    command="emofeedback-train judge-compare",
    seed=0,
    models=(Model(role="sft", name="runs/sft/judge", digest="sha256:" + "0" * 64),),
    data=(Data(name="runs/scenes", digest="sha256:" + "1" * 64, n=20),),
)


def said(valence: float, arousal: float, emotion: Emotion = Emotion.AWE) -> Assessment:
    return Assessment(valence=valence, arousal=arousal, emotion=emotion, confidence=1.0)


def measured(variant: Variant, outcomes: Sequence[Assessment | None]) -> Measured:
    model = Model(role=variant.name, name=variant.name, digest="")
    return Measured(variant=variant, model=model, outcomes={way: list(outcomes) for way in WAYS})


def table() -> list[Row]:
    """The start is 1 off in valence and half off in arousal; the trained one half as far, with one reply unreadable."""
    start = measured(START, [said(6.0, 4.5, Emotion.FEAR)] * 20)
    trained = measured(TRAINED, [None, *[said(5.5, (s.arousal or 0) + 0.25) for s in TEST[1:]]])
    return rows([start, trained], TEST, seed=0)


def test_errors_are_means_over_the_readable_replies() -> None:
    start, trained = (row for row in table() if row.way == "written")
    assert start.errors["valence"].value == pytest.approx(1.0)
    assert start.errors["arousal"].value == pytest.approx(0.5)
    assert (start.accuracy.value, trained.accuracy.value) == (0.0, 1.0)
    assert (start.readable, trained.readable) == (1.0, 0.95)
    assert trained.errors["valence"].n == 19


def test_a_variant_is_held_against_its_start_on_the_pictures_that_both_can_rate() -> None:
    start, trained = (row for row in table() if row.way == "read")
    assert start.lower == {}
    assert trained.lower["valence"].value == pytest.approx(0.5)
    assert trained.lower["arousal"].value == pytest.approx(0.5)
    assert trained.lower["valence"].n == 19


def test_the_table_says_where_it_comes_from() -> None:
    text = to_markdown(table(), PROVENANCE)
    assert "| rewarded | 0.500 [0.500, 0.500] | 0.250 [0.250, 0.250] | V 0.50 [0.50, 0.50], A 0.50 [0.50, 0.50]" in text
    assert "emofeedback-train judge-compare" in text
    assert "sha256:000000000000" in text
    content = to_json(table(), PROVENANCE)
    assert [row["name"] for row in content["rows"] if row["way"] == "short"] == ["sft", "joint"]
    assert content["provenance"]["data"][0]["n"] == 20


def test_a_judge_that_says_nothing_readable_has_no_row() -> None:
    assert rows([measured(START, [None] * 20)], TEST, seed=0) == []


def test_a_variant_brings_those_that_it_begins_with() -> None:
    assert [variant.name for variant in with_their_starts(["small-joint"], VARIANTS)] == ["small-sft", "small-joint"]
    assert [variant.name for variant in with_their_starts(["continuous"], VARIANTS)] == ["sft", "continuous"]


def test_every_variant_comes_after_its_start() -> None:
    seen = {"base", "small"}
    for variant in VARIANTS:
        assert variant.start in seen
        seen.add(variant.name)
