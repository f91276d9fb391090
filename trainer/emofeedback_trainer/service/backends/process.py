"""Runs as processes of this machine that outlive the service which started them.

A process is known by a lock on a file that it inherits: the lock is held exactly as long as the process lives, whoever
started it, and can't be mistaken for another process under the same number.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from emofeedback.domain.errors import FailedPrecondition, ResourceExhausted
from emofeedback.storage.files import explained
from emofeedback_trainer.service.backends.base import JobStatus, last_line

_LOCK = "process"
"""The file that a living process has locked; its number is written in it."""
_OUTPUT = "output.log"


class Processes:
    """A back end: one process a folder."""

    def __init__(self, command: Sequence[str] = (sys.executable, "-m", "emofeedback_trainer")) -> None:
        """`command` is what runs `emofeedback-train`."""
        self._command = command
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, folder: Path, words: Sequence[str]) -> None:
        """Runs `emofeedback-train WORDS` in a session of its own, its output in the folder."""
        try:
            self._start(folder, words)
        except OSError as error:
            raise explained(error, folder / _LOCK) from error

    def _start(self, folder: Path, words: Sequence[str]) -> None:
        with (folder / _LOCK).open("a+") as lock, (folder / _OUTPUT).open("ab") as output:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            try:
                child = subprocess.Popen(
                    [*self._command, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[lock.fileno()],
                    start_new_session=True,
                )
            except BlockingIOError as error:
                raise ResourceExhausted(f"there is no room for another process, {folder.name} waits") from error
            except OSError as error:
                raise FailedPrecondition(f"no process for {folder.name} can be started: {error.strerror}") from error
            try:
                lock.truncate(0)
                lock.write(str(child.pid))
                lock.flush()
            except OSError:  # a process whose number nobody knows can't be ended
                child.kill()
                raise
        self._children.append(child)

    def look(self, folder: Path) -> JobStatus:
        """Whether the folder's process runs, started by this service or by one before it."""
        self._children = [child for child in self._children if child.poll() is None]
        if _is_locked(folder / _LOCK):
            return JobStatus(alive=True)
        return JobStatus(alive=False, words=_last_words(folder / _OUTPUT))

    def interrupt(self, folder: Path) -> None:
        """Asks the process to save its work and end (SIGINT, as Ctrl-C)."""
        self._signal(folder, signal.SIGINT)

    def kill(self, folder: Path) -> None:
        """Ends the process and all that it has started."""
        self._signal(folder, signal.SIGKILL)

    def _signal(self, folder: Path, number: signal.Signals) -> None:
        if not _is_locked(folder / _LOCK):
            return
        text = (folder / _LOCK).read_text(encoding="utf-8", errors="replace")
        if not (text.isascii() and text.isdecimal() and int(text) > 1):
            raise FailedPrecondition(f"{folder / _LOCK} holds no process's number, so {folder.name} can't be ended")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(text), number)


def _is_locked(path: Path) -> bool:
    try:
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _last_words(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as output:
        output.seek(max(output.seek(0, os.SEEK_END) - 8192, 0))
        return last_line(output.read().decode(errors="replace"))
    return ""
