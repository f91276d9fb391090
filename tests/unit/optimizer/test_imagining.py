"""The loop, where it paints from what the judge imagines."""

from dataclasses import replace

import pytest

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.generation import GenerationRequest
from emofeedback.domain.optimization import ImageJudged, ImagePainted, PromptUpdated, RoundFinished
from emofeedback.domain.reasoning import Imagination
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.profiles.profile import with_policies
from support.fakes import JUDGE_MODEL, SCRIPTED_VARIATIONS, ScriptedGenerator, ScriptedJudge, feeling_of, look
from support.fakes import scripted_tokens as imagined
from support.scripted_loop import REQUEST, SETTINGS, TARGET, collect, of, run

IMAGINED = replace(REQUEST, policy="felt", imagine=True)


def fused() -> ScriptedGenerator:
    return ScriptedGenerator(known_policies=("felt", "warm"), fused={"felt": JUDGE_MODEL})


async def test_the_prompt_as_asked_for_is_imagined_once_and_each_image_painted_from_its_variation() -> None:
    judge = ScriptedJudge(rewrites=["<prompt>x</prompt>", "<prompt>y</prompt>", "<prompt>z</prompt>"])
    settings = replace(SETTINGS, rewrites=3, numeric_target=True)
    events = await run(replace(IMAGINED, rounds=2, images=7), fused(), judge, settings)
    asked = Imagination(prompt="a boat", target=TARGET)
    assert judge.subjects == [asked]
    finished = [[c.imagined for c in event.round.candidates] for event in of(RoundFinished, events)]
    assert finished == [[True] * 7, [False] * 7]
    assert len(of(ImagePainted, events)) == 14
    for event in of(ImagePainted, events):
        picture = look(event.image.data)
        prompt, numbers = picture.prompt.split(",", 1)
        assert numbers == " valence 7, arousal 3"
        if event.round == 0:
            states = imagined(asked, SCRIPTED_VARIATIONS).states
            assert picture.felt == feeling_of(states, event.image.index % SCRIPTED_VARIATIONS, 1.0)
        else:
            assert (prompt in "xyz", picture.felt) == (True, "")


@pytest.mark.parametrize(
    ("request_says", "profile_says", "policy", "expected"),
    [
        (None, False, "felt", False),
        (None, True, "", True),
        (None, True, "felt", False),
        (True, False, "felt", True),
        (False, True, "", False),
    ],
)
async def test_whether_it_imagines(request_says: bool | None, profile_says: bool, policy: str, expected: bool) -> None:
    generator, judge = fused(), ScriptedJudge()
    generator.fused = {"felt": JUDGE_MODEL, "": JUDGE_MODEL}
    request = replace(REQUEST, rounds=1, policy=policy, imagine=request_says)
    events = await run(request, generator, judge, replace(SETTINGS, imagine=profile_says))
    assert [bool(judge.subjects), generator.requests[0].emotion is not None] == [expected, expected]
    assert {event.candidate.imagined for event in of(ImageJudged, events)} == {expected}


async def test_a_round_that_keeps_the_prompt_because_no_rewrite_was_usable_is_imagined_as_well() -> None:
    judge = ScriptedJudge(rewrites=["nothing.\n\nof use"] * 9)
    events = await run(replace(IMAGINED, rounds=2), fused(), judge)
    assert [event.fell_back for event in of(PromptUpdated, events)] == [True]
    assert {event.candidate.imagined for event in of(ImageJudged, events)} == {True}


@pytest.mark.parametrize("broken", ["judge", "policy"])
async def test_where_nothing_can_be_imagined_the_run_ends_before_anything_is_painted(broken: str) -> None:
    generator, judge = fused(), ScriptedJudge()
    if broken == "judge":
        judge = ScriptedJudge(failures={"reason": FailedPrecondition("has no reasoning tokens")})
    request = replace(IMAGINED, policy="felt" if broken == "judge" else "warm")
    with pytest.raises(FailedPrecondition, match="reasoning tokens" if broken == "judge" else "'warm' was not fused"):
        await collect([], request, generator, judge)
    assert (generator.images_done, "assess_stream" in judge.calls[1:]) == (0, False)


async def test_without_imagining_nothing_of_a_request_changes() -> None:
    generator = fused()
    await run(replace(REQUEST, rounds=1, policy="felt"), generator)
    assert generator.requests == [GenerationRequest(prompt="a boat", seeds=(10, 11, 12, 13), policy="felt")]


def test_policies_of_another_store_are_not_imagined_for_by_default() -> None:
    profile = replace(NANO_PROFILE, optimizer=replace(NANO_PROFILE.optimizer, imagine=True))
    assert with_policies(profile, "elsewhere").optimizer.imagine is False
