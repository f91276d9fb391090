"""What the agent writes agrees with the numbers, with what was seen and with the user's words."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.optimization import GradientEstimated, PromptUpdated
from emofeedback.domain.text import estimated_tokens, words
from emofeedback.optimizer.faithfulness import direction, faithful_analysis, lost_negations, negations, objection
from emofeedback.storage.vocabulary import Vocabulary
from support.fakes import ScriptedJudge, assessment
from support.scripted_loop import REQUEST, SETTINGS, finished_rounds, of, run

KNOWN = Vocabulary(
    frozenset({"a", "the", "dog", "house", "lake", "by", "in", "under", "sunny", "stormy", "sky", "with", "crows"})
)
OPEN = Vocabulary(None)
BEST, WORST = AffectPoint(3.3, 6.0), AffectPoint(7.0, 2.0)
TARGET = AffectPoint(3.0, 4.0)
SEEN = (
    "a dog by a lake",
    "It shows a dog under a stormy sky. The mood comes from crows.",
    "It shows a smiling dog with a red ball, under a sunny sky.",
)


def faithful(analysis: str, target: AffectPoint = TARGET, seen: Sequence[str] = SEEN) -> str:
    return faithful_analysis(analysis, target=target, best=BEST, worst=WORST, seen=seen)


# --- the analysis ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "way"),
    [
        (AffectPoint(5.0, 4.0), "more pleasant and calmer"),
        (AffectPoint(2.0, 7.0), "less pleasant and more stirring"),
        (AffectPoint(3.0, 8.0), "more stirring"),
        (AffectPoint(3.0, 6.1), "slightly less pleasant"),
        (AffectPoint(3.31, 6.0), "the same"),
    ],
)
def test_the_direction_is_told_from_the_numbers(target: AffectPoint, way: str) -> None:
    assert direction(BEST, target) == way


@pytest.mark.parametrize("guess", ["more pleasant and more stirring", "more pleasant, calmer", "the same"])
def test_the_aim_of_an_analysis_is_computed(guess: str) -> None:
    said = faithful(f"To be {guess}, add a stormy sky; take out crows.")
    assert said == "To be calmer, add a stormy sky; take out crows."


def test_an_analysis_without_an_aim_gets_one() -> None:
    assert faithful("Add soft light.") == "Add soft light. The next picture should be calmer."
    assert faithful("To come nearer to the target, add soft light.") == "To be calmer, add soft light."


@pytest.mark.parametrize(
    "sentence",
    [
        "It should be more stirring.",
        "Aim for a livelier mood.",
        "Raise the valence and the mood.",
        "The first picture is more pleasant than the second.",
        "The second picture is less pleasant because of crows.",
        "The first picture is calmer than the target.",
    ],
)
def test_a_sentence_against_the_numbers_goes(sentence: str) -> None:
    assert faithful(f"{sentence} To be calmer, add soft light.") == "To be calmer, add soft light."


@pytest.mark.parametrize(
    "sentence",
    [
        "The first picture is less pleasant than the second because of crows.",
        "The second is calmer than the first.",
        "The first picture is more stirring than the target.",
        "Lower the arousal with soft light.",
    ],
)
def test_a_sentence_that_the_numbers_bear_out_stays(sentence: str) -> None:
    assert sentence in faithful(f"{sentence} To be calmer, add soft light.")


def test_how_the_pictures_feel_is_said_by_their_numbers() -> None:
    said = faithful("The first picture is very pleasant, calm because of crows. To be calmer, add soft light.")
    assert said.startswith("The first picture is unpleasant, stirring because of crows.")


def test_reasons_and_things_to_take_out_that_nobody_saw_go() -> None:
    said = faithful(
        "The first picture is unpleasant, stirring because of crows and slime. The second is grey due to fog. "
        "To be calmer, add candles, a smiling dog; take out a stormy sky, tombstones, a smiling dog, a red light and "
        "a stormy sky."
    )
    assert said == (
        "The first picture is unpleasant, stirring because of crows. The second is grey. "
        "To be calmer, add candles, a smiling dog; take out a stormy sky."
    )


def test_taking_out_only_what_was_never_there_leaves_the_rest_of_the_sentence() -> None:
    assert faithful("To be calmer, add candles; take out slime.") == "To be calmer, add candles."
    assert faithful("To be calmer, add candles. Remove the slime to calm it.") == "To be calmer, add candles."
    assert faithful("Take out slime.") == ""


def test_where_it_is_not_known_what_was_seen_nothing_is_missed() -> None:
    assert "slime" in faithful("To be calmer, take out slime.", seen=())


def test_other_forms_of_a_word_are_the_same_thing() -> None:
    assert faithful("To be calmer, take out the crow.") == "To be calmer, take out the crow."


scale = st.floats(1, 9)
points = st.builds(AffectPoint, scale, scale)


@given(
    points, points, points,
    st.lists(st.sampled_from([
        "To be more pleasant and calmer, add a dog.", "To be less pleasant, take out crows.", "It needs to be calmer.",
        "The first picture is more pleasant than the second.", "The second is more stirring.", "Add light.",
    ]), min_size=1, max_size=4),
)  # fmt: skip
def test_whatever_an_analysis_says_of_more_and_less_agrees_with_the_numbers(
    target: AffectPoint, best: AffectPoint, worst: AffectPoint, sentences: list[str]
) -> None:
    said = faithful_analysis(" ".join(sentences), target=target, best=best, worst=worst)
    for sentence in said.split(". "):
        now, then = best, target
        if "The first" in sentence:
            now, then = worst, best
        elif "The second" in sentence:
            now, then = best, worst
        assert "more pleasant" not in sentence or then.valence > now.valence
        assert "less pleasant" not in sentence or then.valence < now.valence
        assert "more stirring" not in sentence or then.arousal > now.arousal
        assert "calmer" not in sentence or then.arousal < now.arousal


async def test_the_loop_holds_the_analysis_against_what_the_judge_said_aloud() -> None:
    analysis = "To be happier, add candles; take out slime and valence."
    events = await run(
        replace(REQUEST, rounds=2),
        judge=ScriptedJudge(feeling=lambda picture: assessment(7.0, 4.0 + picture.seed % 3), analyses=[analysis]),
    )
    [gradient] = of(GradientEstimated, events)
    assert gradient.analysis == "To be calmer, add candles; take out valence."


async def test_an_analysis_that_nothing_is_left_of_is_asked_for_again() -> None:
    events = await run(
        replace(REQUEST, rounds=2), judge=ScriptedJudge(analyses=["Take out slime.", "Take out the slime.", "Add sun."])
    )
    [update] = of(PromptUpdated, events)
    assert [rejection.prompt for rejection in update.rejected] == ["Take out slime.", "Take out the slime."]
    assert "bear out nothing" in update.rejected[0].reason
    assert update.fell_back


# --- the rewrite -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rewrite", "original", "reason"),
    [
        ("a spaceshipopo under a stormy sky", "a spaceship over Tokyo", "spaceshipopo"),
        ("m5e he hapy under a sunny sky", "make me happy", "m5e, he, hapy"),
        ("a dog by the lake", "a turtle by the lake", "lost words of the prompt: turtle"),
        ("a house under a sunny sky, 2 dogs", "a house", "2, dogs"),
        ("a house by a lake, no lake", "a house, no lake", "excludes: lake"),
    ],
)
def test_a_rewrite_of_other_words_is_refused(rewrite: str, original: str, reason: str) -> None:
    assert reason in (objection(rewrite, original, KNOWN) or "")


def test_the_words_of_prompt_and_vocabulary_are_free() -> None:
    assert objection("a Spaceship over tokyo under a stormy sky", "a spaceship over Tokyo", KNOWN) is None
    assert objection("a gothic castle at dusk", "a castle", OPEN) is None


@pytest.mark.parametrize(
    ("rewrite", "original"),
    [
        ("a spaceshipopo over Tokyo", "a spaceship over Tokyo"),
        ("m5e in a meadow", "me in a meadow"),
        ("a mountainninin at dusk", "Mountain"),
    ],
)
def test_miswritten_words_are_refused_with_an_open_vocabulary(rewrite: str, original: str) -> None:
    assert "miswritten" in (objection(rewrite, original, OPEN) or "")


@pytest.mark.parametrize(
    ("rewrite", "original"),
    [
        ("two spaceships over a rainbow", "a spaceship in the rain"),
        ("a flower in a flowerbed", "a flower"),  # the word itself is there
        ("a castle at dusk", "a castel at dusk"),  # the user's own mistake, mended
        ("a b2b fair, 3d render", "a B2B fair"),
        ("ein wunderschönes Haus am See", "ein Haus am See"),
    ],
)
def test_other_words_are_free_with_an_open_vocabulary(rewrite: str, original: str) -> None:
    assert objection(rewrite, original, OPEN) is None


def test_what_the_prompt_excludes_is_not_added_with_any_vocabulary() -> None:
    assert objection("a house on a lake at dusk", "a house without any lakes in sight", OPEN) is not None
    assert objection("a city at dusk", "a street with no people in the city", OPEN) is None


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        (
            "a house without any trees, no lake, not raining",
            ["without any trees", "no lake", "not raining"],
        ),
        ("a dog that isn't barking but asleep", ["isn't barking"]),
        ("a knot in a notebook", []),
    ],
)
def test_negations_are_found(prompt: str, found: list[str]) -> None:
    assert negations(prompt) == found


async def test_what_a_prompt_excludes_is_written_behind_a_rewrite_that_lost_it() -> None:
    prompt = "a house without any trees, no lake"
    judge = ScriptedJudge(rewrites=["<prompt>a house on a plain, no lake</prompt>"])
    [update] = of(PromptUpdated, await run(replace(REQUEST, prompt=prompt, rounds=2), judge=judge))
    assert (update.prompt, update.rejected) == ("a house on a plain, no lake, without any trees", ())


VOCABULARY = sorted(KNOWN.words or ())
vocabulary = st.sampled_from(VOCABULARY)
own = st.sampled_from(
    ["spaceship", "Tokyo", "dog", "house", "m5e", "without trees", "no lake", "isn't sad", ",", "\N{ROCKET}"]
)
written = st.one_of(vocabulary, own, st.text(max_size=8))


@given(st.lists(own, min_size=1, max_size=8), st.lists(written, min_size=1, max_size=12))
async def test_no_rewrite_brings_a_foreign_word_or_loses_a_negation(
    tmp_path_factory: pytest.TempPathFactory, prompt: list[str], rewrite: list[str]
) -> None:
    file = tmp_path_factory.getbasetemp() / "words.txt"
    file.write_text("\n".join(VOCABULARY), encoding="utf-8")
    original = f"a {' '.join(prompt)}"
    settings = replace(SETTINGS, vocabulary=str(file), rewrite_attempts=1)
    judge = ScriptedJudge(rewrites=[f"<prompt>{' '.join(rewrite)}</prompt>"])
    events = await run(replace(REQUEST, prompt=original, rounds=2, images=1), judge=judge, settings=settings)
    painted = finished_rounds(events)[-1].prompt
    assert set(words(painted)) <= set(words(original)) | set(VOCABULARY)
    assert not lost_negations(painted, original)


@given(st.integers(12, 40))
async def test_a_rewrite_keeps_its_negations_where_it_is_shortened(limit: int) -> None:
    prompt = "a house without any trees"
    judge = ScriptedJudge(rewrites=["<prompt>a house, warm light, a long road, soft clouds, birds far away</prompt>"])
    events = await run(
        replace(REQUEST, prompt=prompt, rounds=2), judge=judge, settings=replace(SETTINGS, max_prompt_tokens=limit)
    )
    [update] = of(PromptUpdated, events)
    assert update.prompt.endswith(", without any trees")
    assert estimated_tokens(update.prompt) <= limit
