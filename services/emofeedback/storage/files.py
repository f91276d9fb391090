"""Files that are written as a whole or not at all, what was there before, and folders that one process works in at a
time.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from emofeedback.domain.errors import EmoFeedbackError, FailedPrecondition, InvalidRequest, ResourceExhausted

LOCK = ".lock"
"""The file by which a process holds a folder, see `held`."""


FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says of a write for which there is no room."""
UNWRITABLE = (*FULL, errno.EROFS, errno.EFBIG, errno.EIO)
"""What it says where the disk is at fault, not the program."""
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)
"""What file systems without hard links say of one."""


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file as a whole or not at all; raises as `write_whole`."""
    write_whole(path, json_bytes(content))


def json_bytes(content: Any) -> bytes:
    """A JSON file's content: indented, with a line feed at its end."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode(errors="backslashreplace")


def write_keeping(path: Path, data: bytes) -> None:
    """Writes a file as a whole; what it held before, where that was something else, is kept beside it.

    Raises:
        As `write_whole` and `set_aside`.
    """
    if path.is_file() and path.read_bytes() != data:
        set_aside(path)
    write_whole(path, data)


def set_aside(path: Path, name: str = "") -> Path | None:
    """Keeps a file, or a folder with something in it, under the first free of `NAME-1`, `NAME-2`, ... beside it.

    Args:
        name: NAME; empty: its own, and of a file `table-1.md`.

    Returns:
        Its place now; None where nothing was there to keep.

    Raises:
        FailedPrecondition: it can't be moved.
    """
    try:
        if not path.exists() or (path.is_dir() and all(entry.name == LOCK for entry in path.iterdir())):
            return None
        stem, suffix = (path.stem, path.suffix) if path.is_file() else (path.name, "")
        kept = next(p for n in count(1) if not (p := path.with_name(f"{name or stem}-{n}{suffix}")).exists())
        path.rename(kept)
    except OSError as error:
        raise FailedPrecondition(f"{path} can't be moved: {error.strerror}") from error
    return kept


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file as a whole or not at all, in a folder that is made where it is missing.

    Of several who write it at once, one is the last.

    Raises:
        ResourceExhausted: the disk is full.
        FailedPrecondition: the folder can't be written.
    """
    with _written_beside(path, data) as part:
        part.replace(path)


def write_new(path: Path, data: bytes) -> None:
    """Writes a file that is not there yet, as a whole; of several who try at once, one succeeds.

    Raises:
        FileExistsError: it is there.
        ResourceExhausted, FailedPrecondition: as `write_whole`.
    """
    with _written_beside(path, data) as part:
        try:
            os.link(part, path)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with path.open("xb") as file:  # one succeeds all the same, but a reader may see half of it
                file.write(data)


@contextlib.contextmanager
def _written_beside(path: Path, data: bytes) -> Iterator[Path]:
    """The data on the disk under a name of this writer's own, gone at the end."""
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield part
    except FileExistsError:
        raise
    except OSError as error:
        raise explained(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keeps a folder, made where it is missing, for one command: a second one over it is refused at once.

    The lock is the process's and ends with it, however it ends. Its file `.lock` goes with it, but for a killed one's.

    Raises:
        FailedPrecondition: another process has the folder.
        InvalidRequest: it can't be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _locked(folder / LOCK)
    except BlockingIOError as error:
        raise FailedPrecondition(f"another process works in {folder}: wait for it, or name another folder") from error
    except OSError as error:
        raise no_folder(folder, error) from error
    with lock:
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                (folder / LOCK).unlink(missing_ok=True)
                fcntl.flock(lock, fcntl.LOCK_UN)  # children that were forked share it


def no_folder(path: Path, error: OSError) -> InvalidRequest:
    """The error for a folder that was named to be written into and can't be."""
    if isinstance(error, FileExistsError):
        return InvalidRequest.of("out", f"{path} is a file: name a folder")
    return InvalidRequest.of("out", f"{path} can't be written: {error.strerror}")


def _locked(path: Path) -> BinaryIO:
    """The lock's file, opened and locked where the file system has locks."""
    while True:
        lock = path.open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise
        except OSError:  # a file system without locks
            return lock
        # Whoever had it before may have taken the file away since it was opened here.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                return lock
        lock.close()


def explained(error: OSError, path: Path) -> EmoFeedbackError:
    """What a failed write means: a full disk, or a folder that can't be written."""
    if error.errno in FULL:
        return ResourceExhausted(f"the disk is full, {path} could not be written; what was finished before is kept")
    return FailedPrecondition(f"{path} can't be written: {error.strerror}")
