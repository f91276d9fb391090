"""Folders at any fsspec address (a local folder, S3, ...), in which services find what was made elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import fsspec

from emofeedback.domain.errors import EmoFeedbackError, FailedPrecondition, Unavailable


@contextmanager
def opened(uri: str, what: str) -> Iterator[tuple[fsspec.AbstractFileSystem, str]]:
    """The file system and the folder's path in it; errors inside become ours, but for a missing file.

    Args:
        what: lies there, in the plural, for messages: "policies".

    Raises:
        Unavailable: it can't be reached.
        FailedPrecondition: it can't be used: a scheme that is not installed, a login that may not read.
    """
    try:
        # Without its cache of listings, which would hide what others publish.
        yield fsspec.url_to_fs(uri, use_listings_cache=False)
    except (EmoFeedbackError, FileNotFoundError):
        raise
    except (ImportError, PermissionError, ValueError) as error:
        raise FailedPrecondition(f"the {what} at {uri} can't be used: {error}") from error
    except Exception as error:  # every file system brings errors of its own
        raise Unavailable(f"the {what} at {uri} can't be reached: {error}") from error
