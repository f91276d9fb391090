"""Where a command speaks: results on standard output, notes and errors on standard error, each a whole line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NoReturn

from rich.console import Console
from rich.text import Text

from emofeedback.observability.console import shown


class PlainConsole(Console):
    """A console that reads nothing as markup, and shows what would steer the terminal."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, highlight=False, emoji=False)

    def render_str(self, text: str, **style: Any) -> Text:
        """Every text passes here, be it a line or a table's cell, which is as wide as what the stream gets of it."""
        sent = shown(text).encode(self.encoding, "backslashreplace").decode(self.encoding)
        return super().render_str(sent, **style)

    def on_broken_pipe(self) -> NoReturn:
        """Rich would exit the process here; the command has an end of its own for it."""
        raise BrokenPipeError


@dataclass(frozen=True, kw_only=True)
class Consoles:
    """The two streams of a command."""

    out: Console = field(default_factory=PlainConsole)
    err: Console = field(default_factory=lambda: PlainConsole(stderr=True))
    for_programs: bool = False
    """Standard output is for a program (`--json`): nothing but the result goes there."""
    _noted: set[str] = field(default_factory=set)

    @property
    def side(self) -> Console:
        """Where progress and notes go: on a terminal beside the result, so that one live view knows of the other."""
        return self.out if self.out.is_terminal and not self.for_programs else self.err

    def say(self, line: str) -> None:
        """One line of the result, never wrapped: a path in it can be copied or piped."""
        self.out.print(line, soft_wrap=True)

    def note(self, line: str) -> None:
        """Something to know that is not the result, said once; above a live view where there is one."""
        if line in self._noted:
            return
        self._noted.add(line)
        self.side.print(f"note: {line}", soft_wrap=True, style="dim")

    def error(self, line: str) -> None:
        """What went wrong, in one line."""
        self.err.print(f"error: {' '.join(line.split())}", soft_wrap=True)
