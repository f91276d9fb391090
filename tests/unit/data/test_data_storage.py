"""Data folders: what is written is read back, the same samples are the same bytes, and bad rows are named."""

from __future__ import annotations

import errno
import io
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from emofeedback.domain.affect import Emotion
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest, NotFound, ResourceExhausted
from emofeedback_trainer.data.records import BadRow, RankedEmotion, Sample
from emofeedback_trainer.data.storage import (
    LABELS_FILE,
    SCHEMA,
    data_digest,
    read_rows,
    read_split,
    splits,
    write_split,
)


def picture(color: str, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (6, 4), color).save(stream, kind)
    return stream.getvalue()


def samples() -> list[Sample]:
    full = Sample(
        id="people/1 #2",
        image=picture("red"),
        neutral_prompt="a man in a city",
        emotional_prompt="a crying man in a dim city",
        valence=2.5,
        arousal=3.25,
        dominance=4.0,
        emotion=Emotion.SADNESS,
        label="grief",
        ranking=(RankedEmotion(label="sadness", weight=3), RankedEmotion(label="fear", weight=1.5)),
        votes=(("sadness", "fear"), ("sadness",)),
        comments=("he has lost something",),
        split="train",
        source="made up",
        license="none",
    )
    return [full, Sample(id="2", image=picture("blue", "JPEG"), source="made up", license="none", split="train")]


def labels_with(folder: Path, **cells: Any) -> None:
    """The train split's labels with cells of the second row replaced."""
    path = folder / "train" / LABELS_FILE
    rows = pq.read_table(path).to_pylist()
    rows[1].update(cells)
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)


def test_samples_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert write_split(tmp_path, "train", samples()) == 2
    assert splits(tmp_path) == ("train",)
    read = read_split(tmp_path, "train")
    assert [replace(one, image=None) for one in read] == [replace(one, image=None) for one in samples()]
    paths = [one.image for one in read if isinstance(one.image, Path)]
    assert [path.read_bytes() for path in paths] == [one.image for one in samples()]
    assert [path.suffix for path in paths] == [".png", ".jpg"]


def test_the_same_samples_are_the_same_bytes_and_digest(tmp_path: Path) -> None:
    for name in "ab":
        write_split(tmp_path / name, "train", samples())
    one, other = ((tmp_path / name / "train" / LABELS_FILE).read_bytes() for name in "ab")
    assert one == other
    assert data_digest(tmp_path / "a") == data_digest(tmp_path / "b")


def test_the_digest_covers_pixels_labels_and_splits(tmp_path: Path) -> None:
    first, second = samples()
    kinds = {
        "as it is": {"train": samples()},
        "pixels": {"train": [replace(first, image=picture("green")), second]},
        "labels": {"train": [replace(first, valence=2.6), second]},
        "splits": {"test": samples()},
    }
    for name, parts in kinds.items():
        for split, many in parts.items():
            write_split(tmp_path / name, split, many)
    assert len({data_digest(tmp_path / name) for name in kinds}) == len(kinds)


def test_a_split_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    def cut() -> Any:
        yield samples()[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_split(tmp_path, "train", cut())
    with pytest.raises(NotFound, match="is no data folder"):
        splits(tmp_path)
    write_split(tmp_path, "train", samples())
    assert [path.name for path in sorted((tmp_path / "train" / "images").iterdir())] == ["000000.png", "000001.jpg"]


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ([], "train: is empty"),
        ([samples()[0], samples()[0]], "train.people/1 #2: is the id of two samples"),
        ([replace(samples()[0], image=None)], r"train.people/1 #2.image: is missing"),
        ([replace(samples()[0], image=Path("/nowhere.png"))], r"nowhere.png can't be read: No such file"),
        ([replace(samples()[0], image=b"GIF89a")], "is not a readable PNG, JPEG or WebP image"),
        ([replace(samples()[0], image=picture("red")[:50])], "train.people/1 #2.image"),
    ],
)
def test_what_can_not_be_stored_is_refused_by_name(tmp_path: Path, written: list[Sample], complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=complaint):
        write_split(tmp_path, "train", written)
    assert not (tmp_path / "train").exists()


def test_a_full_disk_is_one_clear_error_and_the_split_is_written_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(ResourceExhausted, match=r"the disk is full, .*train could not be written"):
        write_split(tmp_path, "train", samples())
    monkeypatch.undo()
    assert not (tmp_path / "train").exists()
    assert write_split(tmp_path, "train", samples()) == len(samples())


def test_a_split_is_never_written_over(tmp_path: Path) -> None:
    write_split(tmp_path, "train", samples())
    with pytest.raises(FailedPrecondition, match="exists already"):
        write_split(tmp_path, "train", samples())


@pytest.mark.parametrize(
    ("cells", "place"),
    [
        ({"valence": math.nan}, "train/metadata.parquet row 2 column valence: is nan"),
        ({"arousal": 9.5}, "train/metadata.parquet row 2 column arousal: is 9.5, it must lie in"),
        ({"id": "people/1 #2"}, "row 2 column id: 'people/1 #2' was an earlier row's"),
        ({"id": ""}, "row 2 column id: is empty"),
        ({"emotion": "joy"}, "row 2 column emotion: 'joy' is none of amusement"),
        ({"file_name": "images/9.png"}, "row 2 column file_name: names 'images/9.png', and there is no such file"),
    ],
)
def test_a_bad_row_stops_the_reading_or_is_counted(tmp_path: Path, cells: dict[str, Any], place: str) -> None:
    write_split(tmp_path, "train", samples())
    labels_with(tmp_path, **cells)
    with pytest.raises(InvalidRequest, match=place):
        read_split(tmp_path, "train")
    good, bad = read_rows(tmp_path, "train")
    assert isinstance(good, Sample)
    assert isinstance(bad, BadRow)
    assert place.split(":")[0] in str(bad)


def test_damaged_labels_are_refused_by_file_and_column(tmp_path: Path) -> None:
    write_split(tmp_path, "train", samples())
    path = tmp_path / "train" / LABELS_FILE
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["arousal"]), path)
    with pytest.raises(InvalidRequest, match=r"train/metadata.parquet column arousal: is missing"):
        read_split(tmp_path, "train")
    pq.write_table(table.slice(0, 0), path)
    with pytest.raises(InvalidRequest, match="has no rows"):
        read_split(tmp_path, "train")
    path.write_bytes(b"PAR1 and nothing")
    with pytest.raises(InvalidRequest, match="is no readable Parquet file"):
        read_split(tmp_path, "train")


def test_a_split_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    write_split(tmp_path, "train", samples())
    with pytest.raises(NotFound, match="has no split 'test', it has train"):
        read_split(tmp_path, "test")
