"""The loop, with a scripted generator and judge: rounds, events, and step 1, the loss."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emofeedback.domain.affect import AffectPoint, distance
from emofeedback.domain.assessment import Assessment, AssessmentOutcome
from emofeedback.domain.errors import NotFound
from emofeedback.domain.generation import GenerationEvent, GenerationQueued, GenerationRequest
from emofeedback.domain.optimization import (
    Answer,
    GradientEstimated,
    ImageJudged,
    ImagePainted,
    LossComputed,
    OptimizationEvent,
    OptimizationFinished,
    PaintingStep,
    PromptShortened,
    PromptUpdated,
    RoundFinished,
    RoundStarted,
    WordsUnknown,
)
from emofeedback.domain.validation import check_generation_request
from emofeedback.judge.calibration_store import CalibrationStore
from support.fakes import (
    GENERATOR_MODEL,
    JUDGE_MODEL,
    UNREADABLE,
    Picture,
    ScriptedGenerator,
    ScriptedJudge,
    assessment,
    known_of,
    look,
    paint,
)
from support.scripted_loop import (
    REQUEST,
    SETTINGS,
    TARGET,
    answer_of,
    collect,
    compared,
    errors_by_round,
    finished,
    finished_rounds,
    of,
    question,
    run,
)

# --- rounds, prompts and seeds -----------------------------------------------------------------------------------


async def test_each_round_paints_the_prompt_that_the_round_before_it_wrote() -> None:
    generator = ScriptedGenerator()
    events = await run(generator=generator, judge=ScriptedJudge(rewrites=["<prompt>x</prompt>", "<prompt>y</prompt>"]))
    assert [request.prompt for request in generator.requests] == ["a boat", "x", "y"]
    assert [(r.prompt, r.optimized_prompt) for r in finished_rounds(events)] == [("a boat", "x"), ("x", "y"), ("y", "")]
    assert [event.prompt for event in of(RoundStarted, events)] == ["a boat", "x", "y"]


async def test_seeds_are_paired_between_rounds() -> None:
    generator = ScriptedGenerator()
    await run(generator=generator)
    assert [request.seeds for request in generator.requests] == [(10, 11, 12, 13)] * 3


async def test_a_prompt_that_stays_goes_on_with_the_next_seeds() -> None:
    generator = ScriptedGenerator()
    await run(generator=generator, judge=ScriptedJudge(similarity=lambda text, candidate: 0.0))
    assert [request.prompt for request in generator.requests] == ["a boat"] * 3
    assert [request.seeds for request in generator.requests] == [
        (10, 11, 12, 13),
        (14, 15, 16, 17),
        (18, 19, 20, 21),
    ]


async def test_the_policy_reaches_the_generator_and_the_result() -> None:
    generator = ScriptedGenerator(known_policies=("warm",))
    events = await run(replace(REQUEST, policy="warm"), generator)
    assert {request.policy for request in generator.requests} == {"warm"}
    assert finished(events).generator == replace(GENERATOR_MODEL, policy="warm")
    assert finished(events).judge == JUDGE_MODEL


async def test_words_that_the_generator_never_saw_are_told() -> None:
    events = await run(generator=ScriptedGenerator(unknown_words=frozenset({"boat"})))
    assert of(WordsUnknown, events)[0] == WordsUnknown(round=0, words=("boat",))


async def test_a_prompt_that_the_generator_cannot_read_whole_is_told() -> None:
    events = await run(replace(REQUEST, rounds=1), ScriptedGenerator(longest_prompt=1))
    assert of(PromptShortened, events) == [PromptShortened(round=0, prompt="a")]


async def test_the_note_on_a_long_prompt_shows_the_users_words_without_the_target() -> None:
    class Reading(ScriptedGenerator):
        def _queued(self, prompt: str) -> GenerationQueued:
            return replace(super()._queued(prompt), shortened_prompt="a, valence 7, arousal 3")

    events = await run(replace(REQUEST, rounds=1), Reading(), settings=replace(SETTINGS, numeric_target=True))
    assert of(PromptShortened, events) == [PromptShortened(round=0, prompt="a")]


@pytest.mark.parametrize("length", [1978, 1979, 2000])
async def test_a_prompt_up_to_the_limit_is_painted_with_the_numbers_behind_it(length: int) -> None:
    asked: list[str] = []

    class Strict(ScriptedGenerator):
        def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
            check_generation_request(request)
            asked.append(request.prompt)
            return super().generate(request)

    request = replace(REQUEST, rounds=1, prompt="x" * length)
    await run(request, Strict(), settings=replace(SETTINGS, numeric_target=True))
    assert asked and all(prompt.endswith("x, valence 7, arousal 3") and len(prompt) <= 2000 for prompt in asked)


async def test_the_last_round_asks_for_no_gradient_and_no_rewrite() -> None:
    judge = ScriptedJudge()
    events = await run(replace(REQUEST, rounds=1), judge=judge)
    assert "converse" not in judge.calls
    assert not of(GradientEstimated, events) and not of(PromptUpdated, events)


async def test_a_persons_eyes_choose_the_answer_and_write_the_gradient(tmp_path: Path) -> None:
    store = CalibrationStore(str(tmp_path))
    store.write(known_of("ada", JUDGE_MODEL, valence=(1, 3, 7)))  # where the judge says 7, she says 5
    judge = errors_by_round([0, 1, 2, 3], [2, 3, 2, 3])
    request = replace(REQUEST, target=AffectPoint(4.0, 3.0), rounds=2)

    plain = await run(request, judge=judge)
    assert finished(plain).answer == Answer(round=0, index=3, loss=0)

    judge = errors_by_round([0, 1, 2, 3], [2, 3, 2, 3])
    judge.calibrations = store
    events = await run(replace(request, user="ada"), judge=judge)
    first, _ = finished_rounds(events)
    assert [c.outcome.valence for c in first.candidates if isinstance(c.outcome, Assessment)] == [5, 4, 3, 2.5]
    assert [candidate.loss for candidate in first.candidates] == [1, 0, 1, 1.5]
    assert finished(events).answer == Answer(round=0, index=1, loss=0)
    best, worst = compared(judge.conversations[0])
    assert (best.seed, worst.seed) == (11, 13)
    asked = question(judge.conversations[0])
    assert "valence 4.0" in asked and "valence 2.5" in asked
    assert (judge.calls.count("assess"), judge.users) == (1, ["ada"] * 3)


async def test_a_person_that_nothing_is_known_of_ends_the_run_before_any_picture_is_judged(tmp_path: Path) -> None:
    judge = ScriptedJudge(calibrations=CalibrationStore(str(tmp_path)))
    events: list[OptimizationEvent] = []
    with pytest.raises(NotFound, match="no calibration for user 'ada'"):
        await collect(events, replace(REQUEST, user="ada"), judge=judge)
    assert not of(ImageJudged, events)


# --- events ------------------------------------------------------------------------------------------------------


async def test_events_come_in_the_order_of_the_steps() -> None:
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


async def test_an_image_is_judged_while_the_next_is_painted() -> None:
    generator = ScriptedGenerator(steps=5, delay=0.002)
    events = await run(replace(REQUEST, rounds=1), generator)
    first_judged = next(i for i, event in enumerate(events) if isinstance(event, ImageJudged))
    last_step = max(i for i, event in enumerate(events) if isinstance(event, PaintingStep))
    assert of(ImageJudged, events)[0].candidate.index == 0
    assert first_judged < last_step


async def test_candidates_stand_in_the_order_of_their_seeds_however_they_were_finished() -> None:
    events = await run(replace(REQUEST, rounds=1), ScriptedGenerator(backwards=True))
    assert [event.candidate.index for event in of(ImageJudged, events)] == [3, 2, 1, 0]
    [only] = finished_rounds(events)
    assert [(c.index, c.seed) for c in only.candidates] == [(0, 10), (1, 11), (2, 12), (3, 13)]


async def test_the_judge_reasons_aloud_about_the_best_and_the_worst_only() -> None:
    judge = errors_by_round([3, 1, 2, 4], [1, 1, 1, 1])
    events = await run(replace(REQUEST, rounds=2), judge=judge)
    [gradient] = of(GradientEstimated, events)
    assert gradient.best_reasoning == "It feels like valence 6, arousal 3."
    assert gradient.worst_reasoning == "It feels like valence 3, arousal 3."
    assert judge.calls.count("assess") == 1


# --- step 1: loss ------------------------------------------------------------------------------------------------


async def test_the_answer_is_the_best_image_over_all_rounds() -> None:
    events = await run(judge=errors_by_round([3, 4, 2, 4], [5, 0.5, 5, 5], [1, 2, 3, 4]))
    assert finished(events).answer == Answer(round=1, index=1, loss=0.5)
    assert [(r.best, r.worst) for r in finished_rounds(events)] == [(2, 1), (1, 0), (0, 3)]


async def test_the_best_so_far_takes_part_in_the_comparison() -> None:
    judge = errors_by_round([3, 0.5, 2, 4], [1, 2, 3, 4], [1, 1, 1, 1])
    events = await run(judge=judge)
    assert of(LossComputed, events)[1].best == Answer(round=0, index=1, loss=0.5)
    assert of(LossComputed, events)[1].worst == Answer(round=1, index=3, loss=4)
    second_gradient = judge.conversations[2]
    best, worst = compared(second_gradient)
    assert (best.prompt, best.seed) == ("a boat", 11)
    assert (worst.prompt, worst.seed) == ("a boat, 1", 13)


async def test_rounds_of_one_image_compare_it_with_the_best_so_far() -> None:
    judge = errors_by_round([3], [1], [2])
    await run(replace(REQUEST, images=1), judge=judge)
    best, worst = compared(judge.conversations[2])
    assert (best.prompt, worst.prompt) == ("a boat, 1", "a boat")


async def test_an_image_that_lost_the_subject_is_not_the_answer() -> None:
    judge = errors_by_round([3, 3, 2, 3], [0.1, 1, 2, 2], lost={(1, 0)})
    events = await run(replace(REQUEST, rounds=2), judge=judge)
    assert finished(events).answer == Answer(round=1, index=1, loss=1)
    drifted = finished_rounds(events)[1].candidates[0]
    assert drifted.loss == pytest.approx(0.1)
    assert not drifted.on_subject


async def test_drift_is_told_with_the_image_from_round_two_on_and_with_the_round_in_round_one() -> None:
    judge = errors_by_round([3, 3, 2, 3], [1, 1, 1, 1], lost={(0, 1), (1, 2)})
    events = await run(replace(REQUEST, rounds=2), judge=judge)
    judged = [(e.round, e.candidate.index) for e in of(ImageJudged, events) if not e.candidate.on_subject]
    recorded = [(r.index, c.index) for r in finished_rounds(events) for c in r.candidates if not c.on_subject]
    assert judged == [(1, 2)]
    assert recorded == [(0, 1), (1, 2)]


async def test_images_are_aligned_with_the_original_prompt_in_every_round() -> None:
    asked: list[str] = []

    def alignment(picture: Picture, prompt: str) -> float:
        asked.append(prompt)
        return 0.5

    await run(judge=ScriptedJudge(alignment=alignment))
    assert asked == ["a boat"] * 12


@settings(max_examples=40)
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
def test_the_answers_loss_is_the_least_of_all_eligible_candidates(
    scores: list[list[tuple[float | None, float, float]]],
) -> None:
    def place(picture: Picture) -> tuple[float | None, float, float]:
        return scores[int(picture.prompt.split(", ")[1]) if ", " in picture.prompt else 0][picture.seed - 10]

    def feeling(picture: Picture) -> AssessmentOutcome:
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
    assert answer_of(events).loss == pytest.approx(min(eligible))


def test_the_scripted_pictures_are_what_these_tests_take_them_for() -> None:
    picture = look(paint("a boat", 12))
    assert (picture.prompt, picture.seed) == ("a boat", 12)
    assert isinstance(ScriptedJudge().feeling(picture), Assessment)
