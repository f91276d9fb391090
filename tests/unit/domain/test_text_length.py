"""How long a prompt is, as far as the loop can know."""

import pytest

from emofeedback.domain.text import estimated_tokens


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [("", 0), ("a red boat, at dawn.", 7), ("thunderstorm", 2), ("灯台", 2), ("don't", 3)],
)
def test_words_count_by_their_letters_and_marks_and_other_scripts_by_the_character(prompt: str, tokens: int) -> None:
    assert estimated_tokens(prompt) == tokens
