"""The judge's replies to questions, as models really write them."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.domain.questions import Description, QuestionAnswer, ReplyFailure
from emofeedback.judge.answers import letter_shares, parse_answer, parse_choice, parse_description
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
        *(
            "B",
            " B\n",
            "b",
            "B.",
            "(B)",
            "**B**",
            "b)",
            "B) a cat",
            "B. a cat",
            "B\na cat",
            "B: A cat.",
            "<answer>B</answer>",
        ),
        *("Answer: B", "The answer is B.", "The correct answer is: (B)", "Option B", "My final answer is option B."),
        *("a cat", "A cat.", '"a  cat"', "<think>A dog? A. No.</think>B", "<answer>A</answer> no: <answer>B</answer>"),
        *("B. I think so.", "\uff22", "`B`"),
    ],
)
def test_an_option_may_be_named_in_many_ways(reply: str) -> None:
    assert parse_choice(said(reply), OPTIONS) == QuestionAnswer(text="a cat", option=1)


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ("", "the reply is none of the options (no reply)"),
        ("E", "E is not one of the options A to D (reply: 'E')"),
        ("I'm sorry, I can't.", "the reply is none of the options"),
        ("7 3 awe", "the reply is none of the options"),
        ("A or B", "the reply is none of the options"),
        ("A dog is in it, I think", "the reply is none of the options"),
        ("It is not option B", "the reply is none of the options"),
        ("A. a cat", "the reply names more than one option"),
        ("A. No, B.", "the reply names more than one option"),
        ("<think>It must be B", "the reply is none of the options"),
    ],
)
def test_what_is_no_option_is_a_failure_that_says_why(reply: str, problem: str) -> None:
    outcome = parse_choice(said(reply), OPTIONS)
    assert isinstance(outcome, ReplyFailure)
    assert outcome.reason.startswith(problem)


def test_the_confidence_is_the_letter_s_share_among_the_options_letters() -> None:
    outcome = parse_choice(in_tokens({"B": 0.4, " A": 0.2, "C": 0.2, "E": 0.1, "the": 0.1}, {".": 1.0}), OPTIONS)
    assert isinstance(outcome, QuestionAnswer)
    assert outcome.option == 1 and outcome.confidence == pytest.approx(0.5)


def test_the_letters_are_read_where_the_letter_stands() -> None:
    outcome = parse_choice(in_tokens({"Answer": 0.9, "A": 0.1}, {":": 1.0}, {" B": 0.75, " A": 0.25}), OPTIONS)
    assert isinstance(outcome, QuestionAnswer)
    assert outcome.option == 1 and outcome.confidence == pytest.approx(0.75)


def test_an_option_s_text_is_as_sure_as_its_letter_was_in_its_place() -> None:
    outcome = parse_choice(in_tokens({"a": 0.5, "B": 0.3, "A": 0.1}, {" cat": 1.0}), OPTIONS)
    assert isinstance(outcome, QuestionAnswer)
    assert outcome.option == 1 and outcome.confidence == pytest.approx(0.75)


def test_without_probabilities_there_is_no_confidence() -> None:
    outcome = parse_choice(in_tokens({"a": 1.0}, {" cat": 1.0}), OPTIONS)
    assert isinstance(outcome, QuestionAnswer) and outcome.confidence is None
    assert letter_shares({"the": -0.1}, 4) == {}


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
    broken = replace(said("B"), finite=False)
    for outcome in (parse_choice(broken, OPTIONS), parse_answer(broken), parse_description(broken)):
        assert isinstance(outcome, ReplyFailure) and "gives NaN or infinity" in outcome.reason
