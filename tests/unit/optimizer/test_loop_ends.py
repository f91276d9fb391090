"""The loop, with a scripted generator and judge: when it stops, what breaks it, how a cut run goes on."""

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from emofeedback.domain.errors import NotFound, Unavailable
from emofeedback.domain.optimization import (
    Answer,
    ImagePainted,
    LossComputed,
    PromptUpdated,
    Resume,
    RoundStarted,
    StopReason,
)
from emofeedback.optimizer.loop import optimize
from support.fakes import UNREADABLE, ScriptedGenerator, ScriptedJudge, assessment
from support.scripted_loop import REQUEST, SETTINGS, collect, errors_by_round, finished_rounds, of, run, without_time

# --- stopping ----------------------------------------------------------------------------------------------------


async def test_it_stops_when_the_tolerance_is_reached_and_asks_for_no_rewrite_then():
    judge = errors_by_round([3, 2, 3, 3], [1, 1, 0.4, 1], [0, 0, 0, 0])
    events = await run(replace(REQUEST, tolerance=0.5), judge=judge)
    assert events[-1].stopped_because is StopReason.TOLERANCE
    assert events[-1].answer == Answer(round=1, index=2, loss=pytest.approx(0.4))
    assert len(of(PromptUpdated, events)) == 1


async def test_it_stops_on_a_plateau():
    judge = errors_by_round(*[[3, 2, 3, 3]] * 5)
    events = await run(replace(REQUEST, rounds=5), judge=judge)
    assert events[-1].stopped_because is StopReason.PLATEAU
    assert len(finished_rounds(events)) == 3


async def test_after_the_time_budget_no_new_round_starts_but_the_running_one_is_finished():
    events = await run(replace(REQUEST, time_budget=0.01), ScriptedGenerator(delay=0.005))
    [only] = finished_rounds(events)
    assert len(only.candidates) == 4
    assert events[-1].stopped_because is StopReason.TIME_BUDGET
    assert events[-1].answer is not None


async def test_all_rounds_done_is_a_reason_too():
    assert (await run())[-1].stopped_because is StopReason.ROUNDS


# --- when something goes wrong -----------------------------------------------------------------------------------


async def test_an_image_that_the_judge_cannot_read_costs_that_candidate_only():
    events = await run(judge=errors_by_round([3, None, 2, 4], [1, 1, 1, None], [2, 2, 2, 2]))
    first, second, _ = finished_rounds(events)
    assert first.candidates[1].outcome == UNREADABLE and first.candidates[1].loss is None
    assert of(LossComputed, events)[0].losses == (3, None, 2, 4)
    assert (second.best, second.worst) == (0, 0)
    assert events[-1].answer == Answer(round=1, index=0, loss=1)


async def test_a_round_that_the_judge_cannot_read_keeps_the_prompt_and_paints_on():
    generator = ScriptedGenerator()
    judge = ScriptedJudge(feeling=lambda picture: UNREADABLE if picture.seed < 14 else assessment(7, 3))
    events = await run(replace(REQUEST, rounds=2), generator, judge)
    first, second = finished_rounds(events)
    assert (first.best, first.worst, first.optimized_prompt) == (None, None, "a boat")
    assert of(LossComputed, events)[0].best is None
    assert of(PromptUpdated, events)[0].fell_back
    assert second.best == 0 and events[-1].answer == Answer(round=1, index=0, loss=0)


async def test_a_run_in_which_nothing_could_be_judged_ends_without_an_answer_but_with_its_images():
    events = await run(judge=ScriptedJudge(feeling=lambda picture: UNREADABLE))
    assert events[-1].answer is None
    assert len(of(ImagePainted, events)) == 12


@pytest.mark.parametrize("failure", [Unavailable("the generator restarts"), NotFound("no such policy")])
async def test_a_failure_of_the_generator_comes_through_after_what_was_done_before_it(failure):
    generator = ScriptedGenerator(failures={(1, 2): failure})
    events = []
    with pytest.raises(type(failure), match=str(failure)):
        await collect(events, generator=generator)
    assert len(finished_rounds(events)) == 1
    assert [event.image.index for event in of(ImagePainted, events) if event.round == 1] == [0, 1]


@pytest.mark.parametrize("method", ["assess_stream", "score", "assess", "converse", "compare_texts"])
async def test_a_failure_of_the_judge_comes_through_as_it_is_and_stops_the_painting(method):
    judge = ScriptedJudge(failures={method: Unavailable("the judge restarts")})
    generator = ScriptedGenerator(delay=0.005)
    events = []
    with pytest.raises(Unavailable, match="the judge restarts"):
        await collect(events, generator=generator, judge=judge)
    assert of(ImagePainted, events)
    steps = generator.steps_done
    await asyncio.sleep(0.03)
    assert generator.steps_done == steps


async def test_closing_stops_painting_and_judging_at_once():
    generator, judge = ScriptedGenerator(delay=0.005), ScriptedJudge(delay=60)
    async with aclosing(optimize(REQUEST, generator=generator, judge=judge, settings=SETTINGS)) as events:
        async for event in events:
            if isinstance(event, ImagePainted):
                await asyncio.sleep(0.02)
                break
    steps = generator.steps_done
    await asyncio.sleep(0.03)
    assert generator.steps_done == steps
    assert generator.closed_early == 1
    assert judge.cancelled >= 2  # the assessment, and the alignment of every image that was there


async def test_cancelling_the_caller_stops_the_gradient():
    class Slow(ScriptedJudge):
        async def assess(self, images, *, reasoning=False, user=""):
            self.delay = 60
            return await super().assess(images, reasoning=reasoning, user=user)

    judge = Slow()
    task = asyncio.create_task(run(judge=judge, settings=replace(SETTINGS, rewrites=2)))
    while "converse" not in judge.calls:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert judge.cancelled == 2  # the conversation of each rewrite


# --- resuming ----------------------------------------------------------------------------------------------------


def cut_after(count, events):
    """The resume record of a run that was cut in the round after `count` finished ones."""
    rounds = tuple(finished_rounds(events)[:count])
    answer = of(LossComputed, events)[count - 1].best
    images = {(e.round, e.image.index): e.image.data for e in of(ImagePainted, events)}
    return Resume(rounds=rounds, best_image=images[answer.round, answer.index] if answer else b"")


@pytest.mark.parametrize("done", [1, 2])
@pytest.mark.parametrize(
    "judge",
    [
        lambda: ScriptedJudge(),
        lambda: errors_by_round([3, 0.5, 2, 4], [1, 2, 3, 4], [1, 0.2, 1, 1], lost={(2, 1)}),
        lambda: ScriptedJudge(similarity=lambda text, candidate: 0.0),
        lambda: ScriptedJudge(feeling=lambda picture: UNREADABLE),
    ],
)
async def test_a_cut_run_goes_on_as_if_it_had_not_been_cut(judge, done):
    # Rewrites must depend on nothing but what they are asked, as those of a real judge with a fixed seed.
    def scripted():
        fresh = judge()
        fresh._reply = lambda conversation, decoding: (
            "Add light."
            if isinstance(conversation[0].parts[0], bytes)
            else f"<prompt>a boat, {1 + _round_of(conversation) + decoding.seed}</prompt>"
        )
        return fresh

    whole = await run(judge=scripted())
    resumed = await run(replace(REQUEST, resume=cut_after(done, whole)), judge=scripted())
    start = whole.index(RoundStarted(round=done, prompt=resumed[0].prompt))
    assert [without_time(event) for event in resumed] == [without_time(event) for event in whole[start:]]


def _round_of(conversation):
    current = conversation[0].parts[0].split("Current prompt: ")[1].split("\n")[0]
    return int(current.split(", ")[1]) if ", " in current else 0


async def test_a_finished_run_resumed_ends_at_once_with_the_same_answer():
    whole = await run()
    generator = ScriptedGenerator()
    resumed = await run(replace(REQUEST, resume=cut_after(3, whole)), generator)
    assert [without_time(event) for event in resumed] == [without_time(whole[-1])]
    assert not generator.requests


async def test_a_finished_run_resumed_with_more_rounds_goes_on_with_the_next_seeds():
    whole = await run(replace(REQUEST, rounds=1))
    generator = ScriptedGenerator()
    await run(replace(REQUEST, rounds=2, resume=cut_after(1, whole)), generator)
    assert [(r.prompt, r.seeds) for r in generator.requests] == [("a boat", (14, 15, 16, 17))]


async def test_losses_of_the_rounds_before_the_cut_are_taken_from_what_the_judge_saw():
    whole = await run(replace(REQUEST, rounds=1), judge=errors_by_round([3, 2, 1, None]))
    cut = cut_after(1, whole)
    wrong = tuple(replace(candidate, loss=0.0) for candidate in cut.rounds[0].candidates)
    resume = replace(cut, rounds=(replace(cut.rounds[0], candidates=wrong),))
    events = await run(replace(REQUEST, rounds=1, resume=resume))
    assert events[-1].answer == Answer(round=0, index=2, loss=1)


async def test_the_time_of_the_rounds_before_the_cut_counts_against_the_budget():
    whole = await run(replace(REQUEST, rounds=2))
    cut = cut_after(1, whole)
    slow = replace(cut, rounds=(replace(cut.rounds[0], seconds=30.0),))
    events = await run(replace(REQUEST, time_budget=20.0, resume=slow))
    assert events[-1].stopped_because is StopReason.TIME_BUDGET
    assert events[-1].seconds >= 30
