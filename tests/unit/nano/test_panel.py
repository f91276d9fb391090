"""The panel of the nano world, run and looked at by a scripted generator, judge and independent judge."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.generation import ModelInfo
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback_trainer.evaluation.runs import IMAGES, ROUNDS, Witness, run_directory, run_pairs, witness
from emofeedback_trainer.nano.measure.panel import PANEL, contact_sheet, markdown, panel_metrics
from emofeedback_trainer.nano.world.scenes import PLACES, SUBJECTS
from support.fakes import ScriptedGenerator, ScriptedJudge

PAIRS = PANEL[:2]


@dataclass(frozen=True)
class Seen:
    valence: float
    arousal: float
    subject: str = "dog"


class FirstPixel:
    """Sees in every picture the point of its first pixel's red and green."""

    info = ModelInfo(name="first-pixel", digest="")

    def look(self, images: Sequence[Image.Image]) -> list[Seen]:
        pixels = [image.convert("RGB").tobytes()[:2] for image in images]
        return [Seen(1 + red / 32, 1 + green / 32) for red, green in pixels]


PROFILE = replace(NANO_PROFILE, optimizer=replace(NANO_PROFILE.optimizer, vocabulary="", imagine=False))
"""The nano profile, whose agent may write any words and whose generator was fused with no judge."""


def scripted() -> dict[str, Any]:
    return {"generator": ScriptedGenerator(steps=1), "judge": ScriptedJudge(), "profile": PROFILE}


# --- the pairs ---------------------------------------------------------------------------------------------------


def test_the_panel_covers_the_plane_and_the_world() -> None:
    targets = {(pair.target.valence, pair.target.arousal) for pair in PANEL}
    assert len(PANEL) == len(targets) == 24
    assert (5, 5) not in targets and {(2, 2), (2, 8), (8, 2), (8, 8)} <= targets
    assert {pair.subject for pair in PANEL} == set(SUBJECTS)
    assert {place for place in PLACES if any(place in pair.prompt for pair in PANEL)} == set(PLACES)


def test_its_prompts_are_neutral_and_name_their_subject() -> None:
    assert PANEL[0].prompt == "a girl in a meadow"
    assert all(pair.subject in pair.prompt for pair in PANEL)
    assert not any("sunny" in pair.prompt or "valence" in pair.prompt for pair in PANEL)


# --- running it --------------------------------------------------------------------------------------------------


async def test_every_pair_leaves_a_run_directory_of_three_rounds_of_eight(tmp_path: Path) -> None:
    runs = await run_pairs(PAIRS, tmp_path, **scripted())
    assert [run.request.prompt for run in runs] == [pair.prompt for pair in PAIRS]
    assert len(runs[0].rounds) == ROUNDS
    assert len(list(run_directory(tmp_path, 1).glob("round-3/*.png"))) == IMAGES


async def test_what_is_finished_is_not_made_again(tmp_path: Path) -> None:
    first = await run_pairs(PAIRS[:1], tmp_path, **scripted())
    again = scripted()
    both = await run_pairs(PAIRS, tmp_path, **again)
    assert [replace(r, seconds=0) for r in both[0].rounds] == [replace(r, seconds=0) for r in first[0].rounds]
    assert [r.seconds for r in both[0].rounds] == pytest.approx([r.seconds for r in first[0].rounds], abs=1e-3)
    assert {request.prompt for request in again["generator"].requests}.isdisjoint({PAIRS[0].prompt})


async def test_a_run_that_was_cut_goes_on_after_its_last_finished_round(tmp_path: Path) -> None:
    broken = scripted()
    broken["generator"].failures = {(4, 0): RuntimeError("cut")}
    with pytest.raises(RuntimeError, match="cut"):
        await run_pairs(PAIRS[:1], tmp_path, **broken)
    again = scripted()
    [run] = await run_pairs(PAIRS[:1], tmp_path, **again)
    assert len(run.rounds) == ROUNDS
    assert PAIRS[0].prompt not in {request.prompt.split(", valence")[0] for request in again["generator"].requests}


async def test_runs_of_other_models_are_not_mixed(tmp_path: Path) -> None:
    await run_pairs(PAIRS[:1], tmp_path, **scripted())

    class Other(ScriptedJudge):
        async def model(self) -> ModelInfo:
            return replace(await super().model(), digest="sha256:" + "3" * 64)

    with pytest.raises(FailedPrecondition, match="333"):
        await run_pairs(PAIRS, tmp_path, **{**scripted(), "judge": Other()})


# --- its metrics -------------------------------------------------------------------------------------------------


Point = tuple[float, float]


def seen_run(target: Point, first: list[Point], choice: int, answer: Point, subject: str = "dog") -> Witness:
    return Witness(
        target=AffectPoint(*target),
        subject="dog",
        first_round=tuple(Seen(*point) for point in first),
        first_choice=Seen(*first[choice]),
        answer=Seen(*answer, subject),
        seconds=2.0,
    )


RUNS = (
    seen_run((7, 7), [(5, 5), (6, 6)], 0, (7, 6)),
    seen_run((3, 3), [(3, 5), (5, 5)], 0, (3, 3)),
    seen_run((3, 7), [(5, 5), (4, 5)], 1, (5, 7), subject="cat"),
)


def test_errors_are_taken_of_round_one_its_choice_and_the_answer() -> None:
    metrics = panel_metrics(RUNS)
    assert metrics.middle_error == 4
    assert metrics.first_mean_error == pytest.approx((4 + 2 + 2 + 4 + 4 + 3) / 6)
    assert metrics.first_choice_error == pytest.approx((4 + 2 + 3) / 3)
    assert metrics.first_nearest_error == pytest.approx((2 + 2 + 3) / 3)
    assert metrics.answer_error == pytest.approx((1 + 0 + 2) / 3)
    assert metrics.gain == pytest.approx(2)
    assert metrics.answer_subject_accuracy == pytest.approx(2 / 3)


def test_indifference_to_the_target_shows_as_no_correlation_and_no_slope() -> None:
    indifferent = [seen_run((v, v), [(5, 5)], 0, (5, a)) for v, a in ((2, 4), (5, 7), (8, 4))]
    metrics = panel_metrics(indifferent)
    assert metrics.arousal_slope == pytest.approx(0)
    assert metrics.arousal_correlation == pytest.approx(0)


def test_obedience_shows_as_both() -> None:
    obedient = [seen_run((v, v), [(5, 5)], 0, (v, v)) for v in (2, 5, 8)]
    metrics = panel_metrics(obedient)
    assert metrics.valence_slope == pytest.approx(1)
    assert metrics.valence_correlation == pytest.approx(1)


def test_the_table_shows_all_three_errors() -> None:
    table = markdown(panel_metrics(RUNS))
    assert all(error in table for error in ("4.00", "3.17", "3.00", "1.00"))


async def test_the_independent_judge_looks_at_round_one_and_the_answer(tmp_path: Path) -> None:
    [run] = await run_pairs(PAIRS[:1], tmp_path, **scripted())
    seen = witness(PAIRS[0], run, run_directory(tmp_path, 0), FirstPixel())
    assert seen is not None and len(seen.first_round) == IMAGES
    best = run.rounds[0].best
    assert best is not None and seen.first_choice == seen.first_round[best]
    assert len({reading.valence for reading in seen.first_round}) > 1


async def test_the_contact_sheet_has_a_pair_for_each_run(tmp_path: Path) -> None:
    runs = await run_pairs(PAIRS, tmp_path, **scripted())
    sheet = contact_sheet(PAIRS, runs, [run_directory(tmp_path, number) for number in range(2)])
    assert sheet.size == (2 * 268, 150)
