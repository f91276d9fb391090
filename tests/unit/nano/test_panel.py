"""The panel of the nano world, run and looked at by a scripted generator, judge and independent judge."""

from dataclasses import dataclass, replace

import pytest

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import FailedPrecondition
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


class IndependentJudge:
    """Sees in every picture the point of its first pixel's red and green."""

    def look(self, images):
        return [Seen(1 + image.getpixel((0, 0))[0] / 32, 1 + image.getpixel((0, 0))[1] / 32) for image in images]


def scripted():
    return {"generator": ScriptedGenerator(steps=1), "judge": ScriptedJudge(), "profile": NANO_PROFILE}


# --- the pairs ---------------------------------------------------------------------------------------------------


def test_the_panel_covers_the_plane_and_the_world():
    targets = {(pair.target.valence, pair.target.arousal) for pair in PANEL}
    assert len(PANEL) == len(targets) == 24
    assert (5, 5) not in targets and {(2, 2), (2, 8), (8, 2), (8, 8)} <= targets
    assert {pair.subject for pair in PANEL} == set(SUBJECTS)
    assert {place for place in PLACES if any(place in pair.prompt for pair in PANEL)} == set(PLACES)


def test_its_prompts_are_neutral_and_name_their_subject():
    assert PANEL[0].prompt == "a girl in a meadow"
    assert all(pair.subject in pair.prompt for pair in PANEL)
    assert not any("sunny" in pair.prompt or "valence" in pair.prompt for pair in PANEL)


# --- running it --------------------------------------------------------------------------------------------------


async def test_every_pair_leaves_a_run_directory_of_three_rounds_of_eight(tmp_path):
    runs = await run_pairs(PAIRS, tmp_path, **scripted())
    assert [run.request.prompt for run in runs] == [pair.prompt for pair in PAIRS]
    assert len(runs[0].rounds) == ROUNDS
    assert len(list(run_directory(tmp_path, 1).glob("round-3/*.png"))) == IMAGES


async def test_what_is_finished_is_not_made_again(tmp_path):
    first = await run_pairs(PAIRS[:1], tmp_path, **scripted())
    again = scripted()
    both = await run_pairs(PAIRS, tmp_path, **again)
    assert both[0].rounds == tuple(replace(r, seconds=pytest.approx(r.seconds, abs=1e-3)) for r in first[0].rounds)
    assert {request.prompt for request in again["generator"].requests}.isdisjoint({PAIRS[0].prompt})


async def test_a_run_that_was_cut_goes_on_after_its_last_finished_round(tmp_path):
    broken = scripted()
    broken["generator"].failures = {(4, 0): RuntimeError("cut")}
    with pytest.raises(RuntimeError, match="cut"):
        await run_pairs(PAIRS[:1], tmp_path, **broken)
    again = scripted()
    [run] = await run_pairs(PAIRS[:1], tmp_path, **again)
    assert len(run.rounds) == ROUNDS
    assert PAIRS[0].prompt not in {request.prompt.split(", valence")[0] for request in again["generator"].requests}


async def test_runs_of_other_models_are_not_mixed(tmp_path):
    await run_pairs(PAIRS[:1], tmp_path, **scripted())

    class Other(ScriptedJudge):
        async def model(self):
            return replace(await super().model(), digest="sha256:" + "3" * 64)

    with pytest.raises(FailedPrecondition, match="333"):
        await run_pairs(PAIRS, tmp_path, **{**scripted(), "judge": Other()})


# --- its metrics -------------------------------------------------------------------------------------------------


def seen_run(target, first, choice, answer, subject="dog"):
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


def test_errors_are_taken_of_round_one_its_choice_and_the_answer():
    metrics = panel_metrics(RUNS)
    assert metrics.middle_error == 4
    assert metrics.first_mean_error == pytest.approx((4 + 2 + 2 + 4 + 4 + 3) / 6)
    assert metrics.first_choice_error == pytest.approx((4 + 2 + 3) / 3)
    assert metrics.first_nearest_error == pytest.approx((2 + 2 + 3) / 3)
    assert metrics.answer_error == pytest.approx((1 + 0 + 2) / 3)
    assert metrics.gain == pytest.approx(2)
    assert metrics.answer_subject_accuracy == pytest.approx(2 / 3)


def test_indifference_to_the_target_shows_as_no_correlation_and_no_slope():
    indifferent = [seen_run((v, v), [(5, 5)], 0, (5, a)) for v, a in ((2, 4), (5, 7), (8, 4))]
    metrics = panel_metrics(indifferent)
    assert metrics.arousal_slope == pytest.approx(0)
    assert metrics.arousal_correlation == pytest.approx(0)


def test_obedience_shows_as_both():
    obedient = [seen_run((v, v), [(5, 5)], 0, (v, v)) for v in (2, 5, 8)]
    metrics = panel_metrics(obedient)
    assert (metrics.valence_slope, metrics.valence_correlation) == (pytest.approx(1), pytest.approx(1))


def test_the_table_shows_all_three_errors():
    table = markdown(panel_metrics(RUNS))
    assert all(error in table for error in ("4.00", "3.17", "3.00", "1.00"))


async def test_the_independent_judge_looks_at_round_one_and_the_answer(tmp_path):
    [run] = await run_pairs(PAIRS[:1], tmp_path, **scripted())
    seen = witness(PAIRS[0], run, run_directory(tmp_path, 0), IndependentJudge())
    assert len(seen.first_round) == IMAGES
    assert seen.first_choice == seen.first_round[run.rounds[0].best]
    assert len({reading.valence for reading in seen.first_round}) > 1


async def test_the_contact_sheet_has_a_pair_for_each_run(tmp_path):
    runs = await run_pairs(PAIRS, tmp_path, **scripted())
    sheet = contact_sheet(PAIRS, runs, [run_directory(tmp_path, number) for number in range(2)])
    assert sheet.size == (2 * 268, 150)
