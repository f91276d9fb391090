"""The loop, with a scripted generator and judge: several rewrites a round, its images divided among them."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.domain.affect import AffectPoint, distance
from emofeedback.domain.assessment import Assessment, AssessmentOutcome, Conversation, Decoding
from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.optimization import OptimizationFinished, PromptUpdated, Resume, RoundStarted
from emofeedback.optimizer.memory import Observation, WordEffects
from emofeedback.optimizer.steps import aims_around
from support.fakes import Picture, ScriptedGenerator, ScriptedJudge, arbitrary_feeling, assessment, look, paint
from support.scripted_loop import (
    REQUEST,
    SETTINGS,
    TARGET,
    answer_of,
    finished_rounds,
    of,
    question,
    run,
    without_time,
)

THREE = replace(SETTINGS, rewrites=3)


def agent(feeling: Callable[[Picture], AssessmentOutcome] = arbitrary_feeling) -> ScriptedJudge:
    """A judge whose analysis is the target that it is told, and whose rewrite is the analysis."""

    class Agent(ScriptedJudge):
        def _reply(self, conversation: Conversation, decoding: Decoding) -> str:
            self.conversations.append(conversation)
            text = question(conversation)
            asked = text.split("The target is valence ")[1].split(" (")[0].replace(", arousal ", " and ")
            return f"Aim at {asked}." if "Both pictures" in text else f"<prompt>a boat at {asked}</prompt>"

    return Agent(feeling=feeling)


async def test_a_rounds_images_are_divided_among_rewrites_that_aim_around_the_target() -> None:
    generator = ScriptedGenerator()
    events = await run(replace(REQUEST, rounds=2), generator, agent(), THREE)
    first, second = finished_rounds(events)
    assert [c.prompt for c in first.candidates] == ["a boat"] * 4
    rewrites = ["a boat at 7.0 and 3.0", "a boat at 6.5 and 3.5", "a boat at 7.1 and 2.0"]
    assert [c.prompt for c in second.candidates] == [*rewrites, rewrites[0]]
    assert [c.seed for c in second.candidates] == [10, 11, 12, 13]
    assert [(r.prompt, r.seeds) for r in generator.requests[1:]] == [
        (rewrites[0], (10, 13)),
        (rewrites[1], (11,)),
        (rewrites[2], (12,)),
    ]
    [update] = of(PromptUpdated, events)
    assert (update.prompt, first.optimized_prompt) == (rewrites[0], rewrites[0])
    assert update.further == first.further
    assert [proposal.prompt for proposal in update.further] == rewrites[1:]
    for proposal in update.further:
        assert proposal.analysis.startswith(f"Aim at {proposal.prompt.removeprefix('a boat at ')}.")


async def test_a_rewrite_that_two_aims_find_is_painted_once() -> None:
    class Stubborn(ScriptedJudge):
        def _reply(self, conversation: Conversation, decoding: Decoding) -> str:
            return "Add light." if len(conversation[0].parts) > 1 else "<prompt>A boat in light</prompt>"

    events = await run(replace(REQUEST, rounds=2), judge=Stubborn(), settings=THREE)
    assert {c.prompt for c in finished_rounds(events)[1].candidates} == {"A boat in light"}
    assert of(PromptUpdated, events)[0].further == ()


async def test_the_first_analysis_is_the_models_first_choice_and_the_others_are_sampled_each_with_its_seed() -> None:
    judge = ScriptedJudge()
    await run(replace(REQUEST, rounds=2), judge=judge, settings=THREE)
    first, *others = judge.decodings[:3]
    assert first.temperature == 0
    assert all(other.temperature > 0 for other in others)
    assert len({first.seed, *(other.seed for other in others)}) == 3


async def test_no_more_rewrites_are_asked_for_than_there_are_images() -> None:
    judge = agent()
    await run(replace(REQUEST, rounds=2, images=2), judge=judge, settings=replace(SETTINGS, rewrites=9))
    assert len(judge.conversations) == 4


async def test_the_next_rewrites_start_from_the_prompt_of_the_best_image_so_far() -> None:
    def feeling(picture: Picture) -> Assessment:
        return assessment(7.0 if "6.5" in picture.prompt else 2.0, 3.0)

    judge = agent(feeling=feeling)
    await run(judge=judge, settings=THREE)
    texts = [text for text in map(question, judge.conversations) if "Current prompt" in text]
    assert "Current prompt: a boat at 6.5 and 3.5\n" in texts[-1]


async def test_a_run_cut_between_rounds_of_several_rewrites_goes_on_as_the_whole_one() -> None:
    whole = await run(judge=agent(), settings=THREE)
    [first, *_] = finished_rounds(whole)
    assert first.best is not None
    best = first.candidates[first.best]
    resume = Resume(rounds=(first,), best_image=paint("a boat", best.seed))
    resumed = await run(replace(REQUEST, resume=resume), judge=agent(), settings=THREE)
    assert finished_rounds([*map(without_time, resumed)]) == finished_rounds([*map(without_time, whole)])[1:]
    assert without_time(of(OptimizationFinished, resumed)[0]) == without_time(of(OptimizationFinished, whole)[0])
    assert of(RoundStarted, resumed) == of(RoundStarted, whole)[1:]
    assert look(resume.best_image).seed == best.seed


@given(valence=st.floats(1, 9), arousal=st.floats(1, 9), rewrites=st.integers(1, 64))
def test_aims_lie_on_the_scale_near_the_target_and_the_first_is_the_target(
    valence: float, arousal: float, rewrites: int
) -> None:
    target = AffectPoint(valence, arousal)
    aims = aims_around(target, rewrites)
    assert aims[0] == target
    assert len(aims) == rewrites
    assert all(distance(aim, target) < 1.5 for aim in aims)


def test_the_target_itself_is_aimed_at_where_there_is_one_rewrite() -> None:
    assert aims_around(TARGET, 1) == [TARGET]
    second = aims_around(TARGET, 2)[1]
    assert math.hypot(second.valence - TARGET.valence, second.arousal - TARGET.arousal) == pytest.approx(1.0)


# --- memory of earlier runs --------------------------------------------------------------------------------------


async def test_a_reading_that_the_words_make_unlikely_does_not_win(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    path.write_text(json.dumps([["a dark boat", 3.0, 3.0], ["a bright boat", 7.0, 3.0]] * 20))
    judge = ScriptedJudge(
        rewrites=["<prompt>a dark boat</prompt>", "<prompt>a bright boat</prompt>"],
        feeling=lambda picture: assessment({"dark": 6.9, "bright": 6.5}.get(picture.prompt.split()[1], 2.0), 3.0),
    )
    settings = replace(SETTINGS, rewrites=1, memory=str(path))
    events = await run(replace(REQUEST, images=1), judge=judge, settings=settings)
    prompts = [finished.prompt for finished in finished_rounds(events)]
    answer = answer_of(events)
    assert prompts[answer.round] == "a bright boat"
    assert answer.loss == pytest.approx(0.5)  # what the judge says of it
    assert finished_rounds(events)[0].candidates[0].likely_loss is None  # the prompt as asked for leaves it open


async def test_a_memory_that_is_none_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "memory.json").write_text("[1]")
    with pytest.raises(FailedPrecondition, match=r"optimizer.memory: .*memory.json"):
        await run(settings=replace(SETTINGS, memory=str(tmp_path / "memory.json")))


def test_effects_of_words_add_up() -> None:
    rows = [("a boat", 5, 4), ("a boat, fire", 4, 6), ("a boat, sun", 7, 4.5)]
    observations = [Observation(prompt=prompt, point=AffectPoint(v, a)) for prompt, v, a in rows] * 200
    found = WordEffects.fitted(observations).predicted("a boat, sun, fire")
    assert (found.valence, found.arousal) == pytest.approx((6, 6.5), abs=0.05)
