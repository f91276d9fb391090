"""The report shows the whole run, needs nothing beside it, and trusts no text."""

import dataclasses
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from emofeedback.domain.assessment import Assessment
from emofeedback.domain.optimization import Candidate, RoundFinished
from emofeedback.runs.directory import RunDirectory
from emofeedback.runs.report import render_report, write_report
from emofeedback.runs.report.chart import plane_svg, round_color
from emofeedback.runs.report.page import prompt_diff
from support.staged_runs import TARGET, asked, new_run, staged_events

VOID = {"meta", "img"}


class Page(HTMLParser):
    """Collects what a browser would fetch or run, and checks that every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def report(tmp_path: Path) -> str:
    directory = RunDirectory.open(tmp_path, new_run())
    for event in staged_events():
        directory.record(event)
    return write_report(directory).read_text()


def test_it_fetches_nothing(report: str) -> None:
    page = Page(report)
    assert page.open == []
    assert page.sources and all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "script" not in page.tags and "link" not in page.tags
    assert "@import" not in report and "http" not in re.sub(r'http-equiv="', "", report)


def test_a_run_for_a_person_says_so(report: str, tmp_path: Path) -> None:
    assert "through the eyes of" not in report
    directory = RunDirectory.open(tmp_path / "hers", asked(user="ada"))
    assert "<dt>through the eyes of</dt><dd>ada</dd>" in write_report(directory).read_text()


def test_text_of_the_run_is_escaped(report: str) -> None:
    assert "<lanterns>" not in report and "&lt;lanterns&gt;" in report
    assert "<cold>" not in report and "&lt;cold&gt;" in report
    assert "<evening>" not in report and "&lt;evening&gt;" in report


def test_every_round_shows_what_changed_in_the_prompt(report: str) -> None:
    assert report.count('<section class="round"') == 3
    assert "a boat on the lake <ins>at sunset, fog</ins>" in report
    assert "<del>fog</del> <ins>candles &amp; &lt;lanterns&gt;</ins>" in report


def test_it_tells_what_was_judged_and_why(report: str) -> None:
    for words in ("It is quiet.", "Add warm light.", "1 rewrite rejected", "it lost the subject", "not judged"):
        assert words in report
    assert report.count('<span class="badge answer">') == 1
    assert report.count('<span class="badge best">') == report.count('<span class="badge worst">') == 3
    assert report.count('<span class="badge off-subject">') == 1
    assert "The generator has never seen <b>fog</b>" in report


def test_it_tells_how_sure_the_judge_was(report: str) -> None:
    assert report.count('<div class="shares"') == report.count('title="80% within: valence ')
    assert 'class="shares" title="awe 75%, ' in report or 'class="shares" title="contentment 75%, ' in report


def with_last_candidates(folder: Path, change: Callable[[Candidate], Candidate]) -> str:
    """The report, with every round's last candidate changed."""
    directory = RunDirectory.open(folder / "changed", new_run())
    for event in staged_events():
        if isinstance(event, RoundFinished):
            *others, last = event.round.candidates
            event = RoundFinished(round=dataclasses.replace(event.round, candidates=(*others, change(last))))
        directory.record(event)
    return write_report(directory).read_text()


def test_a_picture_that_the_judge_does_not_know_wears_a_badge(tmp_path: Path) -> None:
    def unfamiliar(candidate: Candidate) -> Candidate:
        assert isinstance(candidate.outcome, Assessment)
        return dataclasses.replace(candidate, outcome=dataclasses.replace(candidate.outcome, domain_score=1.7))

    assert with_last_candidates(tmp_path, unfamiliar).count('<span class="badge unfamiliar">') == 3


def test_a_picture_of_a_prompt_of_its_own_shows_it(report: str, tmp_path: Path) -> None:
    own = with_last_candidates(tmp_path, lambda candidate: dataclasses.replace(candidate, prompt="a boat & stars"))
    assert own.count("<q>a boat &amp; stars</q>") == 3
    assert "<q>a boat on the lake" not in report


def test_the_error_by_which_it_chose_stands_beside_the_judges(report: str, tmp_path: Path) -> None:
    likely = with_last_candidates(tmp_path, lambda candidate: dataclasses.replace(candidate, likely_loss=0.321))
    assert likely.count('likely error<span class="loss">0.32</span>') == 3
    assert "The likely error is corrected by what such words did" in likely
    assert "likely" not in report


def test_imagined_pictures_wear_a_badge_that_the_page_explains(report: str, tmp_path: Path) -> None:
    imagined = with_last_candidates(tmp_path, lambda candidate: dataclasses.replace(candidate, imagined=True))
    assert imagined.count('<span class="badge imagined">') == 3
    assert "An imagined image is painted from its prompt and from what" in imagined
    assert "imagined" not in report.split("</style>")[1]


def test_a_run_without_a_finished_round_has_a_report_too(tmp_path: Path) -> None:
    page = render_report(new_run(), lambda answer: b"")
    assert "No image could be judged yet" in page
    assert "not finished" in page


def test_the_path_is_a_well_formed_drawing_with_valence_right_and_arousal_up() -> None:
    rounds = [event.round for event in staged_events() if isinstance(event, RoundFinished)]
    drawing = ElementTree.fromstring(plane_svg(TARGET, rounds, None))
    path = next(line for line in drawing.iter() if line.get("class") == "path")
    points = [tuple(map(float, pair.split(","))) for pair in path.get("points", "").split()]
    assert [x for x, _ in points] == sorted(x for x, _ in points)  # the staged rounds grow pleasanter
    target = next(group for group in drawing.iter() if group.get("class") == "target")
    bull = next(mark for mark in target.iter() if mark.get("class") == "bull")
    assert points[-1] == (float(bull.get("cx", "")), float(bull.get("cy", "")))


def test_rounds_have_colors_of_their_own() -> None:
    assert len({round_color(index, 20) for index in range(20)}) == 20
    assert round_color(0, 1) == round_color(0, 3)


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("a cat", "a cat", "a cat"),
        ("a cat", "a cat, warm light", "a cat<ins>, warm light</ins>"),
        ("a grey cat", "a cat", "a <del>grey</del> cat"),
        ("", "<b>", "<ins>&lt;b&gt;</ins>"),
    ],
)
def test_a_prompt_diff_marks_words(before: str, after: str, shown: str) -> None:
    assert prompt_diff(before, after) == shown
