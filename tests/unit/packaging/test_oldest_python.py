"""The oldest Python that is supported is any 3.11: Debian 12 has 3.11.2."""

from __future__ import annotations

import re
from pathlib import Path

import emofeedback
import emofeedback_trainer

_PACKAGES = [Path(folder) for package in (emofeedback, emofeedback_trainer) for folder in package.__path__]
_WHOLE_GROUP = re.compile(r"\)(?:[*+?]|\{[\d,]*\})\+|\(\?>")
"""A group that is possessive or atomic; Python before 3.11.5 lets those match what they do not, and the reverse."""


def test_no_pattern_has_a_group_that_an_older_python_reads_wrong() -> None:
    files = [path for package in _PACKAGES for path in package.rglob("*.py")]
    wrong = [
        f"{path.name}: {line.strip()}"
        for path in files
        for line in path.read_text().splitlines()
        if _WHOLE_GROUP.search(line)
    ]
    assert files and not wrong
