"""`emofeedback calibrate`: learn how one person's ratings differ from the judge's, from a table of pictures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from emofeedback.backends import Engines
from emofeedback.cli.display import loading
from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN
from emofeedback.domain.assessment import Assessment, AssessmentOutcome, Judge
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.validation import check_user
from emofeedback.judge.calibration import KNOTS, Axis, AxisCalibration, Refusal, calibrated, fit_axis
from emofeedback.judge.calibration_store import CalibrationStore
from emofeedback.observability.consoles import Consoles
from emofeedback.storage.tables import TableRow, read_table, to_number
from emofeedback.storage.texts import file_within

AXES: tuple[Axis, ...] = ("valence", "arousal")
_BATCH = 16
"""Images in one call, as in `emofeedback assess`."""


@dataclass(frozen=True, kw_only=True)
class RatedPicture:
    """One row of the table."""

    path: Path
    valence: float | None
    """On 1-9; None where the person didn't say."""
    arousal: float | None


def calibrate(table: Path, *, user: str, calibrations: str, engines: Engines, consoles: Consoles) -> None:
    """Fits both axes, keeps what gains, and shows the gain or why there is none, or for programs prints JSON.

    Args:
        table: a table (`tables`) with columns image, valence and arousal; images lie beside it or in folders there.
        calibrations: folder or fsspec URI of the store.

    Raises:
        InvalidRequest: the user's id or the table is refused, with row and column.
        FailedPrecondition: neither axis gains; the message has the reasons.
    """
    check_user(user)
    pictures = read_ratings(table)
    with loading(consoles, engines.profile):
        opened = engines.judge()

    async def look() -> tuple[list[AssessmentOutcome], ModelInfo]:
        async with opened as judge:
            return await _outcomes(judge, pictures), await judge.model()

    outcomes, model = asyncio.run(look())
    fits: dict[Axis, AxisCalibration | Refusal] = {axis: _fit(axis, pictures, outcomes, consoles) for axis in AXES}
    if not consoles.for_programs:
        _show(fits, consoles)
    calibration = calibrated(user, model, fits)
    address = CalibrationStore(calibrations).write(calibration)
    if consoles.for_programs:
        learned = {str(axis): asdict(fit) for axis, fit in fits.items()}
        consoles.say(json.dumps({"user": user, "stored": address, **learned}))
    else:
        consoles.say(f"Stored: {address}")


def read_ratings(table: Path) -> list[RatedPicture]:
    """The rows of a table of ratings.

    Raises:
        InvalidRequest: no such file, a column is missing, or a row is wrong; its place is named.
    """
    pictures = [_picture(table, row) for row in read_table(table, ("image", *AXES), name=table.name)]
    seen: set[Path] = set()
    for picture in pictures:
        if picture.path in seen:
            raise InvalidRequest.of(table.name, f"rates {picture.path} twice")
        seen.add(picture.path)
    return pictures


def _picture(table: Path, row: TableRow) -> RatedPicture:
    where = f"{table.name} row {row.number}"
    if row.problem:
        raise InvalidRequest.of(where, row.problem)
    try:
        image = file_within(table.parent, row.cells["image"])
    except ValueError as error:
        raise InvalidRequest.of(f"{where} column image", str(error)) from error
    valence, arousal = (_rating(f"{where} column {axis}", row.cells[axis], row.decimal_comma) for axis in AXES)
    return RatedPicture(path=image, valence=valence, arousal=arousal)


def _rating(field: str, text: str, decimal_comma: bool) -> float | None:
    if not text:
        return None
    try:
        rating = to_number(text, decimal_comma=decimal_comma)
    except ValueError:
        raise InvalidRequest.of(field, f"is {text!r}, it must be a number or empty") from None
    if not SCALE_MIN <= rating <= SCALE_MAX:
        raise InvalidRequest.of(field, f"is {text}, it must lie in [{SCALE_MIN:g}, {SCALE_MAX:g}]")
    return rating


async def _outcomes(judge: Judge, pictures: Sequence[RatedPicture]) -> list[AssessmentOutcome]:
    """What the judge says of each picture; a bad one is named by its path."""
    outcomes: list[AssessmentOutcome] = []
    for start in range(0, len(pictures), _BATCH):
        batch = pictures[start : start + _BATCH]
        try:
            outcomes += await judge.assess([picture.path.read_bytes() for picture in batch])
        except OSError as error:
            raise InvalidRequest.of(str(error.filename), f"can't be read: {error.strerror}") from error
        except InvalidRequest as error:
            names = {f"images[{i}]": str(picture.path) for i, picture in enumerate(batch)}
            raise InvalidRequest(*(replace(v, field=names.get(v.field, v.field)) for v in error.violations)) from error
    return outcomes


def _fit(
    axis: Axis, pictures: Sequence[RatedPicture], outcomes: Sequence[AssessmentOutcome], consoles: Consoles
) -> AxisCalibration | Refusal:
    """One axis, on the pictures that the person rated and the judge could judge."""
    pairs: list[tuple[float, float]] = []
    for picture, outcome in zip(pictures, outcomes, strict=True):
        rated = getattr(picture, axis)
        if not isinstance(outcome, Assessment):
            consoles.note(f"{picture.path} is left out, the judge could not say: {outcome.reason}")
        elif rated is not None:
            pairs.append((getattr(outcome, axis), rated))
    judged, rated_as = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    return fit_axis(judged, rated_as)


def _show(fits: dict[Axis, AxisCalibration | Refusal], consoles: Consoles) -> None:
    """Mean absolute errors, the gain with its standard error, and the person's ratings where the judge says 1, 5, 9."""
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("axis")
    for name in ("pictures", "judge", "calibrated", "gain", *(f"at {knot:g}" for knot in KNOTS)):
        table.add_column(name, justify="right")
    for axis, fit in fits.items():
        if isinstance(fit, AxisCalibration):
            gain = f"{fit.judge_error - fit.error:.2f} ± {fit.standard_error:.2f}"
            figures = (f"{fit.judge_error:.2f}", f"{fit.error:.2f}", gain, *(f"{value:.1f}" for value in fit.values))
            table.add_row(axis, str(fit.images), *figures)
        else:
            consoles.note(f"{axis} stays as the judge sees it: {fit.reason}")
    if table.row_count:
        consoles.out.print(table)
