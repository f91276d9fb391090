"""EMOTIC (Kosti et al., 2019): people in context, 26 categories and valence, arousal, dominance on 1-10.

    Annotations/Annotations.mat             structures `train`, `val` and `test`, as published; or, from the usual
    emotic_pre/{train,val,test}.csv         conversion of it to CSV, with lists as Python writes them
    emotic/<folder>/<filename>              the pictures of both

A sample is a person: a picture with three people makes three. Where several annotators looked at a person, the file's
`combined_*` fields are the labels and each annotator's categories are the votes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.data.records import AXES, Sample
from emofeedback_trainer.data.rows import Row, table, to_scale
from emofeedback_trainer.data.taxonomies import mikels

SOURCE = "emotic"
LICENSE = "EMOTIC: non-commercial research only"
SPLITS = ("train", "val", "test")

MAT = "Annotations/Annotations.mat"
LOWEST, HIGHEST = 1.0, 10.0
CATEGORIES = (
    "Affection", "Anger", "Annoyance", "Anticipation", "Aversion", "Confidence", "Disapproval", "Disconnection",
    "Disquietment", "Doubt/Confusion", "Embarrassment", "Engagement", "Esteem", "Excitement", "Fatigue", "Fear",
    "Happiness", "Pain", "Peace", "Pleasure", "Sadness", "Sensitivity", "Suffering", "Surprise", "Sympathy", "Yearning",
)  # fmt: skip
"""The 26, as the files spell them."""
_COLUMNS = ("Index", "Folder", "Filename", "Categorical_Labels", "Continuous_Labels")


def rows(folder: Path) -> Iterator[Row]:
    """One row per person, from the MATLAB file where it is there, else from the CSV files."""
    if (folder / MAT).is_file():
        yield from _mat_rows(folder)
    elif (folder / "emotic_pre").is_dir():
        for split in SPLITS:
            yield from table(folder, f"emotic_pre/{split}.csv", _COLUMNS)
    else:
        raise InvalidRequest.of(MAT, f"is missing in {folder}, and so is emotic_pre/ with the CSV files")


def sample(row: Row) -> Sample:
    """One person."""
    return _of_mat(row) if row.file == MAT else _of_csv(row)


def _mat_rows(folder: Path) -> Iterator[Row]:
    from scipy.io import loadmat

    try:
        content = loadmat(folder / MAT, simplify_cells=True)
    except Exception as error:  # on a damaged file scipy raises whatever its parsing runs into
        raise InvalidRequest.of(MAT, f"is no readable MATLAB file (version 7.2 or older): {error}") from error
    for split in SPLITS:
        if split not in content:
            raise InvalidRequest.of(f"{MAT} column {split}", "is missing")
        for number, picture in enumerate(_listed(content[split]), start=1):
            people = _listed(picture.get("person")) if isinstance(picture, Mapping) else [None]
            for place, person in enumerate(people):
                cells = {"split": split, "picture": picture, "place": place, "person": person}
                yield Row(folder=folder, file=MAT, number=number, cells=cells)


def _of_mat(row: Row) -> Sample:
    split, place = row.cells["split"], row.cells["place"]
    where = f"{split}.person[{place}]"
    picture = _fields(row, split, row.cells["picture"])
    person = _fields(row, where, row.cells["person"])
    continuous_field = "combined_continuous" if "combined_continuous" in person else "annotations_continuous"
    continuous = _fields(row, f"{where}.{continuous_field}", person.get(continuous_field))
    annotators = [
        _fields(row, f"{where}.annotations_categories", a) for a in _listed(person.get("annotations_categories"))
    ]
    votes = tuple(tuple(map(str, _listed(annotator.get("categories")))) for annotator in annotators)
    if "combined_categories" in person:
        categories = [str(category) for category in _listed(person["combined_categories"])]
    else:
        categories = [category for vote in votes for category in vote]
    axes = [row.checked(f"{where}.{continuous_field}.{axis}", continuous.get(axis), LOWEST, HIGHEST) for axis in AXES]
    return _person(
        row,
        split=split,
        image=(f"{split}.filename", f"{picture.get('folder')}/{picture.get('filename')}"),
        place=place,
        categories=(f"{where}.categories", categories),
        votes=votes,
        axes=axes,
    )


def _of_csv(row: Row) -> Sample:
    ratings = row.literal("Continuous_Labels")
    if len(ratings) != len(AXES):
        raise row.bad("Continuous_Labels", f"has {len(ratings)} numbers, it must have valence, arousal and dominance")
    categories = row.literal("Categorical_Labels")
    return _person(
        row,
        split=Path(row.file).stem,
        image=("Filename", f"{row.text('Folder')}/{row.text('Filename')}"),
        place=row.text("Index"),
        categories=("Categorical_Labels", [str(category) for category in categories]),
        votes=(),
        axes=[row.checked("Continuous_Labels", rating, LOWEST, HIGHEST) for rating in ratings],
    )


def _person(
    row: Row,
    *,
    split: str,
    image: tuple[str, str],
    place: int | str,
    categories: tuple[str, list[str]],
    votes: tuple[tuple[str, ...], ...],
    axes: list[float],
) -> Sample:
    """The record; `image` and `categories` come with the columns that they stand in."""
    (image_column, name), (column, named) = image, categories
    if not named:
        raise row.bad(column, "is empty, a person has at least one category")
    for category in named:
        if category not in CATEGORIES:
            raise row.bad(column, f"holds {category!r}, which is none of EMOTIC's 26 categories")
    valence, arousal, dominance = (to_scale(rating, LOWEST, HIGHEST) for rating in axes)
    return Sample(
        id=f"{split}/{name}#{place}",
        source=SOURCE,
        license=LICENSE,
        image=row.path(image_column, f"emotic/{name}"),
        valence=valence,
        arousal=arousal,
        dominance=dominance,
        emotion=next((emotion for category in named if (emotion := mikels(category))), None),
        label=named[0],
        votes=votes or (tuple(named),),
        split=split,
    )


def _listed(value: Any) -> list[Any]:
    """What MATLAB keeps as an array of one and scipy then as the thing itself, as a list again."""
    if value is None:
        return []
    if isinstance(value, str | Mapping):
        return [value]
    return list(value)


def _fields(row: Row, column: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise row.bad(column, "is missing, it must be a structure")
    return value
