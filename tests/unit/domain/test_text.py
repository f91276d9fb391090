from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.domain.text import shorten


def words_fit(limit: int) -> Callable[[str], bool]:
    return lambda text: len(text.split()) <= limit


def test_a_prompt_that_fits_stays_as_it_is() -> None:
    assert shorten("  a dog,  and a cat ", words_fit(5)) == "  a dog,  and a cat "


@pytest.mark.parametrize(
    ("limit", "shortened"),
    [
        (5, "a small dog in a"),
        (8, "a small dog in a green meadow"),
        (11, "a small dog in a green meadow, under a rainbow"),
        (12, "a small dog in a green meadow, under a rainbow; golden light"),
    ],
)
def test_a_long_prompt_ends_with_a_phrase_or_else_with_a_word(limit: int, shortened: str) -> None:
    prompt = "a small dog in a green meadow, under a rainbow; golden light, kites"
    assert shorten(prompt, words_fit(limit)) == shortened


def test_a_phrase_end_that_would_lose_most_is_passed_over() -> None:
    assert shorten("stop, a very long road through a desert of sand", words_fit(6)) == "stop, a very long road through"


def test_a_decimal_point_and_a_hyphen_end_no_phrase() -> None:
    assert shorten("a well-known dog at f 1.8 in rain and snow", words_fit(6)) == "a well-known dog at f 1.8"


def test_one_endless_word_is_left_to_the_tokenizer() -> None:
    assert shorten("a" * 300, lambda text: len(text) <= 40) == "a" * 300


@given(text=st.text(alphabet="ab, .;-\n", max_size=80), limit=st.integers(1, 30))
def test_what_is_kept_is_a_beginning_that_fits(text: str, limit: int) -> None:
    kept = shorten(text, lambda text: len(text) <= limit)
    assert text.startswith(kept)
    assert len(kept) <= limit or kept == text
