"""What people wrote about pictures, from a CSV of its own: `source, id, comment`, one comment a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.rows import BadCell, whole_table


def with_comments(samples: Sequence[Sample], path: Path) -> list[Sample]:
    """The samples, each with its comments of the file behind those that it has already.

    Raises:
        InvalidRequest: no such file or column, an empty cell, or a picture that is none of the samples, by row.
    """
    comments: dict[tuple[str, str], list[str]] = {(sample.source, sample.id): [] for sample in samples}
    for row in whole_table(path, ("source", "id", "comment")):
        try:
            key = row.text("source"), row.text("id")
            if key not in comments:
                raise row.bad("id", f"is {key[1]!r}, and no sample of {key[0]!r} has that id")
            comments[key].append(row.text("comment"))
        except BadCell as error:
            raise error.bad.error() from error
    return [replace(sample, comments=(*sample.comments, *comments[sample.source, sample.id])) for sample in samples]
