"""How a long command is stopped from outside."""

from __future__ import annotations

import signal


def stop_on_signals() -> None:
    """Makes SIGINT and SIGTERM end this process as Ctrl-C does.

    A command in the background of a script ignores Ctrl-C, and a cluster that moves a run sends SIGTERM.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
