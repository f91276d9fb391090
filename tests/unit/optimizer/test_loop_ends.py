"""The loop, with a scripted generator and judge: when it stops, what breaks it, how a cut run goes on."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

import pytest

from emofeedback.domain.assessment import AssessmentOutcome, Conversation, Decoding
from emofeedback.domain.errors import NotFound, Unavailable
from emofeedback.domain.optimization import (
    Answer,
    ImagePainted,
    LossComputed,
    OptimizationEvent,
    PromptUpdated,
    Resume,
    RoundStarted,
    StopReason,
)
from emofeedback.domain.reasoning import Reasoning
from emofeedback.optimizer.loop import optimize
from support.fakes import UNREADABLE, ScriptedGenerator, ScriptedJudge, assessment
from support.scripted_loop import (
    REQUEST,
    SETTINGS,
    answer_of,
    collect,
    errors_by_round,
    finished,
    finished_rounds,
    of,
    question,
    run,
    without_time,
)

# --- stopping ----------------------------------------------------------------------------------------------------


async def test_it_stops_when_the_tolerance_is_reached_and_asks_for_no_rewrite_then() -> None:
    judge = errors_by_round([3, 2, 3, 3], [1, 1, 0.4, 1], [0, 0, 0, 0])
    events = await run(replace(REQUEST, tolerance=0.5), judge=judge)
    assert finished(events).stopped_because is StopReason.TOLERANCE
    answer = answer_of(events)
    assert (answer.round, answer.index) == (1, 2)
    assert answer.loss == pytest.approx(0.4)
    assert len(of(PromptUpdated, events)) == 1


async def test_it_stops_on_a_plateau() -> None:
    judge = errors_by_round(*[[3, 2, 3, 3]] * 5)
    events = await run(replace(REQUEST, rounds=5), judge=judge)
    assert finished(events).stopped_because is StopReason.PLATEAU
    assert len(finished_rounds(events)) == 3


async def test_after_the_time_budget_no_new_round_starts_but_the_running_one_is_finished() -> None:
    events = await run(replace(REQUEST, time_budget=0.01), ScriptedGenerator(delay=0.005))
    [only] = finished_rounds(events)
    assert len(only.candidates) == 4
    assert finished(events).stopped_because is StopReason.TIME_BUDGET
    assert finished(events).answer is not None


async def test_all_rounds_done_is_a_reason_too() -> None:
    assert finished(await run()).stopped_because is StopReason.ROUNDS


# --- when something goes wrong -----------------------------------------------------------------------------------


async def test_an_image_that_the_judge_cannot_read_costs_that_candidate_only() -> None:
    events = await run(judge=errors_by_round([3, None, 2, 4], [1, 1, 1, None], [2, 2, 2, 2]))
    first, second, _ = finished_rounds(events)
    assert first.candidates[1].outcome == UNREADABLE and first.candidates[1].loss is None
    assert of(LossComputed, events)[0].losses == (3, None, 2, 4)
    assert (second.best, second.worst) == (0, 0)
    assert finished(events).answer == Answer(round=1, index=0, loss=1)


async def test_a_round_that_the_judge_cannot_read_keeps_the_prompt_and_paints_on() -> None:
    generator = ScriptedGenerator()
    judge = ScriptedJudge(feeling=lambda picture: UNREADABLE if picture.seed < 14 else assessment(7, 3))
    events = await run(replace(REQUEST, rounds=2), generator, judge)
    first, second = finished_rounds(events)
    assert (first.best, first.worst, first.optimized_prompt) == (None, None, "a boat")
    assert of(LossComputed, events)[0].best is None
    assert of(PromptUpdated, events)[0].fell_back
    assert second.best == 0 and finished(events).answer == Answer(round=1, index=0, loss=0)


async def test_a_run_in_which_nothing_could_be_judged_ends_without_an_answer_but_with_its_images() -> None:
    events = await run(judge=ScriptedJudge(feeling=lambda picture: UNREADABLE))
    assert finished(events).answer is None
    assert len(of(ImagePainted, events)) == 12


@pytest.mark.parametrize("failure", [Unavailable("the generator restarts"), NotFound("no such policy")])
async def test_a_failure_of_the_generator_comes_through_after_what_was_done_before_it(failure: Exception) -> None:
    generator = ScriptedGenerator(failures={(1, 2): failure})
    events: list[OptimizationEvent] = []
    with pytest.raises(type(failure), match=str(failure)):
        await collect(events, generator=generator)
    assert len(finished_rounds(events)) == 1
    assert [event.image.index for event in of(ImagePainted, events) if event.round == 1] == [0, 1]


@pytest.mark.parametrize("method", ["assess_stream", "score", "assess", "converse", "compare_texts"])
async def test_a_failure_of_the_judge_comes_through_as_it_is_and_stops_the_painting(method: str) -> None:
    judge = ScriptedJudge(failures={method: Unavailable("the judge restarts")})
    generator = ScriptedGenerator(delay=0.005)
    events: list[OptimizationEvent] = []
    with pytest.raises(Unavailable, match="the judge restarts"):
        await collect(events, generator=generator, judge=judge)
    assert of(ImagePainted, events)
    steps = generator.steps_done
    await asyncio.sleep(0.03)
    assert generator.steps_done == steps


async def test_closing_stops_painting_and_judging_at_once() -> None:
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


async def test_cancelling_the_caller_stops_the_gradient() -> None:
    class Slow(ScriptedJudge):
        async def assess(
            self, images: Sequence[bytes], *, reasoning: bool | Reasoning = False, user: str = ""
        ) -> list[AssessmentOutcome]:
            outcomes = await super().assess(images, reasoning=reasoning, user=user)
            self.delay = 60
            return outcomes

    judge = Slow()
    task = asyncio.create_task(run(judge=judge, settings=replace(SETTINGS, rewrites=2)))
    while "converse" not in judge.calls:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert judge.cancelled == 2  # the conversation of each rewrite


# --- resuming ----------------------------------------------------------------------------------------------------


def cut_after(count: int, events: Sequence[OptimizationEvent]) -> Resume:
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
async def test_a_cut_run_goes_on_as_if_it_had_not_been_cut(
    monkeypatch: pytest.MonkeyPatch, judge: Callable[[], ScriptedJudge], done: int
) -> None:
    # Rewrites must depend on nothing but what they are asked, as those of a real judge with a fixed seed.
    def reply(conversation: Conversation, decoding: Decoding) -> str:
        if isinstance(conversation[0].parts[0], bytes):
            return "Add light."
        return f"<prompt>a boat, {1 + _round_of(conversation) + decoding.seed}</prompt>"

    def scripted() -> ScriptedJudge:
        fresh = judge()
        monkeypatch.setattr(fresh, "_reply", reply)
        return fresh

    whole = await run(judge=scripted())
    resumed = await run(replace(REQUEST, resume=cut_after(done, whole)), judge=scripted())
    start = whole.index(RoundStarted(round=done, prompt=of(RoundStarted, resumed)[0].prompt))
    assert [without_time(event) for event in resumed] == [without_time(event) for event in whole[start:]]


def _round_of(conversation: Conversation) -> int:
    current = question(conversation).split("Current prompt: ")[1].split("\n")[0]
    return int(current.split(", ")[1]) if ", " in current else 0


async def test_a_finished_run_resumed_ends_at_once_with_the_same_answer() -> None:
    whole = await run()
    generator = ScriptedGenerator()
    resumed = await run(replace(REQUEST, resume=cut_after(3, whole)), generator)
    assert [without_time(event) for event in resumed] == [without_time(whole[-1])]
    assert not generator.requests


async def test_a_finished_run_resumed_with_more_rounds_goes_on_with_the_next_seeds() -> None:
    whole = await run(replace(REQUEST, rounds=1))
    generator = ScriptedGenerator()
    await run(replace(REQUEST, rounds=2, resume=cut_after(1, whole)), generator)
    assert [(r.prompt, r.seeds) for r in generator.requests] == [("a boat", (14, 15, 16, 17))]


async def test_losses_of_the_rounds_before_the_cut_are_taken_from_what_the_judge_saw() -> None:
    whole = await run(replace(REQUEST, rounds=1), judge=errors_by_round([3, 2, 1, None]))
    cut = cut_after(1, whole)
    wrong = tuple(replace(candidate, loss=0.0) for candidate in cut.rounds[0].candidates)
    resume = replace(cut, rounds=(replace(cut.rounds[0], candidates=wrong),))
    events = await run(replace(REQUEST, rounds=1, resume=resume))
    assert finished(events).answer == Answer(round=0, index=2, loss=1)


async def test_the_time_of_the_rounds_before_the_cut_counts_against_the_budget() -> None:
    whole = await run(replace(REQUEST, rounds=2))
    cut = cut_after(1, whole)
    slow = replace(cut, rounds=(replace(cut.rounds[0], seconds=30.0),))
    events = await run(replace(REQUEST, time_budget=20.0, resume=slow))
    assert finished(events).stopped_because is StopReason.TIME_BUDGET
    assert finished(events).seconds >= 30
