"""What a command may send to a terminal or file, and how it ends when nobody reads any more.

What people and models wrote goes out as they wrote it, but for two things: characters that would steer the terminal
are shown (`\\x1b`), not sent, and those that a terminal or file has no code for are escaped (`\\u753b`).
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable
from typing import TextIO

READER_GONE = 141
"""Exit code of a command whose reader has left, as of one that SIGPIPE ended."""

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


def ending_with_its_reader(command: Callable[[], int]) -> int:
    """Runs a command to its exit code; one whose reader has left, as `| head` does, ends without a word."""
    try:
        code = command()
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still to be written must not fail once more when Python ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        return READER_GONE
    return code
