"""Temporary folders that don't outlive their process for long: what a crash leaves goes with the next start."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from emofeedback.domain.errors import FailedPrecondition


class ScratchFolder:
    """A folder of this process, locked while it is in use; the lock ends with the process, however that ends."""

    def __init__(self, parent: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True)
        self.path = Path(self._folder.name)
        self._lock = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def cleanup(self) -> None:
        """Removes it; a second time does nothing."""
        if self._lock >= 0:
            self._folder.cleanup()
            os.close(self._lock)
            self._lock = -1


def scratch_folder(purpose: str) -> ScratchFolder:
    """A new folder under the system's temporary one; removes those of the same purpose whose processes have ended.

    Locks tell those, not process ids: ids come again, and containers that share a folder count their own.

    Raises:
        FailedPrecondition: somebody else's folder is in the place.
    """
    parent = Path(tempfile.gettempdir()) / f"emofeedback-{purpose}-{os.getuid()}"
    parent.mkdir(mode=0o700, exist_ok=True)
    if parent.is_symlink() or parent.stat().st_uid != os.getuid():
        raise FailedPrecondition(f"{parent} is in the way: it is another user's; set TMPDIR to a folder of yours")
    with _locked(parent, fcntl.LOCK_EX):  # nobody sweeps between the making of a folder and its lock
        for left in parent.iterdir():
            with suppress(OSError), _locked(left, fcntl.LOCK_EX | fcntl.LOCK_NB):  # held: its process lives
                shutil.rmtree(left, ignore_errors=True)
        return ScratchFolder(parent)


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    """Raises OSError where another holds the lock and `how` doesn't wait."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
