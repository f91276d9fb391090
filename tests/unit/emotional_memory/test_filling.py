"""Filling an emotional memory, and who has a say in it."""

from pathlib import Path

import pytest

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest, Unavailable
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback_trainer.data.storage import read_split
from emofeedback_trainer.emotional_memory.filling import Filling, fill
from emofeedback_trainer.emotional_memory.store import Memory, read_memory
from emofeedback_trainer.emotional_memory.witness import label_deviation
from support.colored_world import ColorGenerator, ColorWitness, color_judge, data_folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_folder(tmp_path_factory.mktemp("colors"), train=80, val=40)


async def _fill(
    uri: Path, data: Path, generator: ColorGenerator, *, twins: int = 80, witness: ColorWitness | None = None
) -> Memory:
    filling = Filling(data=data, policies=(BASE_POLICY,), twins=twins, held_out=40)
    return await fill(
        str(uri),
        filling,
        NANO_PROFILE,
        generator=generator,
        judge=color_judge(),
        witness=witness or ColorWitness(),
        show=lambda part, done, wanted: None,
    )


async def test_it_keeps_the_twins_that_the_witness_confirms_under_their_samples_labels(
    tmp_path: Path, data: Path
) -> None:
    memory = await _fill(tmp_path, data, ColorGenerator())
    samples = {sample.id: sample for sample in read_split(data, "train")}
    kept = memory.of("train")
    assert 30 < len(kept) <= 60
    assert all("badly" not in entry.prompt for entry in kept)
    assert memory.refused["witness"] >= 15
    for entry in kept:
        sample = samples[entry.source_id]
        assert (entry.label.valence, entry.label.arousal) == (sample.valence, sample.arousal)
        assert entry.judged == AffectPoint(5.0, 5.0)
        assert entry.label_sd >= 0.5
    assert sorted(sample.id for sample in read_split(tmp_path, "train")) == sorted(entry.sha256 for entry in kept)


async def test_what_is_measured_on_is_kept_whatever_it_looks_like_and_never_learned_from(
    tmp_path: Path, data: Path
) -> None:
    memory = await _fill(tmp_path, data, ColorGenerator())
    assert len(memory.of("val")) == 40
    assert {entry.source_id.partition("-")[0] for entry in memory.of("train")} == {"train"}


async def test_a_filling_that_was_cut_goes_on_and_comes_to_the_same(tmp_path: Path, data: Path) -> None:
    whole = await _fill(tmp_path / "whole", data, ColorGenerator())
    with pytest.raises(Unavailable):
        await _fill(tmp_path / "cut", data, ColorGenerator(fails_from=75))
    assert read_memory(str(tmp_path / "cut")).of("train")
    second = ColorGenerator()
    assert (await _fill(tmp_path / "cut", data, second)).entries == whole.entries
    assert len(second.requests) == 80 + 40 - 72
    third = ColorGenerator()
    await _fill(tmp_path / "cut", data, third)
    assert third.requests == []


async def test_a_witness_that_cannot_read_real_pictures_confirms_nothing(tmp_path: Path, data: Path) -> None:
    with pytest.raises(FailedPrecondition, match=r"r 0\.00 \(valence\).*nothing is taken on its word"):
        await _fill(tmp_path, data, ColorGenerator(), witness=ColorWitness(blind=True))


@pytest.mark.parametrize(
    ("field", "changes"),
    [("policy", {"policies": ()}), ("twins", {"twins": -1}), ("label_sd", {"label_sd": 0.0})],
)
def test_a_filling_out_of_range_is_refused_by_its_field(field: str, changes: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest, match=f"^{field}: "):
        Filling(**{"data": Path(), "policies": ("base",), **changes})  # type: ignore[arg-type]


def test_a_labels_deviation_is_its_own_and_the_paintings_without_the_witness_s() -> None:
    labels = [AffectPoint(5.0, 5.0)] * 2
    witnessed = [AffectPoint(6.0, 5.0), AffectPoint(5.0, 4.0)]
    assert label_deviation(labels, witnessed, own=0.3, witness_variance=0.34) == pytest.approx((0.09 + 0.16) ** 0.5)
    assert label_deviation(labels, witnessed, own=0.3, witness_variance=0.9) == pytest.approx(0.3)
