"""The project's documents, and what stands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / folder / "README.md" for folder in ("examples", "helm", "protos", "services", "tests", "trainer")),
    ROOT / "helm" / "emofeedback" / "README.md",
    ROOT / "services" / "emofeedback" / "nano" / "MODEL_CARD.md",
]

_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    document: Path
    number: int
    """Among the blocks of its document, from 1."""
    language: str
    code: str

    @property
    def name(self) -> str:
        """Document and number, as a test or a module may be called."""
        place = self.document.relative_to(ROOT).with_suffix("").as_posix()
        return re.sub(r"\W", "_", f"{place}_{self.number}")


def blocks(*languages: str) -> Iterator[Block]:
    """The fenced blocks in these languages, of all documents."""
    for document in DOCUMENTS:
        for number, found in enumerate(_BLOCK.finditer(document.read_text()), 1):
            if found["language"] in languages:
                yield Block(document, number, found["language"], found["code"])


def prose(document: Path) -> str:
    """A document without its blocks of code."""
    return _BLOCK.sub("", document.read_text())
