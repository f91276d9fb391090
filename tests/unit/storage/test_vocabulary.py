from pathlib import Path

import pytest

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.storage.vocabulary import Vocabulary


def test_unknown_words_are_told_once_in_lower_case_and_in_order(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("a\ndog\nvalence\nin\n")
    vocabulary = Vocabulary.read(str(tmp_path / "words.txt"))
    assert vocabulary.unknown("A Zebra, a DOG in Größe; zebra! valence 7") == ("zebra", "größe")


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("\N{ROCKET}\N{ROCKET} \N{DOG FACE}", ("\N{ROCKET}", "\N{DOG FACE}")),
        ("a dog \N{ROCKET}", ("\N{ROCKET}",)),
        ("?! ...", ("?!", "...")),
        ("42", ("42",)),
        ("a dog, 42!", ()),
        ("a dog isn't in", ("isn't",)),
    ],
)
def test_signs_and_numbers_alone_are_unknown_as_words_are(
    prompt: str, unknown: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "words.txt").write_text("a\ndog\nin\n")
    assert Vocabulary.read(str(tmp_path / "words.txt")).unknown(prompt) == unknown


def test_an_open_vocabulary_knows_every_word() -> None:
    assert Vocabulary.read("").unknown("a xylophonist") == ()


def test_a_missing_vocabulary_is_said(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="vocabulary can't be read"):
        Vocabulary.read(str(tmp_path / "words.txt"))
