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


@pytest.mark.parametrize(
    ("prompt", "limit", "shortened"),
    [
        ("a" * 300, 40, "a" * 40),
        ("湖のほとりの家、夕暮れの光、静かな水面に映る山々", 16, "湖のほとりの家、夕暮れの光"),
        ("湖のほとりの家と夕暮れの光と静かな水面に映る山々", 10, "湖のほとりの家と夕暮"),
        ("a cat 湖のほとりの家と夕暮れの光と静かな水面に映る山々", 16, "a cat 湖のほとりの家と夕暮"),
        ("แมวน้ำตัวเล็กในทะเลสาบ", 5, "แมวน้"),
        ("e\u0301" * 20, 5, "e\u0301e\u0301"),
        ("👩\u200d🚀" * 5, 5, "👩\u200d🚀"),
    ],
)
def test_a_prompt_without_spaces_is_cut_between_two_letters(prompt: str, limit: int, shortened: str) -> None:
    assert shorten(prompt, lambda text: len(text) <= limit) == shortened


def test_where_not_even_a_letter_fits_the_tokenizer_has_to_cut() -> None:
    assert shorten("猫", lambda text: False) == "猫"


@given(
    text=st.text(alphabet="ab, .;-\n猫、。", max_size=80) | st.text(alphabet="猫、。", max_size=80),
    limit=st.integers(1, 30),
)
def test_what_is_kept_is_a_beginning_that_fits(text: str, limit: int) -> None:
    kept = shorten(text, lambda text: len(text) <= limit)
    assert text.startswith(kept)
    assert len(kept) <= limit
    assert kept or not text
