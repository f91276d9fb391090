"""Dominance as a third target: it counts in the loss, and so in the answer and the end, and in no word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.assessment import AssessmentOutcome
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.optimization import (
    Candidate,
    ImageJudged,
    ImagePainted,
    LossComputed,
    LossRequest,
    OptimizationEvent,
    Resume,
    StopReason,
)
from emofeedback.domain.validation import check_loss_request, check_optimization_request
from emofeedback.optimizer.loss import compute_losses, loss, stop_reason, with_likely_losses
from emofeedback.optimizer.memory import Observation, WordEffects
from support.fakes import UNREADABLE, Picture, ScriptedJudge, assessment
from support.scripted_loop import (
    REQUEST,
    SETTINGS,
    TARGET,
    answer_of,
    collect,
    finished,
    finished_rounds,
    of,
    question,
    run,
)

ASKED = replace(REQUEST, dominance=7.0)


def felt(valence: float, dominance: float | None) -> AssessmentOutcome:
    return replace(assessment(valence, TARGET.arousal), dominance=dominance)


SEEN = Candidate(index=0, seed=10, outcome=felt(6.0, 5.0), loss=None, alignment=0.6, on_subject=True)


def by_image(*outcomes: AssessmentOutcome) -> ScriptedJudge:
    """A judge that says the same of image i in every round."""
    return ScriptedJudge(feeling=lambda picture: outcomes[picture.seed - REQUEST.seed])


def test_dominance_adds_its_error_where_it_is_asked_for_alone() -> None:
    assert loss(felt(6.0, 4.5), TARGET, 7.0) == 1.0 + 2.5
    assert loss(felt(6.0, 4.5), TARGET) == loss(felt(6.0, None), TARGET) == 1.0
    assert loss(felt(6.0, None), TARGET, 7.0) is None and loss(UNREADABLE, TARGET, 7.0) is None


async def test_the_answer_is_the_nearest_in_all_three() -> None:
    judge = by_image(felt(7.0, 3.0), felt(6.0, 7.5), felt(6.5, None), felt(2.0, 7.0))
    events = await run(ASKED, judge=judge)
    assert (answer_of(events).index, answer_of(events).loss) == (1, 1.5)
    # One reply without dominance costs that picture, as one that can't be read does.
    assert {c.loss for r in finished_rounds(events) for c in r.candidates if c.index == 2} == {None}
    assert [e.candidate.loss for e in of(ImageJudged, events) if e.candidate.index == 0] == [4.0] * 3
    assert answer_of(await run(judge=judge)).index == 0


async def test_the_agent_is_told_of_valence_and_arousal_alone() -> None:
    judge = by_image(felt(7.0, 6.0), felt(6.0, 7.5), felt(6.5, 2.0), felt(2.0, 7.0))
    await run(ASKED, judge=judge)
    assert judge.conversations and not any("ominance" in question(asked) for asked in judge.conversations)


async def test_a_judge_that_says_no_dominance_ends_the_run_before_anything_is_compared() -> None:
    events: list[OptimizationEvent] = []
    with pytest.raises(FailedPrecondition, match="dominance 7 is asked for, and the judge says it of no picture"):
        await collect(events, ASKED, judge=ScriptedJudge(feeling=lambda picture: felt(6.0, None)))
    assert len(of(ImagePainted, events)) == ASKED.images and not of(LossComputed, events)


async def test_a_judge_that_reads_nothing_is_not_taken_for_one_without_dominance() -> None:
    events = await run(ASKED, judge=ScriptedJudge(feeling=lambda picture: UNREADABLE))
    assert finished(events).answer is None


async def test_a_run_stops_on_the_error_in_all_three() -> None:
    def nearer(picture: Picture) -> AssessmentOutcome:
        return felt(7.0, 4.0 if picture.prompt == "a boat" else 6.75)

    events = await run(replace(ASKED, tolerance=0.5), judge=ScriptedJudge(feeling=nearer))
    assert finished(events).stopped_because is StopReason.TOLERANCE and answer_of(events).round == 1


async def test_a_cut_run_goes_on_with_the_losses_it_had() -> None:
    judge = by_image(felt(7.0, 3.0), felt(6.0, 7.5), felt(6.5, 2.0), felt(2.0, 7.0))
    whole = await run(ASKED, judge=judge)
    first, answer = finished_rounds(whole)[0], of(LossComputed, whole)[0].best
    assert answer is not None
    best = next(e.image.data for e in of(ImagePainted, whole) if e.image.index == answer.index)
    resumed = replace(ASKED, resume=Resume(rounds=(first,), best_image=best))
    assert answer_of(await run(resumed, judge=judge)) == answer_of(whole)


def test_a_run_whose_pictures_could_not_be_read_gains_with_the_first_that_can() -> None:
    unread, read = ([replace(SEEN, loss=one)] for one in (None, 17.0))
    assert stop_reason(ASKED, replace(SETTINGS, plateau_rounds=1, plateau_gain=0.1), [unread, read], 0) is None


def test_what_words_do_says_nothing_of_dominance() -> None:
    effects = WordEffects.fitted([Observation(prompt="a boat, fog", point=AffectPoint(3.0, 3.0))] * 8)
    [kept] = with_likely_losses([replace(SEEN, prompt="a boat, fog")], ASKED, effects)
    [alone] = with_likely_losses([replace(SEEN, prompt="a boat, fog")], REQUEST, effects)
    assert kept.likely_loss is not None and alone.likely_loss is not None
    assert kept.likely_loss == pytest.approx(alone.likely_loss + 2.0)


def test_the_first_step_on_its_own_counts_dominance_and_asks_for_it() -> None:
    seen = assessment(7.0, 3.0)
    near, far = (replace(seen, dominance=one) for one in (6.0, 2.0))
    request = LossRequest(target=TARGET, dominance=7.0, assessments=(near, far))
    check_loss_request(request)
    assert compute_losses(request).losses == (1.0, 5.0)
    with pytest.raises(InvalidRequest, match=r"assessments\[1\]\.dominance: is missing, though dominance is asked for"):
        check_loss_request(replace(request, assessments=(near, seen)))


@pytest.mark.parametrize("dominance", [0.5, 9.5, float("nan")])
def test_dominance_lies_on_the_scale(dominance: float) -> None:
    with pytest.raises(InvalidRequest, match=r"dominance: is .*, it must lie in \[1, 9\]"):
        check_optimization_request(replace(REQUEST, dominance=dominance))
    check_optimization_request(replace(ASKED, tolerance=24.0))
    with pytest.raises(InvalidRequest, match=r"tolerance: is 24, it must lie in \[0, 16\]"):
        check_optimization_request(replace(REQUEST, tolerance=24.0))
