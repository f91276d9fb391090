"""The emotional memory on disk: nothing that was acknowledged is lost, whatever happens to its writer."""

import errno
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest, ResourceExhausted
from emofeedback_trainer.data.storage import read_split, splits
from emofeedback_trainer.emotional_memory.entries import Painted, from_row, to_row
from emofeedback_trainer.emotional_memory.store import picture_of, read_memory, writing
from support.colored_world import data_folder
from support.painted_entries import LATER, POLICY, painted


class FullDisk(MemoryFileSystem):  # type: ignore[misc, unused-ignore]
    """A store that refuses files of some names as a full disk does."""

    protocol: ClassVar[Any] = "fulldisk"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    refused: ClassVar[str] = ""

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        if self.refused and self.refused in path:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().pipe_file(path, value, mode=mode, **kwargs)


@pytest.fixture
def full_disk() -> Iterator[type[FullDisk]]:
    fsspec.register_implementation("fulldisk", FullDisk, clobber=True)
    FullDisk.store.clear()
    FullDisk.refused = ""
    yield FullDisk
    FullDisk.store.clear()
    FullDisk.refused = ""


def _digests(uri: str) -> list[str]:
    return [entry.sha256 for entry in read_memory(uri).entries]


def test_what_was_committed_is_read_back_entry_by_entry_with_its_pictures(tmp_path: Path) -> None:
    pictures = [painted(1), painted(2, split="val")]
    with writing(str(tmp_path)) as writer:
        writer.commit(pictures, policy=POLICY, tried={"key": 2}, refused={"witness": 3})
        writer.commit([painted(3)], policy=LATER, refused={"witness": 1})
    memory = read_memory(str(tmp_path))
    assert memory.entries == (pictures[0].entry, pictures[1].entry, painted(3).entry)
    assert [picture_of(memory, entry) for entry in memory.entries[:2]] == [one.png for one in pictures]
    assert (memory.policies, memory.tried, memory.refused) == ((POLICY, LATER), {"key": 2}, {"witness": 4})


def test_it_opens_as_a_data_folder(tmp_path: Path) -> None:
    with writing(str(tmp_path)) as writer:
        writer.commit([painted(1), painted(2, split="val")], policy=POLICY)
    assert splits(tmp_path) == ("train", "val")
    (sample,) = read_split(tmp_path, "train")
    assert (sample.valence, sample.arousal, sample.emotion) == (7.0, 5.0, "amusement")
    assert Path(str(sample.image)).read_bytes() == painted(1).png


def test_the_same_picture_again_changes_nothing_not_even_after_it_has_gone(tmp_path: Path) -> None:
    with writing(str(tmp_path)) as writer:
        writer.commit([painted(1), painted(1)], policy=POLICY)
        writer.commit([painted(1)], policy=POLICY)
        assert _digests(str(tmp_path)) == [painted(1).entry.sha256]
        for generation in (1, 2, 3):
            writer.commit([painted(generation + 1, generation=generation)], policy=POLICY)
        assert painted(1).entry.sha256 in writer.memory.out
        writer.commit([painted(1)], policy=POLICY)
    assert painted(1).entry.sha256 not in _digests(str(tmp_path))


@settings(max_examples=20)
@given(st.lists(st.lists(st.integers(0, 6), max_size=4), max_size=4))
def test_however_pictures_come_in_commits_each_is_there_once(
    tmp_path_factory: pytest.TempPathFactory, commits: list[list[int]]
) -> None:
    uri = f"memory://{tmp_path_factory.mktemp('memory')}"
    with writing(uri) as writer:
        for numbers in commits:
            writer.commit([painted(number) for number in numbers], policy=POLICY)
    expected = dict.fromkeys(number for numbers in commits for number in numbers)
    assert _digests(uri) == [painted(number).entry.sha256 for number in expected]
    assert read_memory(uri).number == len(commits)


@pytest.mark.parametrize("refused", ["images", "shards", "memory-000002"])
def test_a_full_disk_is_told_and_leaves_the_memory_as_it_was(full_disk: type[FullDisk], refused: str) -> None:
    uri = "fulldisk://bucket/memory"
    with writing(uri) as writer:
        writer.commit([painted(1)], policy=POLICY)
        full_disk.refused = refused
        with pytest.raises(ResourceExhausted, match="disk is full"):
            writer.commit([painted(2)], policy=POLICY)
        assert _digests(uri) == [painted(1).entry.sha256]
        full_disk.refused = ""
        writer.commit([painted(2)], policy=POLICY)
    assert _digests(uri) == [painted(1).entry.sha256, painted(2).entry.sha256]


def test_labels_that_a_full_disk_left_behind_are_made_anew_by_the_next_writer(full_disk: type[FullDisk]) -> None:
    uri = "fulldisk://bucket/memory"
    with writing(uri) as writer:
        full_disk.refused = "metadata"
        with pytest.raises(ResourceExhausted):
            writer.commit([painted(1)], policy=POLICY)
        assert writer.memory == read_memory(uri)
    full_disk.refused = ""
    with writing(uri):
        pass
    with fsspec.open(f"{uri}/train/metadata.parquet", "rb") as file:
        rows = pq.read_table(file).to_pylist()
    assert [from_row(row) for row in rows] == [painted(1).entry]


@pytest.mark.parametrize("refused", ["shards", "memory-000001"])
def test_what_a_writer_left_before_its_first_manifest_is_in_nobody_s_way(
    full_disk: type[FullDisk], refused: str
) -> None:
    uri = "fulldisk://bucket/memory"
    full_disk.refused = refused
    with writing(uri) as writer, pytest.raises(ResourceExhausted):
        writer.commit([painted(1)], policy=POLICY)
    full_disk.refused = ""
    with writing(uri) as writer:
        writer.commit([painted(1)], policy=POLICY)
    assert _digests(uri) == [painted(1).entry.sha256]


def test_a_data_folder_is_not_taken_for_a_memory(tmp_path: Path) -> None:
    data_folder(tmp_path / "data", train=1, val=1)
    with pytest.raises(FailedPrecondition, match="holds something else"):
        read_memory(str(tmp_path / "data"))


@pytest.mark.parametrize("where", ["images", "shards", "memory-000002", "metadata.parquet"])
def test_a_writer_killed_before_any_of_its_files_loses_nothing_that_was_acknowledged(
    tmp_path: Path, where: str
) -> None:
    script = f"""
        import os, signal
        from support.painted_entries import POLICY, painted
        from emofeedback_trainer.emotional_memory import store

        with store.writing({str(tmp_path)!r}) as writer:
            writer.commit([painted(1)], policy=POLICY)
            print("acknowledged", flush=True)

            def dying(write):
                def one(files, path, data):
                    if {where!r} in path:
                        os.kill(os.getpid(), signal.SIGKILL)
                    write(files, path, data)
                return one

            store.write_whole, store.write_new = dying(store.write_whole), dying(store.write_new)
            writer.commit([painted(2)], policy=POLICY)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (-9, "acknowledged\n"), done.stderr
    named = 2 if where == "metadata.parquet" else 1
    assert _digests(str(tmp_path)) == [painted(number).entry.sha256 for number in range(1, named + 1)]
    with writing(str(tmp_path)) as writer:
        writer.commit([painted(2)], policy=POLICY)
    assert [sample.id for sample in read_split(tmp_path, "train")] == [painted(n).entry.sha256 for n in (1, 2)]


def test_two_writers_of_a_local_memory_are_refused_at_once(tmp_path: Path) -> None:
    with (
        writing(str(tmp_path)),
        pytest.raises(FailedPrecondition, match="another process works in"),
        writing(str(tmp_path)),
    ):
        pass


def test_of_two_writers_elsewhere_the_slower_is_refused_and_the_quicker_kept(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    uri = f"memory://{tmp_path_factory.mktemp('memory')}"
    with writing(uri) as one, writing(uri) as other:
        one.commit([painted(1)], policy=POLICY)
        with pytest.raises(FailedPrecondition, match="another process has written to the memory"):
            other.commit([painted(2)], policy=POLICY)
    assert _digests(uri) == [painted(1).entry.sha256]


def test_a_memory_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "memory-000001.json").write_text(json.dumps({"version": 2}))
    with pytest.raises(FailedPrecondition, match="is of version 2, this program reads version 1"):
        read_memory(str(tmp_path))


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with (
        pytest.raises(FailedPrecondition, match="holds something else than an emotional memory"),
        writing(str(tmp_path)),
    ):
        pass


def test_a_damaged_manifest_or_picture_is_named(tmp_path: Path) -> None:
    with writing(str(tmp_path)) as writer:
        memory = writer.commit([painted(1)], policy=POLICY)
    (tmp_path / "train" / memory.entries[0].file_name).write_bytes(b"half")
    with pytest.raises(FailedPrecondition, match="is not the picture that was kept"):
        picture_of(memory, memory.entries[0])
    (tmp_path / "memory-000002.json").write_text("{")
    with pytest.raises(FailedPrecondition, match=r"memory-000002.json can't be read"):
        read_memory(str(tmp_path))


def test_what_is_no_png_or_not_its_entrys_picture_is_not_kept(tmp_path: Path) -> None:
    whole = painted(1)
    with writing(str(tmp_path)) as writer:
        with pytest.raises(InvalidRequest, match="picture scene-1: is no PNG"):
            writer.commit([Painted(entry=whole.entry, png=b"\xff\xd8\xff\xe0")], policy=POLICY)
        with pytest.raises(InvalidRequest, match="is not the picture whose digest its entry has"):
            writer.commit([Painted(entry=whole.entry, png=painted(2).png)], policy=POLICY)
    assert read_memory(str(tmp_path)).number == 0


def test_a_row_tells_the_whole_entry() -> None:
    one = painted(5, emotion=None, generation=2).entry
    assert from_row(to_row(one)) == one
