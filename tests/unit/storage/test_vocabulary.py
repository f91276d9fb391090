from pathlib import Path

import pytest

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.storage.vocabulary import Vocabulary


def test_unknown_words_are_told_once_in_lower_case_and_in_order(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("a\ndog\nvalence\nin\n")
    vocabulary = Vocabulary.read(str(tmp_path / "words.txt"))
    assert vocabulary.unknown("A Zebra, a DOG in Größe; zebra! valence 7") == ("zebra", "größe")


def test_an_open_vocabulary_knows_every_word() -> None:
    assert Vocabulary.read("").unknown("a xylophonist") == ()


def test_a_missing_vocabulary_is_said(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="vocabulary can't be read"):
        Vocabulary.read(str(tmp_path / "words.txt"))
