"""Debian's chromium, driven by Playwright; and axe-core where `.axe` holds it (`make axe`)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

AXE = Path(__file__).parents[2] / ".axe" / "package" / "axe.min.js"
_SECONDS = 60
"""A busy machine draws slowly."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window; skips the test where there is none."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        # Tests may run as root, which chromium's sandbox refuses.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def new_page(browser: Browser, width: int = 1280, height: int = 860) -> Iterator[Page]:
    """A fresh visitor; what the page says is wrong, and every request to another place, fails the test."""
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
    context.set_default_timeout(_SECONDS * 1000)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url) if _is_elsewhere(request.url) else None)
    try:
        yield page
        assert not wrong
    finally:
        context.close()


def serious_findings(page: Page) -> list[str]:
    """What axe-core finds on the page that is serious or worse; skips the test where it is not there."""
    if not AXE.is_file():
        pytest.skip("axe-core is not there: make axe")
    page.evaluate(AXE.read_text())  # not as a script element, which the page's policy refuses
    found = page.evaluate("axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] })")
    return [
        f"{violation['id']}: {node['html'][:200]} ({node['failureSummary'][:200]})"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def _is_elsewhere(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1:", "blob:", "data:", "about:"))
