"""Where a model's files are, which weights they hold, and whether this machine can run them.

Everything here is cheap and comes before anything heavy: a missing folder, hub, token or GPU each end in one sentence
(FailedPrecondition) instead of a stack of somebody else's library.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from emofeedback.domain.errors import EmoFeedbackError, FailedPrecondition
from emofeedback.storage.files import write_json
from emofeedback.storage.texts import parse_json, read_text

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")

EMBEDDED = Path(__file__).parents[1] / "nano"
"""Folder of the embedded models, which are a distribution of their own."""

DIGESTS = ".digests.json"
"""What is remembered beside a checkpoint of the hashes of its files."""
_WORTH_REMEMBERING = 2**28
"""Bytes of the smallest such file: a smaller one is read faster than anybody notices."""
_HASHING_THREADS = 8
"""One reads about 1 GB a second; hashing gives up Python's lock."""


def model_name(checkpoint: str) -> str:
    """What people call a checkpoint: a hub id as it is, a folder by its own name."""
    return Path(checkpoint).resolve().name if Path(checkpoint).is_dir() else checkpoint


def check_available(checkpoint: str, marker: str, kind: str = "") -> None:
    """Make sure that a checkpoint can be had, without fetching its weights.

    Args:
        checkpoint: hub id or folder.
        marker: the file that every such checkpoint has, such as `model_index.json`.
        kind: the `model_type` that the marker must name; empty: any.

    Raises:
        FailedPrecondition: no such folder, no marker in it, a model of another kind, the hub can't be
            reached, or it wants a token.
    """
    folder = Path(checkpoint)
    if folder.is_dir():
        if not (folder / marker).is_file():
            raise FailedPrecondition(f"{checkpoint} is not a model of the expected kind: {marker} is missing in it")
        _check_kind(folder / marker, kind)
        return
    if folder.is_relative_to(EMBEDDED):
        raise FailedPrecondition("the embedded models are not installed: pip install emofeedback-nano")
    if folder.is_file():
        raise FailedPrecondition(
            f"{checkpoint} is a single file: a checkpoint is a folder, as diffusers writes it by "
            "Pipeline.from_single_file(...).save_pretrained(...)"
        )
    if not _HUB_ID.fullmatch(checkpoint):
        raise FailedPrecondition(f"{checkpoint} is neither a folder nor a hub id of the form owner/name")
    from huggingface_hub import HfApi, constants, errors, try_to_load_from_cache

    if isinstance(cached := try_to_load_from_cache(checkpoint, marker), str):
        _check_kind(Path(cached), kind)
        return
    if constants.is_offline_mode():
        raise FailedPrecondition(
            f"{checkpoint} is not in the hub cache and HF_HUB_OFFLINE is set; download it or name a folder"
        )
    try:
        HfApi().auth_check(checkpoint)
    except errors.GatedRepoError as error:
        raise FailedPrecondition(_token_wanted(checkpoint)) from error
    except errors.RepositoryNotFoundError as error:
        raise FailedPrecondition(
            f"the hub has no {checkpoint}, or shows it only to those who log in: check the name and HF_TOKEN"
        ) from error
    except Exception as error:  # the hub client's HTTP library, and so its errors, changes between versions
        raise FailedPrecondition(_hub_missing(checkpoint)) from error


def fetch(checkpoint: str, marker: str, patterns: Sequence[str], kind: str = "") -> Path:
    """The local folder of a checkpoint; from the hub it takes only what matches `patterns`, once.

    Raises:
        FailedPrecondition: as `check_available`, or the download broke off.
    """
    check_available(checkpoint, marker, kind)
    if Path(checkpoint).is_dir():
        return Path(checkpoint)
    from huggingface_hub import errors, snapshot_download

    try:
        folder = Path(snapshot_download(checkpoint, allow_patterns=[marker, *patterns]))
    except errors.GatedRepoError as error:
        raise FailedPrecondition(_token_wanted(checkpoint)) from error
    except (errors.HfHubHTTPError, OSError) as error:
        raise FailedPrecondition(_hub_missing(checkpoint)) from error
    _check_kind(folder / marker, kind)
    return folder


def _check_kind(file: Path, kind: str) -> None:
    if not kind:
        return
    try:
        found = parse_json(read_text(file)).get("model_type")
    except (AttributeError, OSError, ValueError) as error:
        raise FailedPrecondition(f"{file} can't be read as a model's configuration") from error
    if found != kind:
        raise FailedPrecondition(
            f"{file.parent} is not a model of the expected kind: its model_type is {found or 'missing'}, "
            f"it must be {kind}"
        )


def check_device(device: str, key: str) -> None:
    """Make sure that the device is there.

    Args:
        key: of the profile or configuration that names it, for the message.

    Raises:
        FailedPrecondition: CUDA is asked for and missing.
    """
    if device != "cuda":
        return
    import torch

    if not torch.cuda.is_available():
        raise FailedPrecondition(f"{key} is cuda and no CUDA device is here; take the profile nano or another machine")


def digest(folder: Path, parts: tuple[str, ...] = ("",)) -> str:
    """`sha256:` and 64 hex digits that stand for a checkpoint's weights.

    It is the SHA-256 of the lines that `sha256sum` prints for the `*.safetensors` files under `parts`
    (subfolders; by default the whole folder) in the order of their relative names. Files are read in several threads;
    one that has not changed, by its size and the time of its last change, is not read again by this process, nor by
    another one where the folder can keep `DIGESTS`.

    Raises:
        FailedPrecondition: there are no such files.
    """
    files = sorted(
        {file.relative_to(folder).as_posix() for part in parts for file in (folder / part).rglob("*.safetensors")}
    )
    if not files:
        raise FailedPrecondition(f"{folder} holds no weights in the safetensors format")
    remembered = _remembered(folder)
    with ThreadPoolExecutor(_HASHING_THREADS, thread_name_prefix="sha256") as threads:
        facts = list(threads.map(lambda name: _facts(folder / name, remembered.get(name)), files))
    large = {name: of_file for name, of_file in zip(files, facts, strict=True) if of_file[0] >= _WORTH_REMEMBERING}
    if any(remembered.get(name) != of_file for name, of_file in large.items()):
        with suppress(EmoFeedbackError):  # a folder that can't be written is read each time
            write_json(folder / DIGESTS, remembered | large)
    listing = "".join(f"{sha256}  {name}\n" for (_, _, sha256), name in zip(facts, files, strict=True))
    return "sha256:" + hashlib.sha256(listing.encode()).hexdigest()


_Facts = list[Any]
"""Of a file: its size in bytes, the time of its last change in nanoseconds, its SHA-256."""


def _remembered(folder: Path) -> dict[str, _Facts]:
    try:
        content = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _facts(file: Path, remembered: _Facts | None) -> _Facts:
    # The hub's cache keeps a weight file as a link to a blob named by its SHA-256: no need to read 20 GB.
    if file.is_symlink() and _SHA256.fullmatch(blob := file.readlink().name):
        return [0, 0, blob]
    about = file.stat()
    now = [about.st_size, about.st_mtime_ns]
    match remembered:
        case [*before, str(sha256)] if before == now and _SHA256.fullmatch(sha256):
            return [*now, sha256]
    return [*now, _file_sha256(file, *now)]


@lru_cache(maxsize=256)
def _file_sha256(file: Path, size: int, changed: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _token_wanted(checkpoint: str) -> str:
    return f"{checkpoint} is gated: accept its terms on the hub and set HF_TOKEN to a token of that account"


def _hub_missing(checkpoint: str) -> str:
    return f"{checkpoint} is not in the hub cache and the hub can't be reached; connect, or name a folder"
