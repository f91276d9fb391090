"""`emofeedback ask` and `emofeedback describe`, with a judge that follows a script."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from emofeedback.domain.questions import (
    AnswerOutcome,
    Description,
    DescriptionOutcome,
    Pictures,
    Question,
    QuestionAnswer,
    ReplyFailure,
)
from support.fakes import look, paint
from support.scripted_services import ScriptedEngines

Run = Callable[..., int]


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """A harbor, a fox and a boat, in a folder of their own with a file that is no picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("harbor", "fox", "boat"):
        (folder / f"{name}.png").write_bytes(paint(f"a {name}", 1))
    (folder / "broken.png").write_bytes(b"GIF89a and nothing more")
    return [str(folder / f"{name}.png") for name in ("harbor", "fox", "boat")]


def test_an_open_question_is_answered_in_a_line(
    run: Run, pictures: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ask", pictures[0], "What is it?") == 0
    assert capsys.readouterr() == ("a harbor\n", "")


def test_two_pictures_are_looked_at_together_and_an_option_is_chosen(
    engines: ScriptedEngines, run: Run, pictures: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ask", *pictures[:2], "Which is calmer?", "--option", "the first", "--option", "the second") == 0
    assert capsys.readouterr() == ("the second  (75%)\n", "")
    [asked] = engines.scripted_judge.questions
    assert [look(image).prompt for image in asked.images] == ["a harbor", "a fox"]
    assert (asked.text, asked.options) == ("Which is calmer?", ("the first", "the second"))


def test_programs_get_an_object_a_line(run: Run, pictures: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ask", *pictures[:2], "Which?", "--option", "first", "--option", "second", "--json") == 0
    assert run("describe", pictures[2], "--json") == 0
    asked, described = map(json.loads, capsys.readouterr().out.splitlines())
    assert asked == {
        "pictures": pictures[:2],
        "question": "Which?",
        "text": "second",
        "option": 1,
        "confidence": 0.75,
        "reasoning": "It is the last.",
        "domain_score": None,
        "in_domain": None,
    }
    assert described == {"pictures": pictures[2:], "text": "a boat", "domain_score": None, "in_domain": None}


def test_of_a_folder_each_picture_is_described_and_a_bad_one_named(
    run: Run, pictures: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(pictures[0]).parent
    assert run("describe", str(folder)) == 1
    said = capsys.readouterr()
    assert said.out.splitlines() == [f"{folder / name}.png: a {name}" for name in ("boat", "fox", "harbor")]
    note, error = said.err.splitlines()
    assert note == f"note: {folder}: 4 pictures" and error.startswith(f"error: {folder / 'broken.png'}: ")


def test_a_failure_costs_only_its_own_picture(
    engines: ScriptedEngines, run: Run, pictures: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def not_of_foxes(question: Question) -> AnswerOutcome:
        prompt = look(question.images[0]).prompt
        return ReplyFailure(reason="no option") if prompt == "a fox" else QuestionAnswer(text=prompt)

    engines.scripted_judge.answers = not_of_foxes
    (Path(pictures[0]).parent / "broken.png").unlink()
    assert run("ask", str(Path(pictures[0]).parent), "What is it?", "--json") == 1
    said = capsys.readouterr()
    assert [json.loads(line)["text"] for line in said.out.splitlines()] == ["a boat", "a harbor"]
    assert f"error: {pictures[1]}: no option" in said.err.splitlines()


def test_pictures_that_are_not_of_the_judge_s_world_are_said_to_be(
    engines: ScriptedEngines, run: Run, pictures: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def foreign(shown: Pictures) -> DescriptionOutcome:
        return Description(text="Noise.", domain_score=3.0)

    engines.scripted_judge.descriptions = foreign
    assert run("describe", pictures[0]) == run("describe", *pictures[:2]) == 0
    world = "not a picture of this judge's world: its reading means little"
    assert capsys.readouterr().out.splitlines() == [
        *("Noise.", f"{pictures[0]}: {world}"),
        *("Noise.", f"{pictures[0]}, {pictures[1]}: one of them at least is {world}"),
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("What?", "--option", "yes"), "--option: has 1 entry, 2 to 10 are needed, or none for an open question"),
        (("What?", "--option", "yes", "--option", "Yes"), "question.options[1]: says the same as question.options[0]"),
        ((" ",), "QUESTION: is only white space"),
        (("x" * 2001,), "QUESTION: has 2001 characters, at most 2000 are allowed"),
    ],
)
def test_what_can_t_be_asked_is_refused_before_the_judge_is_loaded(
    engines: ScriptedEngines,
    run: Run,
    pictures: list[str],
    arguments: tuple[str, ...],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("ask", pictures[0], *arguments) == 2
    assert capsys.readouterr().err.startswith(f"error: {words}")
    assert not engines.opened


def test_three_pictures_are_too_many_and_a_folder_is_no_half_of_a_pair(
    engines: ScriptedEngines, run: Run, pictures: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(Path(pictures[0]).parent)
    assert run("ask", *pictures, "What?") == run("describe", *pictures) == run("describe", pictures[0], folder) == 2
    assert capsys.readouterr().err.splitlines() == [
        *["error: PICTURE: has 3 entries, at most 2 are allowed"] * 2,
        f"error: PICTURE: {folder} is a folder, two pictures are needed to look at together",
    ]
    assert not engines.opened


def test_a_picture_in_the_place_of_the_question_is_no_question(
    engines: ScriptedEngines, run: Run, pictures: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ask", *pictures[:2]) == 2
    assert capsys.readouterr().err.startswith(f"error: QUESTION: {pictures[1]} is a file: ")
    assert not engines.opened
