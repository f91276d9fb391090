"""Prompts are shortened where a phrase ends, never silently cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.optimizer.length import estimated_tokens, shortened


def test_common_words_and_punctuation_marks_count_one_each():
    assert estimated_tokens("a red boat, at dawn.") == 7


def test_long_words_count_by_their_length_and_other_scripts_by_the_character():
    assert estimated_tokens("thunderstorm") == 2
    assert estimated_tokens("灯台") == 2


def test_a_prompt_that_fits_stays_as_it_is():
    assert shortened("a red boat, at dawn.", 7) == "a red boat, at dawn."


def test_a_longer_one_keeps_its_first_phrases():
    assert shortened("a lighthouse on a cliff, warm light, birds over the sea, a rainbow", 12) == (
        "a lighthouse on a cliff, warm light"
    )


def test_a_first_phrase_that_is_too_long_ends_at_a_word():
    assert shortened("a lighthouse on a cliff above the sea", 5) == "a lighthouse on a"


@given(prompt=st.text(alphabet="abcd efgh,.;", max_size=200), tokens=st.integers(5, 40))
def test_what_is_left_always_fits_and_is_how_the_prompt_begins(prompt, tokens):
    short = shortened(prompt, tokens)
    assert estimated_tokens(short) <= tokens or short == prompt
    assert prompt.startswith(short)


@pytest.mark.parametrize("prompt", ["", "   ", ",,,"])
def test_a_prompt_of_nothing_is_left_alone(prompt):
    assert shortened(prompt, 10) == prompt
