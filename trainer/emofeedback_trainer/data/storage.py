"""Data sets on disk: a Parquet file of labels and a folder of pictures a split, which `datasets.load_dataset` opens.

    train/metadata.parquet     a row a sample, columns as in `SCHEMA`
    train/images/000000.png    the pictures as they came, numbered as the rows are
    val/..., test/...

The same samples give the same bytes. A split appears whole or not at all: it is written beside its place and moved.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from emofeedback.domain.affect import Emotion
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest, NotFound
from emofeedback.judge.images import FORMATS, read_image
from emofeedback.storage.files import explained
from emofeedback.storage.texts import file_within
from emofeedback_trainer.data.records import AXES, BadRow, RankedEmotion, Sample

SPLITS = ("train", "val", "test")
LABELS_FILE = "metadata.parquet"
"""The name by which `datasets` knows a file of labels beside pictures."""
_IMAGES = "images"

SCHEMA = pa.schema(
    [
        ("file_name", pa.string()),
        ("id", pa.string()),
        ("neutral_prompt", pa.string()),
        ("emotional_prompt", pa.string()),
        *((axis, pa.float64()) for axis in AXES),
        ("emotion", pa.string()),
        ("label", pa.string()),
        ("ranking", pa.list_(pa.struct([("label", pa.string()), ("weight", pa.float64())]))),
        ("votes", pa.list_(pa.list_(pa.string()))),
        ("comments", pa.list_(pa.string())),
        ("source", pa.string()),
        ("license", pa.string()),
        ("image_sha256", pa.string()),
    ]
)
"""Columns of a labels file. `file_name` is the picture's path beside it; `datasets` shows it as the column `image`."""


def write_split(folder: Path, split: str, samples: Iterable[Sample]) -> int:
    """Writes one split; the samples are taken one by one, so their pictures need not be in memory together.

    Returns:
        How many samples it has.

    Raises:
        FailedPrecondition: the folder has this split already.
        InvalidRequest: an id comes twice, a sample has no readable picture, or there is no sample at all.
        ResourceExhausted: the disk is full.
    """
    target = folder / split
    if target.exists():
        raise FailedPrecondition(f"{target} exists already: remove it, or write into another folder")
    try:
        return _write_split(folder, split, samples)
    except OSError as error:
        raise explained(error, target) from error


def _write_split(folder: Path, split: str, samples: Iterable[Sample]) -> int:
    target, partial = folder / split, folder / f".{split}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    (partial / _IMAGES).mkdir(parents=True)
    rows: dict[str, dict[str, Any]] = {}
    for sample in samples:
        if sample.id in rows:
            raise InvalidRequest.of(f"{split}.{sample.id}", "is the id of two samples, each must have one of its own")
        data = _image_bytes(sample, split)
        name = f"{_IMAGES}/{len(rows):06d}{_suffix(data)}"
        (partial / name).write_bytes(data)
        rows[sample.id] = _row(sample, name, data)
    if not rows:
        shutil.rmtree(partial)
        raise InvalidRequest.of(split, "is empty, a split needs at least one sample")
    pq.write_table(pa.Table.from_pylist(list(rows.values()), SCHEMA), partial / LABELS_FILE, compression="zstd")
    partial.rename(target)
    return len(rows)


def splits(folder: Path) -> tuple[str, ...]:
    """The splits that the folder has, in the order of `SPLITS`.

    Raises:
        NotFound: it has none.
    """
    found = tuple(split for split in SPLITS if (folder / split / LABELS_FILE).is_file())
    if not found:
        raise NotFound(f"{folder} is no data folder: it has none of {', '.join(f'{s}/{LABELS_FILE}' for s in SPLITS)}")
    return found


def read_split(folder: Path, split: str) -> list[Sample]:
    """The samples of one split, in the order in which they were written; their images are paths.

    Raises:
        NotFound: the folder has no such split.
        InvalidRequest: the first bad row, by file, row and column.
    """
    samples = []
    for entry in read_rows(folder, split):
        if isinstance(entry, BadRow):
            raise entry.error()
        samples.append(entry)
    return samples


def read_rows(folder: Path, split: str) -> Iterator[Sample | BadRow]:
    """As `read_split`, for those who count bad rows instead of stopping at them.

    Raises:
        NotFound: the folder has no such split.
        InvalidRequest: the labels file can't be read, lacks a column, or has no rows.
    """
    if split not in splits(folder):
        raise NotFound(f"{folder} has no split {split!r}, it has {', '.join(splits(folder))}")
    file = f"{split}/{LABELS_FILE}"
    table = _table(folder, file)
    seen: set[str] = set()
    for number, row in enumerate(table.to_pylist(), 1):
        entry = _sample(folder, split, file, number, row)
        if isinstance(entry, Sample):
            if entry.id in seen:
                entry = BadRow(file=file, row=number, column="id", problem=f"{entry.id!r} was an earlier row's already")
            else:
                seen.add(entry.id)
        yield entry


def data_digest(folder: Path) -> str:
    """`sha256:` and 64 hex digits over the labels of all splits, which hold the digest of every picture."""
    digest = hashlib.sha256()
    for split in splits(folder):
        digest.update(f"{split}\n".encode())
        digest.update((folder / split / LABELS_FILE).read_bytes())
    return f"sha256:{digest.hexdigest()}"


def _row(sample: Sample, name: str, image: bytes) -> dict[str, Any]:
    return {
        "file_name": name,
        "id": sample.id,
        "neutral_prompt": sample.neutral_prompt,
        "emotional_prompt": sample.emotional_prompt,
        **{axis: getattr(sample, axis) for axis in AXES},
        "emotion": sample.emotion and sample.emotion.value,
        "label": sample.label,
        "ranking": [{"label": place.label, "weight": place.weight} for place in sample.ranking],
        "votes": [list(votes) for votes in sample.votes],
        "comments": list(sample.comments),
        "source": sample.source,
        "license": sample.license,
        "image_sha256": hashlib.sha256(image).hexdigest(),
    }


def _image_bytes(sample: Sample, split: str) -> bytes:
    """The sample's picture, checked to be one."""
    field = f"{split}.{sample.id}.image"
    if sample.image is None:
        raise InvalidRequest.of(field, "is missing, every stored sample needs a picture")
    if isinstance(sample.image, bytes):
        data = sample.image
    else:
        try:
            data = sample.image.read_bytes()
        except OSError as error:
            raise InvalidRequest.of(field, f"{sample.image} can't be read: {error.strerror}") from error
    read_image(data, field=field)
    return data


def _suffix(image: bytes) -> str:
    kind = Image.open(io.BytesIO(image), formats=FORMATS).format or "PNG"
    return {"PNG": ".png", "WEBP": ".webp"}.get(kind, ".jpg")  # MPO is a JPEG with further views


def _table(folder: Path, file: str) -> pa.Table:
    try:
        table = pq.read_table(folder / file)
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidRequest.of(file, "is no readable Parquet file: write the split anew") from error
    for field in SCHEMA:
        if field.name not in table.column_names:
            raise InvalidRequest.of(f"{file} column {field.name}", "is missing")
    if not table.num_rows:
        raise InvalidRequest.of(file, "has no rows, a split needs at least one sample")
    try:
        return table.select(SCHEMA.names).cast(SCHEMA)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidRequest.of(file, f"has a column of another type: {error}") from error


def _sample(folder: Path, split: str, file: str, number: int, row: Mapping[str, Any]) -> Sample | BadRow:
    def bad(column: str, problem: str) -> BadRow:
        return BadRow(file=file, row=number, column=column, problem=problem)

    try:
        image = file_within(folder / split, row["file_name"] or "")
    except ValueError as error:
        return bad("file_name", str(error))
    if row["emotion"] is not None and row["emotion"] not in set(Emotion):
        return bad("emotion", f"{row['emotion']!r} is none of {', '.join(Emotion)}")
    try:
        return Sample(
            id=row["id"],
            image=image,
            neutral_prompt=row["neutral_prompt"] or "",
            emotional_prompt=row["emotional_prompt"] or "",
            valence=row["valence"],
            arousal=row["arousal"],
            dominance=row["dominance"],
            emotion=row["emotion"] and Emotion(row["emotion"]),
            label=row["label"] or "",
            ranking=tuple(RankedEmotion(**place) for place in row["ranking"] or ()),
            votes=tuple(map(tuple, row["votes"] or ())),
            comments=tuple(row["comments"] or ()),
            split=split,
            source=row["source"] or "",
            license=row["license"] or "",
        )
    except (TypeError, ValueError) as error:
        column, _, problem = str(error).partition(" ")
        return bad(column, problem)
