"""Where a command speaks: results on standard output, notes and errors on standard error, each a whole line."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from rich.console import Console


@dataclass(frozen=True, kw_only=True)
class Consoles:
    """The two streams of a command; nothing said is read as markup."""

    out: Console = field(default_factory=lambda: Console(markup=False, highlight=False, emoji=False))
    err: Console = field(default_factory=lambda: Console(file=sys.stderr, markup=False, highlight=False, emoji=False))
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
