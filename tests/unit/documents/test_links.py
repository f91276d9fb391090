"""Links in the documents lead somewhere, and the README can be read to its end."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.documents import DOCUMENTS, ROOT, prose

LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)


def links(document: Path) -> Iterator[tuple[Path, str]]:
    """File and anchor of every link that stays in the repository."""
    for found in LINK.finditer(re.sub(r"`[^`\n]*`", "", prose(document))):
        if not found["target"].startswith(("https://", "http://")):
            path, _, anchor = found["target"].partition("#")
            yield (document.parent / path).resolve() if path else document, anchor


def anchors(document: Path) -> set[str]:
    """What may stand behind `#`: the headings, as GitHub writes them."""
    headings = (found["text"].lower() for found in HEADING.finditer(prose(document)))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


@pytest.fixture(scope="module")
def tracked() -> set[Path]:
    """Files of the repository, and folders that hold some."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
    files = {ROOT / line for line in done.stdout.splitlines()}
    return files | {parent for file in files for parent in file.parents}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_of_the_repository_and_to_a_heading_in_it(
    document: Path, tracked: set[Path]
) -> None:
    lost = [
        f"{path}#{anchor}"
        for path, anchor in links(document)
        if path not in tracked or (anchor and anchor not in anchors(path))
    ]
    assert not lost


def test_every_page_of_the_documentation_is_reached_from_its_first_page() -> None:
    pages = {page for page in DOCUMENTS if page.is_relative_to(ROOT / "docs")}
    reached, ahead = set[Path](), {ROOT / "docs" / "README.md"}
    while ahead:
        page = ahead.pop()
        reached.add(page)
        ahead |= {path for path, _ in links(page) if path in pages} - reached
    assert reached == pages


def test_the_readme_has_at_most_a_thousand_words() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 1000
