"""The loop, with a scripted generator and judge."""

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emofeedback.affect import AffectPoint, distance
from emofeedback.errors import NotFound, Unavailable
from emofeedback.interfaces import Assessment
from emofeedback.judge.calibration_store import CalibrationStore
from emofeedback.optimizer.loop import optimize
from emofeedback.rounds import (
    Answer,
    GradientEstimated,
    ImageJudged,
    ImagePainted,
    LossComputed,
    OptimizationFinished,
    OptimizationRequest,
    PaintingStep,
    PromptShortened,
    PromptUpdated,
    Resume,
    RoundFinished,
    RoundStarted,
    StopReason,
    WordsUnknown,
)
from emofeedback.settings import OptimizerSettings
from fakes import (
    GENERATOR_MODEL,
    JUDGE_MODEL,
    UNREADABLE,
    ScriptedGenerator,
    ScriptedJudge,
    assessment,
    look,
    paint,
)
from people import known_of

TARGET = AffectPoint(7.0, 3.0)
SETTINGS = OptimizerSettings(text_floor=0.5, image_floor=0.2)
REQUEST = OptimizationRequest(prompt="a boat", target=TARGET, rounds=3, images=4, seed=10)


async def collect(events, request=REQUEST, generator=None, judge=None, settings=SETTINGS):
    """Runs the loop; `events` holds what came before a failure too."""
    generator, judge = generator or ScriptedGenerator(), judge or ScriptedJudge()
    async for event in optimize(request, generator=generator, judge=judge, settings=settings):
        events.append(event)


async def run(*args, **kwargs):
    """All events of a run."""
    events = []
    await collect(events, *args, **kwargs)
    return events


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def finished_rounds(events):
    return [event.round for event in of(RoundFinished, events)]


def errors_by_round(*rounds, lost=()):
    """A judge for which image i of round r is `rounds[r][i]` from the target (None: unreadable).

    Rounds are told apart by their prompts, which the judge itself rewrites: "a boat", "a boat, 1", "a boat, 2".
    Pictures in `lost`, pairs of round and index, do not show the subject.
    """

    def place(picture):
        return (int(picture.prompt.split(", ")[1]) if ", " in picture.prompt else 0), picture.seed - REQUEST.seed

    def feeling(picture):
        index, image = place(picture)
        error = rounds[index][image]
        return UNREADABLE if error is None else assessment(TARGET.valence - error, TARGET.arousal)

    def alignment(picture, prompt):
        return 0.1 if place(picture) in lost else 0.6

    rewrites = [f"<prompt>a boat, {index}</prompt>" for index in range(1, 9)]
    return ScriptedJudge(feeling=feeling, alignment=alignment, rewrites=rewrites)


# --- rounds, prompts and seeds -----------------------------------------------------------------------------------


async def test_each_round_paints_the_prompt_that_the_round_before_it_wrote():
    generator = ScriptedGenerator()
    events = await run(generator=generator, judge=ScriptedJudge(rewrites=["<prompt>x</prompt>", "<prompt>y</prompt>"]))
    assert [request.prompt for request in generator.requests] == ["a boat", "x", "y"]
    assert [(r.prompt, r.optimized_prompt) for r in finished_rounds(events)] == [("a boat", "x"), ("x", "y"), ("y", "")]
    assert [event.prompt for event in of(RoundStarted, events)] == ["a boat", "x", "y"]


async def test_seeds_are_paired_between_rounds():
    generator = ScriptedGenerator()
    await run(generator=generator)
    assert [request.seeds for request in generator.requests] == [(10, 11, 12, 13)] * 3


async def test_a_prompt_that_stays_goes_on_with_the_next_seeds():
    generator = ScriptedGenerator()
    await run(generator=generator, judge=ScriptedJudge(similarity=lambda text, candidate: 0.0))
    assert [request.prompt for request in generator.requests] == ["a boat"] * 3
    assert [request.seeds for request in generator.requests] == [
        (10, 11, 12, 13),
        (14, 15, 16, 17),
        (18, 19, 20, 21),
    ]


async def test_the_policy_reaches_the_generator_and_the_result():
    generator = ScriptedGenerator(known_policies=("warm",))
    events = await run(replace(REQUEST, policy="warm"), generator)
    assert {request.policy for request in generator.requests} == {"warm"}
    assert events[-1].generator == replace(GENERATOR_MODEL, policy="warm")
    assert events[-1].judge == JUDGE_MODEL


async def test_words_that_the_generator_never_saw_are_told():
    events = await run(generator=ScriptedGenerator(unknown_words=frozenset({"boat"})))
    assert of(WordsUnknown, events)[0] == WordsUnknown(round=0, words=("boat",))


async def test_a_prompt_that_the_generator_cannot_read_whole_is_told():
    events = await run(replace(REQUEST, rounds=1), ScriptedGenerator(longest_prompt=1))
    assert of(PromptShortened, events) == [PromptShortened(round=0, prompt="a")]


async def test_the_last_round_asks_for_no_gradient_and_no_rewrite():
    judge = ScriptedJudge()
    events = await run(replace(REQUEST, rounds=1), judge=judge)
    assert "converse" not in judge.calls
    assert not of(GradientEstimated, events) and not of(PromptUpdated, events)


async def test_a_persons_eyes_choose_the_answer_and_write_the_gradient(tmp_path):
    store = CalibrationStore(str(tmp_path))
    store.write(known_of("ada", JUDGE_MODEL, valence=(1, 3, 7)))  # where the judge says 7, she says 5
    judge = errors_by_round([0, 1, 2, 3], [2, 3, 2, 3])
    request = replace(REQUEST, target=AffectPoint(4.0, 3.0), rounds=2)

    plain = await run(request, judge=judge)
    assert plain[-1].answer == Answer(round=0, index=3, loss=0)

    judge = errors_by_round([0, 1, 2, 3], [2, 3, 2, 3])
    judge.calibrations = store
    events = await run(replace(request, user="ada"), judge=judge)
    first, _ = finished_rounds(events)
    assert [candidate.outcome.valence for candidate in first.candidates] == [5, 4, 3, 2.5]
    assert [candidate.loss for candidate in first.candidates] == [1, 0, 1, 1.5]
    assert events[-1].answer == Answer(round=0, index=1, loss=0)
    best_image, worst_image, asked = judge.conversations[0][0].parts
    assert (look(best_image).seed, look(worst_image).seed) == (11, 13)
    assert "valence 4.0" in asked and "valence 2.5" in asked
    assert (judge.calls.count("assess"), judge.users) == (1, ["ada"] * 3)


async def test_a_person_that_nothing_is_known_of_ends_the_run_before_any_picture_is_judged(tmp_path):
    judge = ScriptedJudge(calibrations=CalibrationStore(str(tmp_path)))
    events = []
    with pytest.raises(NotFound, match="no calibration for user 'ada'"):
        await collect(events, replace(REQUEST, user="ada"), judge=judge)
    assert not of(ImageJudged, events)


# --- events ------------------------------------------------------------------------------------------------------


async def test_events_come_in_the_order_of_the_steps():
    events = await run(replace(REQUEST, rounds=2, images=1))
    assert [type(event) for event in events] == [
        RoundStarted,
        PaintingStep,
        PaintingStep,
        ImagePainted,
        ImageJudged,
        LossComputed,
        GradientEstimated,
        PromptUpdated,
        RoundFinished,
        RoundStarted,
        PaintingStep,
        PaintingStep,
        ImagePainted,
        ImageJudged,
        LossComputed,
        RoundFinished,
        OptimizationFinished,
    ]


async def test_an_image_is_judged_while_the_next_is_painted():
    generator = ScriptedGenerator(steps=5, delay=0.002)
    events = await run(replace(REQUEST, rounds=1), generator)
    first_judged = next(i for i, event in enumerate(events) if isinstance(event, ImageJudged))
    last_step = max(i for i, event in enumerate(events) if isinstance(event, PaintingStep))
    assert events[first_judged].candidate.index == 0
    assert first_judged < last_step


async def test_candidates_stand_in_the_order_of_their_seeds_however_they_were_finished():
    events = await run(replace(REQUEST, rounds=1), ScriptedGenerator(backwards=True))
    assert [event.candidate.index for event in of(ImageJudged, events)] == [3, 2, 1, 0]
    [only] = finished_rounds(events)
    assert [(c.index, c.seed) for c in only.candidates] == [(0, 10), (1, 11), (2, 12), (3, 13)]


async def test_the_judge_reasons_aloud_about_the_best_and_the_worst_only():
    judge = errors_by_round([3, 1, 2, 4], [1, 1, 1, 1])
    events = await run(replace(REQUEST, rounds=2), judge=judge)
    [gradient] = of(GradientEstimated, events)
    assert gradient.best_reasoning == "It feels like valence 6, arousal 3."
    assert gradient.worst_reasoning == "It feels like valence 3, arousal 3."
    assert judge.calls.count("assess") == 1


# --- step 1: loss ------------------------------------------------------------------------------------------------


async def test_the_answer_is_the_best_image_over_all_rounds():
    events = await run(judge=errors_by_round([3, 4, 2, 4], [5, 0.5, 5, 5], [1, 2, 3, 4]))
    assert events[-1].answer == Answer(round=1, index=1, loss=0.5)
    assert [(r.best, r.worst) for r in finished_rounds(events)] == [(2, 1), (1, 0), (0, 3)]


async def test_the_best_so_far_takes_part_in_the_comparison():
    judge = errors_by_round([3, 0.5, 2, 4], [1, 2, 3, 4], [1, 1, 1, 1])
    events = await run(judge=judge)
    assert of(LossComputed, events)[1].best == Answer(round=0, index=1, loss=0.5)
    assert of(LossComputed, events)[1].worst == Answer(round=1, index=3, loss=4)
    second_gradient = judge.conversations[2]
    best_image, worst_image, _ = second_gradient[0].parts
    assert (look(best_image).prompt, look(best_image).seed) == ("a boat", 11)
    assert (look(worst_image).prompt, look(worst_image).seed) == ("a boat, 1", 13)


async def test_rounds_of_one_image_compare_it_with_the_best_so_far():
    judge = errors_by_round([3], [1], [2])
    await run(replace(REQUEST, images=1), judge=judge)
    best_image, worst_image, _ = judge.conversations[2][0].parts
    assert (look(best_image).prompt, look(worst_image).prompt) == ("a boat, 1", "a boat")


async def test_an_image_that_lost_the_subject_is_not_the_answer():
    judge = errors_by_round([3, 3, 2, 3], [0.1, 1, 2, 2], lost={(1, 0)})
    events = await run(replace(REQUEST, rounds=2), judge=judge)
    assert events[-1].answer == Answer(round=1, index=1, loss=1)
    drifted = finished_rounds(events)[1].candidates[0]
    assert (drifted.loss, drifted.on_subject) == (pytest.approx(0.1), False)


async def test_drift_is_told_with_the_image_from_round_two_on_and_with_the_round_in_round_one():
    judge = errors_by_round([3, 3, 2, 3], [1, 1, 1, 1], lost={(0, 1), (1, 2)})
    events = await run(replace(REQUEST, rounds=2), judge=judge)
    judged = [(e.round, e.candidate.index) for e in of(ImageJudged, events) if not e.candidate.on_subject]
    recorded = [(r.index, c.index) for r in finished_rounds(events) for c in r.candidates if not c.on_subject]
    assert judged == [(1, 2)]
    assert recorded == [(0, 1), (1, 2)]


async def test_images_are_aligned_with_the_original_prompt_in_every_round():
    asked = []
    judge = ScriptedJudge(alignment=lambda picture, prompt: asked.append(prompt) or 0.5)
    await run(judge=judge)
    assert asked == ["a boat"] * 12


@settings(max_examples=40, deadline=None)
@given(
    scores=st.lists(
        st.lists(
            st.tuples(st.one_of(st.none(), st.floats(1, 9)), st.floats(1, 9), st.sampled_from([0.1, 0.3, 0.5, 0.7])),
            min_size=3,
            max_size=3,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_the_answers_loss_is_the_least_of_all_eligible_candidates(scores):
    def place(picture):
        return scores[int(picture.prompt.split(", ")[1]) if ", " in picture.prompt else 0][picture.seed - 10]

    def feeling(picture):
        valence, arousal, _ = place(picture)
        return UNREADABLE if valence is None else assessment(valence, arousal)

    # Where a round has no readable image the prompt stays and the seeds go on: such scripts are not for this test.
    if any(all(valence is None for valence, _, _ in images) for images in scores):
        return
    judge = ScriptedJudge(
        feeling=feeling,
        alignment=lambda picture, prompt: place(picture)[2],
        rewrites=[f"<prompt>a boat, {index}</prompt>" for index in range(1, 9)],
    )
    patient = replace(SETTINGS, plateau_rounds=10)
    request = replace(REQUEST, rounds=len(scores), images=3)
    events = asyncio.run(run(request, judge=judge, settings=patient))

    floor = sum(alignment for _, _, alignment in scores[0]) / 3 - SETTINGS.image_floor
    judged = [
        (distance(AffectPoint(valence, arousal), TARGET), alignment >= floor)
        for images in scores
        for valence, arousal, alignment in images
        if valence is not None
    ]
    eligible = [error for error, on_subject in judged if on_subject] or [error for error, _ in judged]
    assert events[-1].answer.loss == pytest.approx(min(eligible))


# --- steps 2 and 3: gradient and update --------------------------------------------------------------------------


async def test_a_rewrite_that_loses_the_subject_is_rejected_with_a_reason_and_asked_for_again():
    judge = ScriptedJudge(
        rewrites=["<prompt>a cake</prompt>", "<prompt>a boat at dusk</prompt>"],
        similarity=lambda text, candidate: 0.9 if "boat" in candidate else 0.31,
    )
    events = await run(replace(REQUEST, rounds=2), judge=judge)
    [update] = of(PromptUpdated, events)
    assert (update.prompt, update.fell_back) == ("a boat at dusk", False)
    [rejection] = update.rejected
    assert rejection.prompt == "a cake"
    assert "0.31" in rejection.reason and "0.5" in rejection.reason
    assert finished_rounds(events)[0].rejected == update.rejected


async def test_a_retry_is_sampled_with_temperature_and_another_seed():
    judge = ScriptedJudge(rewrites=["<prompt>a boat</prompt>", "<prompt>a ship</prompt>"])
    await run(replace(REQUEST, rounds=2), judge=judge)
    first, second = judge.decodings[-2:]
    assert first.temperature == 0
    assert second.temperature > 0 and second.seed != first.seed


async def test_after_the_last_attempt_the_prompt_stays():
    judge = ScriptedJudge(rewrites=["nothing.\n\nof use"] * 9)
    events = await run(replace(REQUEST, rounds=2), judge=judge, settings=replace(SETTINGS, rewrite_attempts=2))
    [update] = of(PromptUpdated, events)
    assert (update.prompt, update.fell_back, len(update.rejected)) == ("a boat", True, 2)
    assert update.rejected[0].prompt == "nothing.\n\nof use"
    assert finished_rounds(events)[0].optimized_prompt == "a boat"
    assert len(finished_rounds(events)) == 2


@pytest.mark.parametrize("same", ["a boat", "A Boat", " a  boat "])
async def test_a_rewrite_that_says_the_same_is_no_progress(same):
    judge = ScriptedJudge(rewrites=[f"<prompt>{same}</prompt>", "<prompt>a ship</prompt>"])
    [update] = of(PromptUpdated, await run(replace(REQUEST, rounds=2), judge=judge))
    assert update.prompt == "a ship"
    assert "painted already" in update.rejected[0].reason


async def test_a_rewrite_that_goes_back_to_an_earlier_prompt_is_no_progress_either():
    judge = ScriptedJudge(rewrites=["<prompt>b</prompt>", "<prompt>a boat</prompt>", "<prompt>c</prompt>"])
    events = await run(judge=judge)
    assert [r.prompt for r in finished_rounds(events)] == ["a boat", "b", "c"]


async def test_a_rewrite_past_the_encoders_limit_is_shortened_and_said_so():
    judge = ScriptedJudge(rewrites=["<prompt>a boat at sea, warm light, gulls, a long wake behind it</prompt>"])
    events = await run(replace(REQUEST, rounds=2), judge=judge, settings=replace(SETTINGS, max_prompt_tokens=8))
    [update] = of(PromptUpdated, events)
    assert update.prompt == "a boat at sea, warm light"
    assert update.rejected[0].prompt == "a boat at sea, warm light, gulls, a long wake behind it"
    assert "about 15 tokens, the generator reads 8" in update.rejected[0].reason


async def test_a_malformed_rewrite_is_repaired():
    judge = ScriptedJudge(rewrites=["Sure! Here is the new prompt:\n```\na boat\nat dawn\n```"])
    [update] = of(PromptUpdated, await run(replace(REQUEST, rounds=2), judge=judge))
    assert (update.prompt, update.rejected) == ("a boat at dawn", ())


async def test_an_unreadable_analysis_is_asked_for_once_more():
    judge = ScriptedJudge(analyses=["", "Add sunlight."])
    events = await run(replace(REQUEST, rounds=2), judge=judge)
    assert of(GradientEstimated, events)[0].analysis == "Add sunlight."
    assert not of(PromptUpdated, events)[0].fell_back


async def test_without_any_readable_analysis_the_prompt_stays_and_the_round_says_so():
    judge = ScriptedJudge(analyses=["", "```"])
    events = await run(replace(REQUEST, rounds=2), judge=judge)
    [update] = of(PromptUpdated, events)
    assert (update.prompt, update.fell_back) == ("a boat", True)
    assert [rejection.prompt for rejection in update.rejected] == ["", "```"]
    assert finished_rounds(events)[0].rejected == update.rejected
    assert len(judge.decodings) == 2


async def test_an_image_that_the_judge_cannot_reason_about_leaves_an_empty_reasoning():
    class Silent(ScriptedJudge):
        async def assess(self, images, *, reasoning=False, user=""):
            return [UNREADABLE for _ in images]

    [gradient] = of(GradientEstimated, await run(replace(REQUEST, rounds=2), judge=Silent()))
    assert (gradient.best_reasoning, gradient.worst_reasoning) == ("", "")
    assert gradient.analysis


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
        async def converse(self, conversations, decoding):
            self.delay = 60
            return await super().converse(conversations, decoding)

    judge = Slow()
    task = asyncio.create_task(run(judge=judge))
    while "converse" not in judge.calls:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert judge.cancelled == 2  # the conversation, and the reasoning beside it


# --- resuming ----------------------------------------------------------------------------------------------------


def without_time(event):
    match event:
        case RoundFinished():
            return replace(event, round=replace(event.round, seconds=0))
        case OptimizationFinished():
            return replace(event, seconds=0)
    return event


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
            else f"<prompt>a boat, {1 + _round_of(conversation)}</prompt>"
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


def test_the_scripted_pictures_are_what_these_tests_take_them_for():
    picture = look(paint("a boat", 12))
    assert (picture.prompt, picture.seed) == ("a boat", 12)
    assert isinstance(ScriptedJudge().feeling(picture), Assessment)


async def test_a_generator_that_reads_numbers_is_told_the_target_and_the_agent_is_not():
    generator, judge = ScriptedGenerator(), ScriptedJudge(rewrites=["<prompt>a boat in the sun</prompt>"])
    events = await run(replace(REQUEST, rounds=2), generator, judge, replace(SETTINGS, numeric_target=True))
    assert [request.prompt for request in generator.requests] == [
        "a boat, valence 7, arousal 3",
        "a boat in the sun, valence 7, arousal 3",
    ]
    assert [finished.prompt for finished in finished_rounds(events)] == ["a boat", "a boat in the sun"]
    assert not any("valence 7, arousal 3" in prompt for prompt in judge.compared)


async def test_a_rewrite_leaves_room_for_the_targets_numbers():
    judge = ScriptedJudge(rewrites=["<prompt>a boat, red light, blue light, warm light</prompt>"])
    asked = replace(SETTINGS, numeric_target=True, max_prompt_tokens=12)
    generator = ScriptedGenerator()
    await run(replace(REQUEST, rounds=2), generator, judge, asked)
    assert generator.requests[1].prompt == "a boat, red light, valence 7, arousal 3"
