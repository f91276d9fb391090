"""The page of a batch (`templates/index.html`): a thumbnail, the target, the reading and a link for each run."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from emofeedback.domain.assessment import Assessment
from emofeedback.runs.directory import RunDirectory
from emofeedback.runs.report.document import STYLE, environment
from emofeedback.runs.report.page import REPORT
from emofeedback.storage.files import write_whole

INDEX = "index.html"
_THUMBNAIL = 256
"""Longer side of a thumbnail, in pixels."""


def write_index(folder: Path, runs: Sequence[RunDirectory], wanted: int) -> Path:
    """Writes `index.html` into the folder that the runs' folders lie in; returns its path.

    Args:
        wanted: how many runs it will be.

    Raises:
        ResourceExhausted, FailedPrecondition: as `storage.files.write_whole`; an answer's image can't be read.
    """
    page = (
        environment()
        .get_template("index.html")
        .render(
            style=STYLE,
            runs=runs,
            wanted=wanted,
            thumbnail=_thumbnail,
            reading=_reading,
            link=lambda run: f"{quote(run.path.name)}/{REPORT}",
        )
    )
    path = folder / INDEX
    write_whole(path, page.encode(errors="backslashreplace"))
    return path


def _thumbnail(directory: RunDirectory) -> bytes | None:
    """The answer as a small PNG; None where there is none."""
    if directory.run.best is None:
        return None
    with Image.open(io.BytesIO(directory.image(directory.run.best))) as image:
        image.thumbnail((_THUMBNAIL, _THUMBNAIL))
        file = io.BytesIO()
        image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _reading(directory: RunDirectory) -> Assessment | None:
    candidate = directory.run.best_candidate
    return candidate.outcome if candidate is not None and isinstance(candidate.outcome, Assessment) else None
