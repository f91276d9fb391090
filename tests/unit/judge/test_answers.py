"""The judge's replies to questions, as models really write them."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.domain.questions import Description, QuestionAnswer, ReplyFailure
from emofeedback.judge.answers import chosen, parse_answer, parse_choice, parse_description
from emofeedback.judge.engines.completion import Completion, TokenChoice

OPTIONS = ("a dog", "a cat", "An owl", "none of these")


def said(text: str, *, finished: bool = True) -> Completion:
    """A reply of which nothing else is known."""
    return Completion(text, (), finished)


def in_tokens(*tops: dict[str, float]) -> Completion:
    """A reply whose tokens have the given alternatives, the first of each being the written one."""
    tokens = tuple(TokenChoice(next(iter(top)), {text: math.log(p) for text, p in top.items()}) for top in tops)
    return Completion("".join(token.text for token in tokens), tokens, True)


@pytest.mark.parametrize(
    "reply",
    [
        *("a cat", " a cat\n", "A cat.", '"a  cat"', "- a cat", "**A CAT**", "(a cat)", "<answer>a cat</answer>"),
        *("Answer: a cat", "The answer is a cat.", "The correct answer is: a cat", "My final answer is option: a cat"),
        *("<think>a dog? No.</think>a cat", "<answer>a dog</answer> no: <answer>a cat</answer>"),
        *("a cat\nIt has whiskers.", "a\u00a0cat"),
    ],
)
def test_an_option_may_be_said_in_many_ways(reply: str) -> None:
    outcome = parse_choice(said(reply), OPTIONS)
    assert isinstance(outcome, QuestionAnswer)
    assert (outcome.text, outcome.option) == ("a cat", 1)


def test_what_was_thought_before_a_choice_comes_with_it() -> None:
    reply = "<think>It shows a cat, with crows.\nNo dog.</think><answer> a cat</answer>"
    expected = QuestionAnswer(text="a cat", option=1, reasoning="It shows a cat, with crows. No dog.")
    assert parse_choice(said(reply), OPTIONS) == expected


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        *((reply, reply) for reply in ("B", "I'm sorry, I can't.", "7 3 awe", "a dog or a cat", "a dog, a cat")),
        *((reply, reply) for reply in ("It is not a cat", "a", "a catfish")),
        ("a dog\na cat", "a dog a cat"),
        ("- a dog\n- a cat\n- An owl", "- a dog - a cat - An owl"),
        ("<think>Rain, no sun.</think><answer> a fox</answer>", "a fox"),
    ],
)
def test_what_is_no_option_is_a_failure_that_quotes_it_and_names_the_options(reply: str, words: str) -> None:
    outcome = parse_choice(said(reply), OPTIONS)
    assert isinstance(outcome, ReplyFailure)
    offered = "none of the options (a dog, a cat, An owl, none of these)"
    assert outcome.reason == f"the judge says {words!r}, {offered}: offer that too, or ask without options"


@pytest.mark.parametrize(
    ("reply", "told"), [("", "no reply"), ("<think>It must be a cat", "reply: '<think>It must be a cat'")]
)
def test_a_reply_without_an_answer_says_nothing(reply: str, told: str) -> None:
    assert parse_choice(said(reply), OPTIONS) == ReplyFailure(reason=f"the reply says nothing ({told})")


def test_options_that_differ_in_their_marks_alone_are_told_apart_to_the_letter() -> None:
    options = ("really?", "really!")
    assert parse_choice(said("really!"), options) == QuestionAnswer(text="really!", option=1)
    assert isinstance(parse_choice(said("really"), options), ReplyFailure)


def confidence(options: Sequence[str], *tops: dict[str, float]) -> float | None:
    outcome = parse_choice(in_tokens(*tops), options)
    assert isinstance(outcome, QuestionAnswer)
    return outcome.confidence


def test_the_confidence_is_the_option_s_share_among_the_options() -> None:
    tops: list[dict[str, float]] = [{"yes": 0.4, "no": 0.2, " No": 0.2, "maybe": 0.2}, {".": 1.0}]
    assert confidence(("yes", "no"), *tops) == pytest.approx(0.5)


def test_what_options_have_in_common_tells_nothing_and_what_differs_everything() -> None:
    tops: list[dict[str, float]] = [{"the": 0.9, "both": 0.1}, {" first": 0.6, " second": 0.4}, {" one": 1.0}]
    assert confidence(("the first one", "the second one"), *tops) == pytest.approx(0.6)
    assert confidence(("the first one", "the second one", "both"), *tops) == pytest.approx(0.9 * 0.6)


def test_a_beginning_of_several_options_is_shared_among_them() -> None:
    tops: list[dict[str, float]] = [{"anger": 0.5, "a": 0.3, "fear": 0.2}]
    assert confidence(("anger", "awe", "fear"), *tops) == pytest.approx(0.5 + 0.3 / 2)


def test_an_option_that_goes_on_where_another_ends_is_told_by_the_end() -> None:
    tops: list[dict[str, float]] = [{"a": 1.0}, {" dog": 1.0}, {" asleep": 0.75, "": 0.25}]
    assert confidence(("a dog", "a dog asleep"), *tops) == pytest.approx(0.75)


def test_the_options_are_weighed_where_the_reply_says_one() -> None:
    tops: list[dict[str, float]] = [{"Answer": 0.9, "no": 0.1}, {":": 1.0}, {" yes": 0.75, " no": 0.25}]
    assert confidence(("yes", "no"), *tops) == pytest.approx(0.75)


def test_every_option_has_its_share() -> None:
    tops: list[dict[str, float]] = [{"the": 0.8, "The": 0.1, "both": 0.1}, {" first": 0.6, " second": 0.4}, {" one": 1}]
    found = chosen(in_tokens(*tops), ("both", "the second one", "the first one"))
    assert found is not None and found.option == 2
    assert found.shares == pytest.approx((0.1, 0.9 * 0.4, 0.9 * 0.6))


@pytest.mark.parametrize(
    ("tops", "shares"),
    [
        # "Yes" begins with a blank in a token of its own, "No" with one that holds its first letter too.
        ([{" ": 0.6, " N": 0.4}, {"Yes": 1.0}], (0.6, 0.4)),
        ([{" N": 0.6, " ": 0.4}, {"o": 1.0}], (0.4, 0.6)),
        ([{"<answer>": 1.0}, {" ": 0.6, " N": 0.4}, {"Yes": 0.75, "No": 0.25}], (0.6 * 0.75, 0.4 + 0.6 * 0.25)),
        ([{"Answer": 1.0}, {":": 1.0}, {" ": 0.6, " N": 0.4}, {"Yes": 1.0}], (0.6, 0.4)),
        ([{"Answer:": 1.0}, {" ": 0.6, " N": 0.4}, {"Yes": 1.0}], (0.6, 0.4)),
        # One that no option needs, and the reply's end, tell nothing.
        ([{"Yes": 0.4, "No": 0.2, " ": 0.2, "": 0.2}], (2 / 3, 1 / 3)),
    ],
)
def test_a_blank_before_an_option_counts_for_those_that_begin_with_it(
    tops: list[dict[str, float]], shares: tuple[float, ...]
) -> None:
    found = chosen(in_tokens(*tops), ("Yes", "No"))
    assert found is not None and found.shares == pytest.approx(shares)


def test_the_temperature_divides_the_log_odds_of_the_options_and_keeps_the_choice() -> None:
    reply, options = (
        in_tokens({"a fox": 0.64, "a boat": 0.16, "a dog": 0.04, "the": 0.16}),
        ("a dog", "a boat", "a fox"),
    )
    warm, as_said = parse_choice(reply, options, 2.0), parse_choice(reply, options)
    assert isinstance(warm, QuestionAnswer) and warm.confidence == pytest.approx(0.8 / (0.8 + 0.4 + 0.2))
    assert isinstance(as_said, QuestionAnswer) and as_said.confidence == pytest.approx(0.64 / 0.84)
    assert replace(warm, confidence=None) == replace(as_said, confidence=None)


def test_without_probabilities_there_is_no_confidence() -> None:
    assert confidence(("yes", "no"), {"yes": 1.0}) == 1.0
    assert parse_choice(said("yes"), ("yes", "no")) == QuestionAnswer(text="yes", option=0, confidence=None)


@given(st.text(), st.lists(st.text(min_size=1), min_size=2, max_size=10, unique=True))
def test_whatever_is_replied_comes_out_as_an_outcome(reply: str, options: list[str]) -> None:
    outcome = parse_choice(said(reply), options)
    assert isinstance(outcome, ReplyFailure) or outcome.text == options[outcome.option or 0]
    assert isinstance(parse_answer(said(reply)), QuestionAnswer | ReplyFailure)


def test_prose_is_told_without_its_thoughts_and_a_cut_one_says_so() -> None:
    assert parse_answer(said("<think>hm</think> A red fox.\n")) == QuestionAnswer(text="A red fox.")
    assert parse_description(said("It is calm and", finished=False)) == Description(text="It is calm and \u2026")
    for parse in (parse_answer, parse_description):
        outcome = parse(said(" \n"))
        assert isinstance(outcome, ReplyFailure) and outcome.reason == "the reply says nothing (no reply)"


def test_a_reply_that_no_numbers_chose_is_none() -> None:
    broken = replace(said("a cat"), finite=False)
    for outcome in (parse_choice(broken, OPTIONS), parse_answer(broken), parse_description(broken)):
        assert isinstance(outcome, ReplyFailure) and "gives NaN or infinity" in outcome.reason
