"""A disk of a few hundred KiB, that can be full and read-only: root's as well, whom permissions don't stop."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class SmallDisk:
    """One that is mounted."""

    path: Path

    @property
    def used(self) -> int:
        """Bytes."""
        found = os.statvfs(self.path)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    def set(self, *, size: int, read_only: bool = False) -> None:
        """From now on it has so many bytes, and can be written or not."""
        options = f"remount,size={size},{'ro' if read_only else 'rw'}"
        subprocess.run(["mount", "-o", options, self.path], check=True, capture_output=True)


@contextmanager
def mounted(path: Path, *, size: int) -> Iterator[SmallDisk]:
    """A new one at the path; the test is skipped where nobody may mount one."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted: {done.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True, capture_output=True)
