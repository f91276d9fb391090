"""A hook of mkdocs: documents that live beside what they describe become pages of the site, and links follow them."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {
    "examples/README.md": "examples.md",
    "helm/emofeedback/README.md": "chart.md",
    "services/emofeedback/nano/MODEL_CARD.md": "model-card.md",
}
"""Pages of the site, by where their text lives in the repository."""

_LINK = re.compile(r"\[(?P<text>[^\]\n]*)\]\((?!https?:|#)(?P<path>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads links to the pages of the site; of a link to a file that is no page its text stays."""
    name = page.file.src_uri
    source = next((source for source, page_of_it in PAGES.items() if page_of_it == name), f"docs/{name}")

    def led(link: re.Match[str]) -> str:
        target = normpath(PurePosixPath(source).parent / link["path"])
        inside = PAGES.get(target, target.removeprefix("docs/"))
        if files.get_file_from_path(inside) is None:
            return link["text"]
        return f"[{link['text']}]({relpath(inside, PurePosixPath(name).parent)}{link['anchor'] or ''})"

    return _LINK.sub(led, markdown)
