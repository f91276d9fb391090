"""The report of a training run shows what was learned and at what price, needs nothing beside it, trusts no text."""

from __future__ import annotations

import json
import math
import re
import shutil
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import FailedPrecondition
from emofeedback_trainer.flow_grpo.reporting.html import render_report, write_report
from emofeedback_trainer.flow_grpo.reporting.svg import arrows_svg, bounds, lines_svg, smoothed, ticks
from support.staged_training import stage_run


class Page(HTMLParser):
    """Collects what a browser would fetch or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]

    handle_startendtag = handle_starttag


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "calm"
    stage_run(folder, iterations=40, pairs=3, alarm_at=30)
    return folder


@pytest.fixture
def folder(staged: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(staged, tmp_path / "calm"))


def test_it_needs_nothing_beside_it_and_escapes_text(folder: Path) -> None:
    text = write_report(folder).read_text()
    page = Page(text)
    assert page.sources and all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "script" not in page.tags and "link" not in page.tags and "http" not in text.replace("http-equiv", "")
    assert "calm &lt;&amp;&gt; co" in text and "calm <&>" not in text


def test_it_shows_the_panel_before_and_after(folder: Path) -> None:
    text = render_report(folder)
    first, *_, last = [json.loads(line) for line in (folder / "eval.jsonl").read_text().splitlines()]
    assert f"<i>{first['error']:.2f}</i> → {last['error']:.2f}" in text
    assert f"<i>{first['valence_correlation']:.2f}</i> → {last['valence_correlation']:.2f}" in text
    assert "before training → after 40 iterations" in text
    assert text.count('<article class="pair">') == 3
    assert text.count("<img ") == 3 * 2 * 2


def test_figures_of_the_judge_that_rewards_are_told_as_such(folder: Path) -> None:
    assert "by the independent judge" in render_report(folder) and "flatter" not in render_report(folder)
    path = folder / "eval.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        del line["subject_accuracy"], line["valence_correlation"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = render_report(folder)
    assert "by the rewarding judge" in text and "flatter the policy" in text and "n/a" in text
    assert "independent" not in text.lower()


def test_it_says_what_it_was_made_with(folder: Path) -> None:
    text = render_report(folder)
    for words in (
        "emofeedback-train flow-grpo --config nano --out runs/calm",
        "nano-generator · sha256:3a3a",
        "nano-judge · sha256:5b5b",
        "calm-final · sha256:7c7c",
        "learner.rank = ",
        "<b>finished</b> after 40 of 40 iterations, in 52 min",
    ):
        assert words in text


def test_an_alarm_is_told_at_the_top_and_marked_in_every_chart(folder: Path) -> None:
    text = render_report(folder)
    assert "<b>iteration 30</b> the reward rises, but pictures lose their light" in text
    assert text.count('<g class="alarm">') == text.count('<figure class="curve">') > 10


def test_a_run_has_a_report_at_any_time(tmp_path: Path, folder: Path) -> None:
    assert "not started" in render_report(tmp_path)
    for name in ("result.json", "status.json", "eval.jsonl"):
        (folder / name).unlink()
    shutil.rmtree(folder / "panel" / "000040")
    text = render_report(folder)
    assert "has not been measured yet" in text and "before training" in text and "after 40 iterations" not in text
    shutil.rmtree(folder / "panel")
    assert '<article class="pair">' not in render_report(folder)


def test_a_picture_that_nobody_could_read_is_shown_as_such(folder: Path) -> None:
    path = folder / "panel" / "000000" / "pairs.json"
    content = json.loads(path.read_text())
    content["pairs"][0]["images"][0] |= {"critic": None, "judged": None}
    content["pairs"][0]["images"][1] |= {"critic": None}
    path.write_text(json.dumps(content))
    text = render_report(folder)
    assert text.count("not read") == 1 and "over 5 pictures" in text and "over 6 pictures" in text


def test_an_unreadable_file_of_the_run_is_named(folder: Path) -> None:
    (folder / "panel" / "000000" / "pairs.json").write_text('{"pairs": [{}]}')
    with pytest.raises(FailedPrecondition, match=r"000000/pairs\.json can't be read"):
        render_report(folder)


def test_large_pictures_are_scaled_down(folder: Path) -> None:
    from PIL import Image

    before = len(render_report(folder))
    large, *_ = (folder / "panel").glob("*/*.png")
    Image.effect_noise((1024, 1024), 80).convert("RGB").save(large)
    assert len(render_report(folder)) < before + 300_000 < large.stat().st_size


def test_lines_rise_with_their_values_and_end_at_the_last_iteration() -> None:
    svg = lines_svg("x", {"sum": [(0, 1.0), (5, 2.0), (10, 4.0)]}, last=10, alarms={5: "a < b"}, first_color=2)
    drawing = ElementTree.fromstring(svg)
    line = next(part for part in drawing.iter() if part.get("class") == "line s2")
    points = [tuple(map(float, pair.split(","))) for pair in line.get("points", "").split()]
    assert [x for x, _ in points] == sorted(x for x, _ in points) and points[-1][0] == 470
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)
    assert "iteration 5: a &lt; b" in svg


def test_arrows_go_from_target_to_result() -> None:
    svg = arrows_svg("x", [(AffectPoint(1, 1), AffectPoint(9, 9))], key="k")
    arrow = next(part for part in ElementTree.fromstring(svg).iter() if part.tag == "line" and part.get("marker-end"))
    start, end = (float(arrow.get("x1", "")), float(arrow.get("y1", ""))), (arrow.get("x2"), arrow.get("y2"))
    assert start == (44.0, 444.0) and end == ("444.0", "44.0")
    assert svg.count('id="k') == 5  # the arrow's tip and the four corners: no id twice on a page of two planes


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [([], 0.0, 1.06), ([0.0, 0.0], 0.0, 1.0), ([2.0, 4.0], 0.0, 4.24), ([-1.0, 1.0], -1.12, 1.12), ([5.0], 4.5, 5.5)],
)
def test_an_axis_holds_its_values_and_is_never_empty(values: list[float], low: float, high: float) -> None:
    assert bounds(values) == pytest.approx((low, high))
    assert bounds([*values, math.nan]) == pytest.approx((low, high))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 2e-7), (-0.02, 0.013), (0, 1000), (0.93, 1.02)])
def test_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 3 <= len(found) <= 6 and low - 1e-12 <= found[0] and found[-1] <= high + 1e-12
    assert all(len(re.sub(r"e.*|[-.]|^0+\.?0*", "", f"{tick:.6g}").strip("0")) <= 3 for tick in found)


def test_smoothing_keeps_a_constant_and_softens_a_jump() -> None:
    assert smoothed([(i, 2.0) for i in range(50)]) == [(i, 2.0) for i in range(50)]
    jump = [value for _, value in smoothed([(i, float(i >= 25)) for i in range(50)])]
    assert jump[24] == 0 and 0 < jump[25] < 0.5 and jump[-1] > 0.95
