"""EmoSet-118K (Yang et al., ICCV 2023): pictures from the web under one of Mikels' eight emotions.

info.json                                   {"emotion": {"label2idx": {...}, ...}, and the other attributes}, or, as it
                                            was first published, {"label2idx": {...}, ...} of the emotions alone
train.json, val.json, test.json             [[emotion, image, annotation], ...], or with an id as second element
image/<emotion>/<emotion>_00001.jpg
annotation/<emotion>/<emotion>_00001.json   {"emotion": ..., and what of brightness, scene, ... there is}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.rows import Row, json_file
from emofeedback_trainer.data.taxonomies import mikels

SOURCE = "emoset"
LICENSE = "EmoSet: non-commercial research only"
SPLITS = ("train", "val", "test")


def rows(folder: Path) -> Iterator[Row]:
    """One row per entry of the three lists, in their order."""
    info = json_file(folder, "info.json", dict)
    if "emotion" not in info and "label2idx" not in info:
        raise InvalidRequest.of("info.json", "has neither 'emotion' nor 'label2idx', so this is not EmoSet's layout")
    for split in SPLITS:
        for number, entry in enumerate(json_file(folder, f"{split}.json", list), start=1):
            yield Row(folder=folder, file=f"{split}.json", number=number, cells={"entry": entry, "split": split})


def sample(row: Row) -> Sample:
    """One picture; its annotation must name the same emotion."""
    entry = row.cells["entry"]
    if not (isinstance(entry, list) and len(entry) in (3, 4) and all(isinstance(e, str | int) for e in entry)):
        raise row.bad(
            "", f"is {str(entry)[:60]}, it must be [emotion, image, annotation] or [emotion, id, image, annotation]"
        )
    label, image, annotation = str(entry[0]), str(entry[-2]), str(entry[-1])
    emotion = mikels(label)
    if emotion is None:
        raise row.bad("emotion", f"is {label!r}, which is none of the eight emotions")
    path = row.path("image", image)
    row.path("annotation", annotation)
    try:
        annotated = json_file(row.folder, annotation, dict).get("emotion")
    except InvalidRequest as error:
        raise row.bad("annotation", str(error)) from error
    if annotated != label:
        raise row.bad("annotation", f"{annotation} says {annotated!r}, the list says {label!r}")
    return Sample(
        id=PurePosixPath(image).stem,
        source=SOURCE,
        license=LICENSE,
        image=path,
        emotion=emotion,
        label=label,
        split=row.cells["split"],
    )
