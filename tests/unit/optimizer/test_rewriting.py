"""The loop, with a scripted generator and judge: steps 2 and 3, the gradient in words and the prompt it rewrites."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from emofeedback.domain.assessment import AssessmentOutcome
from emofeedback.domain.optimization import GradientEstimated, PromptUpdated
from emofeedback.domain.reasoning import Reasoning
from support.fakes import UNREADABLE, ScriptedGenerator, ScriptedJudge
from support.scripted_loop import REQUEST, SETTINGS, finished_rounds, of, run

# --- steps 2 and 3: gradient and update --------------------------------------------------------------------------


async def test_a_rewrite_that_loses_the_subject_is_rejected_with_a_reason_and_asked_for_again() -> None:
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


async def test_a_retry_is_sampled_with_temperature_and_another_seed() -> None:
    judge = ScriptedJudge(rewrites=["<prompt>a boat</prompt>", "<prompt>a ship</prompt>"])
    await run(replace(REQUEST, rounds=2), judge=judge)
    first, second = judge.decodings[-2:]
    assert first.temperature == 0
    assert second.temperature > 0 and second.seed != first.seed


async def test_after_the_last_attempt_the_prompt_stays() -> None:
    judge = ScriptedJudge(rewrites=["nothing.\n\nof use"] * 9)
    events = await run(replace(REQUEST, rounds=2), judge=judge, settings=replace(SETTINGS, rewrite_attempts=2))
    [update] = of(PromptUpdated, events)
    assert (update.prompt, update.fell_back, len(update.rejected)) == ("a boat", True, 2)
    assert update.rejected[0].prompt == "nothing.\n\nof use"
    assert finished_rounds(events)[0].optimized_prompt == "a boat"
    assert len(finished_rounds(events)) == 2


@pytest.mark.parametrize("same", ["a boat", "A Boat", " a  boat "])
async def test_a_rewrite_that_says_the_same_is_no_progress(same: str) -> None:
    judge = ScriptedJudge(rewrites=[f"<prompt>{same}</prompt>", "<prompt>a ship</prompt>"])
    [update] = of(PromptUpdated, await run(replace(REQUEST, rounds=2), judge=judge))
    assert update.prompt == "a ship"
    assert "painted already" in update.rejected[0].reason


async def test_a_rewrite_that_goes_back_to_an_earlier_prompt_is_no_progress_either() -> None:
    judge = ScriptedJudge(rewrites=["<prompt>b</prompt>", "<prompt>a boat</prompt>", "<prompt>c</prompt>"])
    events = await run(judge=judge)
    assert [r.prompt for r in finished_rounds(events)] == ["a boat", "b", "c"]


async def test_a_rewrite_past_the_encoders_limit_is_shortened_and_said_so() -> None:
    judge = ScriptedJudge(rewrites=["<prompt>a boat at sea, warm light, gulls, a long wake behind it</prompt>"])
    events = await run(replace(REQUEST, rounds=2), judge=judge, settings=replace(SETTINGS, max_prompt_tokens=8))
    [update] = of(PromptUpdated, events)
    assert update.prompt == "a boat at sea, warm light"
    assert update.rejected[0].prompt == "a boat at sea, warm light, gulls, a long wake behind it"
    assert "about 15 tokens, the generator reads 8" in update.rejected[0].reason


async def test_a_malformed_rewrite_is_repaired() -> None:
    judge = ScriptedJudge(rewrites=["Sure! Here is the new prompt:\n```\na boat\nat dawn\n```"])
    [update] = of(PromptUpdated, await run(replace(REQUEST, rounds=2), judge=judge))
    assert (update.prompt, update.rejected) == ("a boat at dawn", ())


async def test_an_unreadable_analysis_is_asked_for_once_more() -> None:
    judge = ScriptedJudge(analyses=["", "To be calmer, add sunlight."])
    events = await run(replace(REQUEST, rounds=2), judge=judge)
    assert of(GradientEstimated, events)[0].analysis.endswith("add sunlight.")
    assert not of(PromptUpdated, events)[0].fell_back


async def test_without_any_readable_analysis_the_prompt_stays_and_the_round_says_so() -> None:
    judge = ScriptedJudge(analyses=["", "```"])
    events = await run(replace(REQUEST, rounds=2), judge=judge)
    [update] = of(PromptUpdated, events)
    assert (update.prompt, update.fell_back) == ("a boat", True)
    assert [rejection.prompt for rejection in update.rejected] == ["", "```"]
    assert finished_rounds(events)[0].rejected == update.rejected
    assert len(judge.decodings) == 2


async def test_an_image_that_the_judge_cannot_reason_about_leaves_an_empty_reasoning() -> None:
    class Silent(ScriptedJudge):
        async def assess(
            self, images: Sequence[bytes], *, reasoning: bool | Reasoning = False, user: str = ""
        ) -> list[AssessmentOutcome]:
            return [UNREADABLE for _ in images]

    [gradient] = of(GradientEstimated, await run(replace(REQUEST, rounds=2), judge=Silent()))
    assert (gradient.best_reasoning, gradient.worst_reasoning) == ("", "")
    assert gradient.analysis


async def test_a_generator_that_reads_numbers_is_told_the_target_and_the_agent_is_not() -> None:
    generator, judge = ScriptedGenerator(), ScriptedJudge(rewrites=["<prompt>a boat in the sun</prompt>"])
    events = await run(replace(REQUEST, rounds=2), generator, judge, replace(SETTINGS, numeric_target=True))
    assert [request.prompt for request in generator.requests] == [
        "a boat, valence 7, arousal 3",
        "a boat in the sun, valence 7, arousal 3",
    ]
    assert [finished.prompt for finished in finished_rounds(events)] == ["a boat", "a boat in the sun"]
    assert not any("valence 7, arousal 3" in prompt for prompt in judge.compared)


async def test_a_rewrite_leaves_room_for_the_targets_numbers() -> None:
    judge = ScriptedJudge(rewrites=["<prompt>a boat, red light, blue light, warm light</prompt>"])
    asked = replace(SETTINGS, numeric_target=True, max_prompt_tokens=12)
    generator = ScriptedGenerator()
    await run(replace(REQUEST, rounds=2), generator, judge, asked)
    assert generator.requests[1].prompt == "a boat, red light, valence 7, arousal 3"
