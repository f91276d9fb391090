"""The studio in a real browser, over scripted services: first paint to answer, and all that can come between."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from emofeedback.domain.affect import AffectPoint
from support.browser import chromium, new_page, serious_findings
from support.fakes import ScriptedGenerator, ScriptedJudge, paint
from support.http_door import open_door
from support.scripted_services import ScriptedServices


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        expect.set_options(timeout=60_000)
        yield opened


@pytest.fixture
def services() -> ScriptedServices:
    return ScriptedServices(ScriptedGenerator(known_policies=("warm",), recipes=True), ScriptedJudge())


@pytest.fixture
def studio(services: ScriptedServices, tmp_path: Path) -> Iterator[str]:
    with open_door(services, runs=tmp_path / "runs", profile="nano") as address:
        yield address


@pytest.fixture
def page(browser: Browser, studio: str) -> Iterator[Page]:
    with new_page(browser) as opened:
        opened.goto(studio)
        yield opened


def ask(page: Page, prompt: str = "a quiet harbor", **choices: str) -> None:
    page.get_by_label("What should it show?").fill(prompt)
    page.get_by_text("More choices").click()
    for label, value in choices.items():
        page.get_by_label(label.replace("_", " ")).fill(value)


def within_60_s(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass within 60 s"
        time.sleep(0.05)


def test_from_a_wish_to_its_answer(page: Page, tmp_path: Path) -> None:
    ask(page, Rounds="2", Pictures_a_round="3")
    page.get_by_role("button", name="fear").click()
    page.get_by_role("button", name="Paint").click()
    expect(page.get_by_role("heading", name="The answer")).to_be_visible()
    expect(page.get_by_role("heading", name="Round 2")).to_be_visible()
    expect(page.locator(".tile img")).to_have_count(6)
    expect(page.locator("#pad .dot")).to_have_count(6)
    expect(page.locator("blockquote").first).to_be_visible()
    expect(page.locator("[data-round='1'] ins").first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download picture").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "runs" / "a-quiet-harbor" / "result.json").is_file()


def test_a_reload_in_the_middle_finds_the_run_again_and_a_second_tab_sees_the_same(
    page: Page, services: ScriptedServices, browser: Browser
) -> None:
    services.generator.delay = 3
    ask(page, Rounds="2", Pictures_a_round="4")
    page.get_by_role("button", name="Paint").click()
    expect(page.locator(".tile progress").first).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    services.generator.delay = 0
    with new_page(browser) as other:
        other.goto(page.url)
        expect(other.get_by_role("heading", name="The answer")).to_be_visible()
        expect(other.locator(".tile img")).to_have_count(8)
    expect(page.get_by_role("heading", name="The answer")).to_be_visible()


def test_stop_ends_the_painting_within_a_step(page: Page, services: ScriptedServices) -> None:
    services.generator.delay = 1
    ask(page, Rounds="1", Pictures_a_round="40")
    page.get_by_role("button", name="Paint").click()
    expect(page.locator(".tile img").first).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    within_60_s(lambda: services.generator.closed_early == 1)
    assert services.generator.images_done < 40
    expect(page.locator(".state")).to_have_text("stopped")


def test_a_person_takes_over_between_rounds(page: Page, services: ScriptedServices) -> None:
    ask(page, Rounds="3", Pictures_a_round="2")
    page.get_by_label("Ask me after every round").check()
    page.get_by_role("button", name="Paint").click()
    expect(page.get_by_role("heading", name="Your turn")).to_be_visible()
    assert len(services.generator.requests) == 1
    page.reload()
    expect(page.get_by_role("heading", name="Your turn")).to_be_visible()
    page.locator("[data-round='0'] .tile").first.click()
    page.get_by_role("button", name="Go on from this one").click()
    expect(page.get_by_label("What the next round paints")).to_have_value("a quiet harbor")
    page.get_by_label("What the next round paints").fill("a quiet harbor in the fog")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="Round 2")).to_be_visible()
    expect(page.get_by_role("heading", name="Your turn")).to_be_visible()
    assert services.generator.requests[1].prompt == "a quiet harbor in the fog"


def test_a_seed_is_kept_and_more_like_one_are_painted(page: Page, services: ScriptedServices) -> None:
    ask(page, Rounds="1", Pictures_a_round="2", Seed="5", Steps="3")
    page.get_by_role("button", name="Paint").click()
    once_more = page.get_by_role("button", name="One more round")
    expect(once_more).to_be_visible()
    page.locator("[data-round='0'] .tile").nth(1).click()
    page.get_by_role("button", name="Keep its seed").click()
    expect(page.locator("#next-seed")).to_have_value("6")
    page.get_by_label("What the next round paints").fill("a quiet harbor in the fog")
    once_more.click()
    expect(page.get_by_role("heading", name="Round 2")).to_be_visible()
    expect(once_more).to_be_visible()
    page.locator("[data-round='1'] .tile").first.click()
    page.get_by_role("button", name="More like this one").click()
    expect(page.get_by_role("heading", name="Round 3")).to_be_visible()
    expect(once_more).to_be_visible()
    asked = [(request.prompt, request.seeds, request.steps) for request in services.generator.requests]
    fog = "a quiet harbor in the fog"
    assert asked == [("a quiet harbor", (5, 6), 3), (fog, (6, 7), 3), (fog, (8, 9), 3)]


def test_a_prompt_is_swept_over_the_plane_and_a_reload_finds_it_again(page: Page, services: ScriptedServices) -> None:
    page.get_by_role("link", name="Sweep").click()
    page.get_by_label("What should all of them show?").fill("a quiet harbor")
    page.get_by_label("Cells a side").fill("2")
    page.get_by_label("Pictures a cell").fill("1")
    page.get_by_role("button", name="Sweep").click()
    expect(page.get_by_text("4 of 4 cells painted")).to_be_visible()
    expect(page.locator(".cell img")).to_have_count(4)
    assert sorted(request.seeds for request in services.generator.requests) == [(0,), (1,), (2,), (3,)]
    page.reload()
    expect(page.get_by_text("4 of 4 cells painted")).to_be_visible()
    assert len(services.generator.requests) == 4
    page.locator(".cell a").first.click()
    expect(page.get_by_text("(valence 3.0, arousal 7.0)")).to_be_visible()


def test_a_sweep_that_was_stopped_goes_on_where_it_was(page: Page, services: ScriptedServices) -> None:
    services.generator.delay = 1
    page.goto(f"{page.url.partition('#')[0]}#/sweep/a%20harbor/2/3/0/")
    page.get_by_role("button", name="Paint the 4 that are missing").click()
    expect(page.locator(".cell a").first).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="that are missing")).to_be_visible()
    services.generator.delay = 0
    page.get_by_role("button", name="that are missing").click()
    expect(page.get_by_text("4 of 4 cells painted")).to_be_visible()


def test_the_plane_is_bright_where_the_models_pictures_land(
    browser: Browser, services: ScriptedServices, tmp_path: Path
) -> None:
    reach = (AffectPoint(3, 7), AffectPoint(7, 3))
    with open_door(services, runs=tmp_path, reach=reach) as studio, new_page(browser) as page:
        page.goto(studio)
        expect(page.locator("#legend")).to_be_visible()
        expect(page.locator("#pad mask circle")).to_have_count(2)


def test_a_refused_input_is_named_where_it_stands(page: Page) -> None:
    ask(page, Person="nobody/../here")
    page.get_by_role("button", name="Paint").click()
    expect(page.get_by_label("Person")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#said")).to_contain_text("person")


def test_by_keyboard_alone(page: Page) -> None:
    page.get_by_label("What should it show?").focus()
    page.keyboard.type("a quiet harbor")
    page.keyboard.press("Tab")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#valence-out")).to_have_text("8.0")
    page.get_by_label("What should it show?").focus()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="The answer")).to_be_visible()
    page.locator(".tile").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="A picture")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="A picture")).to_be_hidden()


def test_a_finger_puts_the_target_on_the_plane(page: Page) -> None:
    box = page.locator("#pad svg").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.25)
    expect(page.locator("#valence-out")).to_have_text("2.9")
    expect(page.locator("#arousal-out")).to_have_text("7.1")


def test_the_gallery_finds_compares_and_opens_runs(page: Page, studio: str) -> None:
    for prompt in ("a quiet harbor", "a loud market"):
        page.goto(f"{studio}/#/")
        page.reload()
        ask(page, prompt, Rounds="1", Pictures_a_round="2")
        page.get_by_role("button", name="Paint").click()
        expect(page.get_by_role("heading", name="The answer")).to_be_visible()
    page.get_by_role("link", name="Gallery").click()
    expect(page.locator(".card")).to_have_count(2)
    for box in page.get_by_label("compare").all():
        box.check()
    page.get_by_role("link", name="Compare the two").click()
    expect(page.locator(".column img")).to_have_count(2)
    page.get_by_role("link", name="Gallery").click()
    page.get_by_label("Search").fill("market")
    expect(page.locator(".card")).to_have_count(1)
    page.get_by_role("link", name="a loud market").click()
    expect(page.get_by_role("heading", name="a loud market")).to_be_visible()


def test_a_dropped_picture_is_judged_lends_its_feeling_and_opens_its_run(page: Page, tmp_path: Path) -> None:
    ask(page, Rounds="1", Pictures_a_round="2")
    page.get_by_role("button", name="Paint").click()
    expect(page.get_by_role("heading", name="The answer")).to_be_visible()
    run = page.url
    own = tmp_path / "own.png"
    own.write_bytes(paint("a kite", 4))
    page.get_by_role("link", name="Judge").click()
    page.locator("#files").set_input_files([own, tmp_path / "runs" / "a-quiet-harbor" / "round-1" / "image-2.png"])
    expect(page.locator(".seen")).to_have_count(2)
    page.get_by_role("button", name="Open its run").click()
    expect(page).to_have_url(re.compile(re.escape(run)))
    page.get_by_role("link", name="Judge").click()
    page.locator("#files").set_input_files([own])
    valence = page.locator(".seen dd").first.inner_text().split()[0]
    page.get_by_role("button", name="Paint with this feeling").click()
    expect(page.locator("#valence-out")).to_have_text(valence)


def test_a_picture_dropped_anywhere_opens_its_run(page: Page, tmp_path: Path) -> None:
    ask(page, Rounds="1", Pictures_a_round="2")
    page.get_by_role("button", name="Paint").click()
    expect(page.get_by_role("heading", name="The answer")).to_be_visible()
    run = page.url
    page.get_by_role("link", name="Gallery").click()
    expect(page.locator(".card")).to_have_count(1)
    png = (tmp_path / "runs" / "a-quiet-harbor" / "round-1" / "image-1.png").read_bytes()
    dropped = page.evaluate_handle(
        """(bytes) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], "picture.png", { type: "image/png" }));
          return data;
        }""",
        list(png),
    )
    page.dispatch_event("body", "drop", {"dataTransfer": dropped})
    expect(page).to_have_url(run)
    expect(page.get_by_role("heading", name="The answer")).to_be_visible()


def test_a_token_is_asked_for_once(browser: Browser, services: ScriptedServices, tmp_path: Path) -> None:
    with open_door(services, runs=tmp_path, token="secret") as studio, new_page(browser) as page:
        page.goto(studio)
        page.get_by_role("textbox", name="Token").fill("secret")
        page.get_by_role("button", name="Go in").click()
        expect(page.get_by_role("button", name="awe")).to_be_visible()
        page.reload()
        expect(page.get_by_role("button", name="awe")).to_be_visible()


@pytest.mark.parametrize("width", [360, 820, 2560])
def test_nothing_leaves_the_page_at_any_width(browser: Browser, studio: str, width: int) -> None:
    with new_page(browser, width, 800) as page:
        page.goto(studio)
        ask(page, "a_very_long_word_" * 12, Rounds="1", Pictures_a_round="2")
        page.get_by_role("button", name="Paint").click()
        expect(page.get_by_role("heading", name="The answer")).to_be_visible()
        for room in ("Create", "Sweep", "Gallery", "Judge"):
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), room
            page.get_by_role("link", name=room).click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    assert serious_findings(page) == []
    ask(page, Rounds="1", Pictures_a_round="2")
    page.get_by_role("button", name="Paint").click()
    expect(page.get_by_role("heading", name="The answer")).to_be_visible()
    expect(page.locator("#said")).to_be_empty()
    assert serious_findings(page) == []
    page.locator(".tile").first.click()
    assert serious_findings(page) == []
    page.keyboard.press("Escape")
    for room in ("Sweep", "Gallery", "Judge"):
        page.get_by_role("link", name=room).click()
        expect(page.locator("h1")).to_be_visible()
        assert serious_findings(page) == []
