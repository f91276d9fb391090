"""The emotional memory on disk, at any fsspec address: append-only, one writer, whole after a crash.

    memory-000001.json             the manifest, numbered and created exclusively; the newest one counts
    shards/<sha256>.parquet        rows of entries (`entries.ENTRY_SCHEMA`), never changed
    train/images/<sha256>.png      the pictures, by their content
    train/metadata.parquet         the labels of what is in the memory now: with it, it opens as a data folder
    val/...                        likewise, what is only measured on

Pictures come first, then their shard, then the manifest that names it, then the labels. A writer that is cut leaves at
most files that no manifest names; what a manifest names is acknowledged and stays. The labels follow from the manifest
and are made anew where they are behind it.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.png import SIGNATURE
from emofeedback.storage.files import explained, held, json_bytes
from emofeedback.storage.fsspec_store import opened, write_new, write_whole
from emofeedback.storage.texts import parse_json
from emofeedback_trainer.data.storage import LABELS_FILE
from emofeedback_trainer.emotional_memory.balance import surplus
from emofeedback_trainer.emotional_memory.entries import ENTRY_SCHEMA, Entry, Painted, from_row, to_row

VERSION = 1
_MANIFEST = re.compile(r"memory-(\d{6})\.json")
_NUMBER_KEY = b"emofeedback.memory"
"""In a labels file: the number of the manifest that it follows from."""
_SPLITS = ("train", "val")
_SHARDS = "shards"


@dataclass(frozen=True, kw_only=True)
class PaintedBy:
    """A policy that has painted for the memory."""

    name: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a memory holds as of one manifest."""

    uri: str
    number: int
    """Of the manifest; 0 where nothing was ever kept."""
    entries: tuple[Entry, ...] = ()
    """What is in it now, in the order in which it came."""
    past: frozenset[str] = frozenset()
    """Digests of all pictures that it ever took, those that have gone too."""
    policies: tuple[PaintedBy, ...] = ()
    """In the order in which they first painted: their places are the generations of the entries."""
    tried: Mapping[str, int] = field(default_factory=dict)
    """Samples that were painted so far, by data, policy and split: where the next filling goes on."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Pictures that were not taken, by the reason."""
    shards: tuple[str, ...] = ()
    out: tuple[str, ...] = ()
    """Digests of those that have gone."""

    def of(self, split: str) -> tuple[Entry, ...]:
        """The entries of one split."""
        return tuple(entry for entry in self.entries if entry.split == split)


def generation_of(memory: Memory, policy: PaintedBy) -> int:
    """The generation of what a policy paints: its place among those that have, the next one for a new policy."""
    known = [one.digest for one in memory.policies]
    return known.index(policy.digest) if policy.digest in known else len(known)


def read_memory(uri: str) -> Memory:
    """What lies at an address, as of its newest manifest; an empty memory where there is nothing.

    Raises:
        FailedPrecondition: it is of another version, or damaged; or the place can't be used.
        Unavailable: the place can't be reached.
    """
    with opened(uri, "emotional memory") as (files, root):
        return _read(files, root, uri)


def picture_of(memory: Memory, entry: Entry) -> bytes:
    """The PNG of an entry.

    Raises:
        FailedPrecondition: it is missing or damaged.
    """
    with opened(memory.uri, "emotional memory") as (files, root):
        path = f"{root}/{entry.split}/{entry.file_name}"
        try:
            data: bytes = files.cat_file(path)
        except FileNotFoundError as error:
            raise FailedPrecondition(f"the memory at {memory.uri} is damaged: {path} is missing") from error
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise FailedPrecondition(f"the memory at {memory.uri} is damaged: {path} is not the picture that was kept")
    return data


@contextmanager
def writing(uri: str) -> Iterator[MemoryWriter]:
    """Opens a memory, made where it is missing, for its one writer.

    Raises:
        FailedPrecondition: as `read_memory`, or another process writes to it.
    """
    with opened(uri, "emotional memory") as (files, root):
        local = isinstance(files, LocalFileSystem)
        with held(Path(root)) if local else nullcontext():
            memory = _read(files, root, uri)
            _write_labels(files, root, memory, only_behind=True)
            yield MemoryWriter(files, root, memory)


class MemoryWriter:
    """Adds to a memory; see `writing`."""

    def __init__(self, files: AbstractFileSystem, root: str, memory: Memory) -> None:
        self._files = files
        self._root = root
        self.memory = memory
        """What is acknowledged."""

    def generation(self, policy: PaintedBy) -> int:
        """The generation of what this policy paints."""
        return generation_of(self.memory, policy)

    def commit(
        self,
        painted: Sequence[Painted],
        *,
        policy: PaintedBy,
        tried: Mapping[str, int] | None = None,
        refused: Mapping[str, int] | None = None,
    ) -> Memory:
        """Keeps pictures of one policy, and lets those go that there is no more room for (`balance.surplus`).

        Pictures that it took before change nothing. When it returns, they are kept. When it raises, what was kept
        before still is; so are these where `memory` says so: then only the labels could not be written.

        Args:
            tried: counts to replace, see `Memory.tried`.
            refused: counts to add, see `Memory.refused`.

        Raises:
            InvalidRequest: a picture is no PNG, or not the one that its entry names.
            FailedPrecondition: another writer was quicker: open the memory again.
            ResourceExhausted: the disk is full.
        """
        _check(painted)
        by_digest = {one.entry.sha256: one for one in painted if one.entry.sha256 not in self.memory.past}
        new = list(by_digest.values())
        before = self.memory
        policies = before.policies
        if policy.digest not in [one.digest for one in policies]:
            policies = (*policies, policy)
        entries = (*before.entries, *(one.entry for one in new))
        gone = surplus([entry for entry in entries if entry.split == "train"])
        memory = replace(
            before,
            number=before.number + 1,
            entries=tuple(entry for entry in entries if entry.sha256 not in set(gone)),
            past=before.past | by_digest.keys(),
            policies=policies,
            tried={**before.tried, **(tried or {})},
            refused=_sums(before.refused, refused or {}),
            out=(*before.out, *gone),
        )
        try:
            if new:
                memory = replace(memory, shards=(*before.shards, self._write_shard(new)))
            write_new(self._files, self._manifest(memory.number), json_bytes(_to_json(memory)))
        except FileExistsError as error:
            raise FailedPrecondition(
                f"another process has written to the memory at {before.uri} meanwhile: one may at a time; start again"
            ) from error
        except OSError as error:
            raise explained(error, Path(before.uri)) from error
        self.memory = memory
        _write_labels(self._files, self._root, memory, only_behind=False)
        return memory

    def _write_shard(self, painted: Sequence[Painted]) -> str:
        for one in painted:
            path = f"{self._root}/{one.entry.split}/{one.entry.file_name}"
            # One that is there may be half of a picture, where a writer was cut on a store without whole files.
            write_whole(self._files, path, one.png)
        data = _table_bytes([one.entry for one in painted])
        name = f"{hashlib.sha256(data).hexdigest()}.parquet"
        write_whole(self._files, f"{self._root}/{_SHARDS}/{name}", data)
        return name

    def _manifest(self, number: int) -> str:
        return f"{self._root}/memory-{number:06d}.json"


def _check(painted: Sequence[Painted]) -> None:
    for one in painted:
        field = f"picture {one.entry.source_id}"
        if not one.png.startswith(SIGNATURE):
            raise InvalidRequest.of(field, "is no PNG, and the memory keeps nothing else")
        if hashlib.sha256(one.png).hexdigest() != one.entry.sha256:
            raise InvalidRequest.of(field, "is not the picture whose digest its entry has")


def _read(files: AbstractFileSystem, root: str, uri: str) -> Memory:
    try:
        names = [Path(path).name for path in files.ls(root, detail=False)]
    except FileNotFoundError:
        names = []
    numbers = [int(found[1]) for name in names if (found := _MANIFEST.fullmatch(name))]
    if not numbers:  # a writer that was killed before its first manifest leaves pictures and shards, but no labels
        if set(names) - {".lock", _SHARDS, *_SPLITS} or any(files.exists(_labels_path(root, s)) for s in _SPLITS):
            raise FailedPrecondition(f"{uri} holds something else than an emotional memory: name another place")
        return Memory(uri=uri, number=0)
    path = f"{root}/memory-{max(numbers):06d}.json"
    try:
        content = parse_json(files.cat_file(path))
        version = content["version"]
    except (LookupError, TypeError, ValueError) as error:
        raise _damaged(uri, path, error) from error
    if version != VERSION:
        raise FailedPrecondition(
            f"the memory at {uri} is of version {version}, this program reads version {VERSION}: fill a new one"
        )
    try:
        return _from_json(content, files, root, uri)
    except (LookupError, TypeError, ValueError, FileNotFoundError) as error:
        raise _damaged(uri, path, error) from error


def _damaged(uri: str, path: str, error: Exception) -> FailedPrecondition:
    return FailedPrecondition(f"the memory at {uri} is damaged, {path} can't be read: {error!r}")


def _to_json(memory: Memory) -> dict[str, Any]:
    return {
        "version": VERSION,
        "number": memory.number,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "shards": list(memory.shards),
        "out": list(memory.out),
        "policies": [{"name": one.name, "digest": one.digest} for one in memory.policies],
        "tried": dict(memory.tried),
        "refused": dict(memory.refused),
    }


def _from_json(content: Mapping[str, Any], files: AbstractFileSystem, root: str, uri: str) -> Memory:
    out = tuple(content["out"])
    gone = set(out)
    entries: dict[str, Entry] = {}
    for name in content["shards"]:
        table = pq.read_table(io.BytesIO(files.cat_file(f"{root}/{_SHARDS}/{name}")))
        entries |= {entry.sha256: entry for entry in map(from_row, table.to_pylist())}
    return Memory(
        uri=uri,
        number=int(content["number"]),
        entries=tuple(entry for entry in entries.values() if entry.sha256 not in gone),
        past=frozenset(entries),
        policies=tuple(PaintedBy(name=one["name"], digest=one["digest"]) for one in content["policies"]),
        tried={name: int(count) for name, count in content["tried"].items()},
        refused={name: int(count) for name, count in content["refused"].items()},
        shards=tuple(content["shards"]),
        out=out,
    )


def _write_labels(files: AbstractFileSystem, root: str, memory: Memory, *, only_behind: bool) -> None:
    """The labels of every split that has entries, or had some."""
    for split in _SPLITS:
        path = _labels_path(root, split)
        entries = memory.of(split)
        number = _number(files, path)
        if (number is None and not entries) or (only_behind and number == memory.number):
            continue
        try:
            write_whole(files, path, _table_bytes(entries, memory.number))
        except OSError as error:
            raise explained(error, Path(path)) from error


def _labels_path(root: str, split: str) -> str:
    return f"{root}/{split}/{LABELS_FILE}"


def _number(files: AbstractFileSystem, path: str) -> int | None:
    """The manifest that a labels file follows from; None where there is no file that says so."""
    try:
        metadata = pq.read_schema(io.BytesIO(files.cat_file(path))).metadata or {}
        return int(metadata[_NUMBER_KEY])
    except (FileNotFoundError, LookupError, ValueError):
        return None


def _table_bytes(entries: Sequence[Entry], number: int | None = None) -> bytes:
    schema = ENTRY_SCHEMA if number is None else ENTRY_SCHEMA.with_metadata({_NUMBER_KEY: str(number)})
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(map(to_row, entries)), schema), stream, compression="zstd")
    return stream.getvalue()


def _sums(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in sorted({*one, *other})}
