"""Facts that the documents repeat for their readers are those of the code."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pytest

from emofeedback.cli.options import command_parser
from emofeedback.domain.affect import LEXICON, Emotion
from emofeedback.domain.taxonomies import EKMAN_OF
from emofeedback.profiles.builtin import NANO
from emofeedback_trainer.nano.question_lessons import Asker
from emofeedback_trainer.nano.world.language import Album
from emofeedback_trainer.nano.world.numbered import scene_at
from support.documents import ROOT, blocks


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its own head."""
    section = (ROOT / "docs" / page).read_text().partition(f"\n## {heading}\n")[2]
    lines = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_table_of_emotions_says_where_the_loop_aims() -> None:
    said = {row[0]: tuple(row[1:]) for row in rows("concepts.md", "The eight emotions, and where they lie")}
    assert said == {
        emotion: (f"{word.valence_mean:.2f}", f"{word.arousal_mean:.2f}", EKMAN_OF[Emotion(emotion)])
        for emotion, word in LEXICON.items()
    }


def test_the_words_that_the_generator_is_said_to_know_are_words_that_it_knows() -> None:
    known = set((NANO / "generator" / "words.txt").read_text().split())
    said = {
        word for _, words in rows("faq.md", "Which words does the embedded world know?") for word in words.split(", ")
    }
    assert len(said) > 50 and said <= known
    [count] = re.findall(r"^(\d+) words\. Anything else", (ROOT / "docs" / "faq.md").read_text(), re.MULTILINE)
    assert int(count) == len(known)


@pytest.mark.parametrize(("page", "package"), [("services", "emofeedback"), ("trainer", "emofeedback_trainer")])
def test_the_page_of_a_package_names_every_folder_of_it_and_no_other(page: str, package: str) -> None:
    table = re.findall(r"^\|(.*?)\|", (ROOT / page / "README.md").read_text(), re.MULTILINE)
    said = {name for cell in table for name in re.findall(r"`(\w+)/`", cell)}
    assert said == {path.parent.name for path in (ROOT / page / package).glob("*/__init__.py")}


@pytest.mark.parametrize(("page", "package"), [("services", "emofeedback"), ("trainer", "emofeedback_trainer")])
def test_the_page_of_a_package_names_files_that_are_there(page: str, package: str) -> None:
    named = re.findall(r"`([\w.]+/[\w./]*)`", (ROOT / page / "README.md").read_text())
    places = (ROOT, ROOT / page / package)
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


def test_the_questions_that_are_shown_are_among_those_that_the_embedded_judge_has_learned() -> None:
    parser, commands = command_parser()
    texts = [commands["ask"].format_help(), *(block.code for block in blocks("sh"))]
    lines = [line.strip() for text in texts for line in text.splitlines() if " ask " in line and '"' in line]
    shown = [parser.parse_args(shlex.split(line.partition("  ")[0], comments=True)[1:]) for line in lines]
    asker, rng = Asker(Album([scene_at("evaluation", index) for index in range(60)])), np.random.default_rng(0)
    learned = [asker.choice(rng) for _ in range(3000)]
    options = {(one.text, option) for one in learned for option in one.options}
    assert len(shown) >= 6
    assert {asked.question for asked in shown} <= {text for text, _ in options}
    assert {(asked.question, option) for asked in shown for option in asked.option} <= options


def test_what_the_concepts_say_of_the_best_of_many_and_of_the_loop_is_what_was_measured() -> None:
    said = {row[1]: row[0] for row in rows("concepts.md", "Error")}
    measured = dict(re.findall(r"^\| (.+?) \|.*\| \**([\d.]+)\** \|$", (ROOT / "README.md").read_text(), re.MULTILINE))
    alone, looped = (
        measured[name]
        for name in ("best of n from the prompt as given", "**the loop, its first round imagined** (the default)")
    )
    assert said["the best of 24 images from the prompt as given"] == f"{float(alone):.1f}"
    assert said["the loop with 24 images"] == f"{float(looped):.1f}"
