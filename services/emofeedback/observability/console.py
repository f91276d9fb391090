"""Where a command speaks: results on standard output, notes and errors on standard error, each a whole line.

What people and models wrote goes out as they wrote it, but for two things: characters that would steer the terminal
are shown (`\\x1b`), not sent, and those that a terminal or file has no code for are escaped (`\\u753b`).
"""

from __future__ import annotations

import io
import re
import sys
from dataclasses import dataclass, field
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

# Control characters but tabs and line feeds, the separators U+2028 and U+2029, what turns the direction of writing
# round, and halves of surrogate pairs, as which Python reads names of files that are no UTF-8.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def shown(text: str) -> str:
    """The text with every character that would steer a terminal escaped as Python does."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def escape_what_has_no_code() -> None:
    """Lets standard output and error escape what their encoding lacks; a redirected Windows console has cp1252."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(line: str, file: TextIO | None = None) -> None:
    """Prints a line, on standard output where no file is named."""
    print(shown(line), file=file, flush=True)


class PlainConsole(Console):
    """A console that reads nothing as markup, and shows what would steer the terminal."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, highlight=False, emoji=False)

    def render_str(self, text: str, **style: Any) -> Text:
        """Every text passes here, be it a line or a table's cell."""
        return super().render_str(shown(text), **style)


@dataclass(frozen=True, kw_only=True)
class Consoles:
    """The two streams of a command."""

    out: Console = field(default_factory=PlainConsole)
    err: Console = field(default_factory=lambda: PlainConsole(stderr=True))
    _noted: set[str] = field(default_factory=set)

    def say(self, line: str) -> None:
        """One line of the result, never wrapped: a path in it can be copied or piped."""
        self.out.print(line, soft_wrap=True)

    def note(self, line: str) -> None:
        """Something to know that is not the result, said once; above a live view where there is one."""
        if line in self._noted:
            return
        self._noted.add(line)
        console = self.out if self.out.is_terminal else self.err
        console.print(f"note: {line}", soft_wrap=True, style="dim")

    def error(self, line: str) -> None:
        """What went wrong, in one line."""
        self.err.print(f"error: {' '.join(line.split())}", soft_wrap=True)
