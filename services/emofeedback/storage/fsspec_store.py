"""Folders at any fsspec address (a local folder, S3, ...), in which services find what was made elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from emofeedback.domain.errors import EmoFeedbackError, FailedPrecondition, Unavailable
from emofeedback.storage import files as local

_LOST = ("PreconditionFailed", "pre-conditions", "ConditionalRequestConflict", "conditionNotMet")
"""How stores say that a file was there before: S3's error codes and text, Google's reason."""


@contextmanager
def opened(uri: str, what: str) -> Iterator[tuple[AbstractFileSystem, str]]:
    """The file system and the folder's path in it; errors inside become ours, but for a file that is missing
    or there already.

    Args:
        what: lies there, in the plural, for messages: "policies".

    Raises:
        Unavailable: it can't be reached.
        FailedPrecondition: it can't be used: a scheme that is not installed, a login that may not read.
    """
    try:
        # Without its cache of listings, which would hide what others publish.
        yield fsspec.url_to_fs(uri, use_listings_cache=False)
    except (EmoFeedbackError, FileNotFoundError, FileExistsError):
        raise
    except (ImportError, PermissionError, ValueError) as error:
        raise FailedPrecondition(f"the {what} at {uri} can't be used: {error}") from error
    except Exception as error:  # every file system brings errors of its own
        raise Unavailable(f"the {what} at {uri} can't be reached: {error}") from error


def write_whole(files: AbstractFileSystem, path: str, data: bytes) -> None:
    """Writes a file as a whole or not at all, over one that is there."""
    if isinstance(files, LocalFileSystem):
        local.write_whole(Path(path), data)
    else:
        files.pipe_file(path, data)  # object stores show an object whole or not at all


def write_new(files: AbstractFileSystem, path: str, data: bytes) -> None:
    """Writes a file that is not there yet, as a whole.

    Of several who try at once one succeeds: in a local folder, and on S3 and Google's store, which create on condition.
    Elsewhere fsspec only looks before it writes.

    Raises:
        FileExistsError: it is there.
    """
    if isinstance(files, LocalFileSystem):
        local.write_new(Path(path), data)
        return
    try:
        files.pipe_file(path, data, mode="create")
    except FileExistsError:
        raise
    except Exception as error:
        if any(sign in str(error) for sign in _LOST):
            raise FileExistsError(path) from error
        raise
