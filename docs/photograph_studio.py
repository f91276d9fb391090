"""Photographs the studio at three widths, over the embedded models: `.venv/bin/python docs/photograph_studio.py`.

Needs chromium (`apt-get install chromium`) and takes about two minutes on two cores. Leaves docs/studio-360.webp,
docs/studio-1280.webp and docs/studio-2560.webp, the widest in the dark, and docs/studio-sweep.webp.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

DOCS = Path(__file__).parent
WISHES = (("a dog in a meadow", "excitement"), ("a castle at night", "fear"), ("a house by the lake", "contentment"))
SHOTS = ((360, 760, "light", 360), (1280, 860, "light", 1280), (2560, 1300, "dark", 1600))
"""Width and height of the window, its colors, and the width of the kept picture."""
SWEPT = "a tree in the fog"
_PATIENCE = 600_000
"""Milliseconds."""


def main() -> int:
    """The process's exit code: 1 where there is no browser."""
    browser = shutil.which("chromium")
    if browser is None:
        print("chromium is not installed: apt-get install chromium", file=sys.stderr)
        return 1
    command = [sys.executable, "-m", "emofeedback", "studio", "--no-browser", "--port", "0"]
    with tempfile.TemporaryDirectory() as runs, sync_playwright() as playwright:
        environment = os.environ | {"EMOFEEDBACK_CONFIG": os.devnull, "PYTHONUNBUFFERED": "1"}
        studio = subprocess.Popen([*command, "--runs", runs], stdout=subprocess.PIPE, text=True, env=environment)
        try:
            assert studio.stdout is not None
            address = next(line for line in studio.stdout if "http://" in line).split()[4]
            opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
            page = opened.new_page()
            page.set_default_timeout(_PATIENCE)
            for prompt, emotion in WISHES:
                _paint(page, address, prompt, emotion)
            for width, height, colors, kept in SHOTS:
                page.emulate_media(color_scheme="dark" if colors == "dark" else "light", reduced_motion="reduce")
                page.set_viewport_size({"width": width, "height": height})
                page.reload()
                page.get_by_role("heading", name="The answer").wait_for()
                page.evaluate("innerWidth < 900 ? document.getElementById('main').scrollIntoView() : scrollTo(0, 0)")
                page.wait_for_timeout(1500)
                _keep(page.screenshot(), kept, DOCS / f"studio-{width}.webp")
            _sweep(page, address)
            _keep(page.screenshot(), 1280, DOCS / "studio-sweep.webp")
        finally:
            studio.send_signal(signal.SIGINT)
            studio.wait(60)
    return 0


def _paint(page: Page, address: str, prompt: str, emotion: str) -> None:
    page.goto(address)
    page.reload()
    page.get_by_label("What should it show?").fill(prompt)
    page.get_by_role("button", name=emotion).click()
    page.get_by_role("button", name="Paint").click()
    page.get_by_role("heading", name="The answer").wait_for()


def _sweep(page: Page, address: str) -> None:
    """A prompt over four by four cells, in the light at 1,280 pixels."""
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.set_viewport_size({"width": 1280, "height": 860})
    page.goto(f"{address}#/sweep")
    page.get_by_label("What should all of them show?").fill(SWEPT)
    page.get_by_label("Cells a side").fill("4")
    page.get_by_role("button", name="Sweep").click()
    page.get_by_text("16 of 16 cells painted").wait_for()
    page.wait_for_timeout(5000)  # what was said for a moment is gone


def _keep(png: bytes, width: int, path: Path) -> None:
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    height = round(picture.height * width / picture.width)
    picture.resize((width, height), Image.Resampling.LANCZOS).save(path, "WEBP", quality=82, method=6)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    sys.exit(main())
