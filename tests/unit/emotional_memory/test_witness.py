"""Who confirms labels: how a witness is named, and what it must show before it is believed."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from PIL import Image

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.generation import ModelInfo
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.emotional_memory.witness import load_witness, trust


class ByBrightness:
    """Reads red as valence and green as arousal, with an error on the first."""

    def __init__(self, error: float = 0.0) -> None:
        self._error = error

    def look(self, images: Sequence[Image.Image]) -> Sequence[AffectPoint]:
        pixels = [image.getpixel((0, 0)) for image in images]
        return [
            AffectPoint(1 + pixel[0] / 30 + self._error, 1 + pixel[1] / 30)  # type: ignore[index]
            for pixel in pixels
        ]

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(name="brightness", digest="sha256:0", policy="")


def samples(count: int, *, told: bool = True) -> list[Sample]:
    """Pictures of one color, whose labels are what `ByBrightness` reads; or whose valence has nothing to do with it."""
    made = []
    for number in range(count):
        red, green = number * 37 % 200, number * 53 % 200
        Image.new("RGB", (4, 4), (red, green, 0)).save(file := io.BytesIO(), "PNG")
        valence = 1 + (red if told else number * 91 % 200) / 30
        made.append(
            Sample(
                id=str(number),
                source="colors",
                license="ours",
                image=file.getvalue(),
                valence=valence,
                arousal=1 + green / 30,
            )
        )
    return made


def test_a_witness_that_reads_the_labels_is_trusted_with_its_error_known() -> None:
    found = trust(ByBrightness(error=0.5), samples(60))
    assert found.pictures == 60
    assert (found.valence_r, found.arousal_r) == pytest.approx((1.0, 1.0))
    assert found.variance == pytest.approx(0.5**2 / 2)


def test_a_witness_that_does_not_follow_the_labels_confirms_nothing() -> None:
    with pytest.raises(FailedPrecondition, match=r"r -?0\.\d\d \(valence\).*nothing is taken on its word"):
        trust(ByBrightness(), samples(60, told=False))


def test_too_few_pictures_show_nothing() -> None:
    with pytest.raises(FailedPrecondition, match=r"29 labelled held-out pictures .* it needs 30"):
        trust(ByBrightness(), samples(29))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("somebody", "'somebody' is neither 'nano' nor module:function"),
        ("no.such.module:load", "can't be imported"),
        ("emofeedback.domain.limits:LIMITS", "is no function but a Limits"),
    ],
)
def test_a_witness_that_cannot_be_had_is_named(source: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=f"witness: .*{said}"):
        load_witness(source)
