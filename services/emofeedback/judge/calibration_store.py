"""Where personal calibrations lie: a file for each person, in a folder at any fsspec address.

    URI/<user>.json     `Calibration.to_json`

`emofeedback calibrate` writes, judges read.
"""

from __future__ import annotations

import json

from emofeedback.domain.errors import FailedPrecondition, NotFound
from emofeedback.domain.generation import ModelInfo
from emofeedback.judge.calibration import Calibration
from emofeedback.storage.fsspec_store import opened, write_whole
from emofeedback.storage.texts import parse_json


class CalibrationStore:
    """What is known of whom, at an fsspec address. Every method raises `Unavailable` where it can't be reached, and
    `FailedPrecondition` where it can't be used."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def read(self, user: str, judge: ModelInfo) -> Calibration:
        """A person's calibration of this judge.

        Raises:
            NotFound: nothing is known of this person.
            FailedPrecondition: the file is damaged, or it was fitted on another judge's ratings.
        """
        try:
            with opened(self.uri, "calibrations") as (files, root):
                content = files.cat_file(f"{root}/{_file(user)}")
        except FileNotFoundError as error:
            raise NotFound(
                f"there is no calibration for user {user!r} in {self.uri}: `emofeedback calibrate` fits one"
            ) from error
        try:
            calibration = Calibration.from_json(parse_json(content))
        except (LookupError, TypeError, ValueError) as error:
            raise FailedPrecondition(f"the calibration of user {user!r} can't be read: {error!r}") from error
        if calibration.judge.digest != judge.digest:
            raise FailedPrecondition(
                f"the calibration of user {user!r} was fitted on the judge {calibration.judge.name} "
                f"({calibration.judge.digest}), this one is {judge.name} ({judge.digest}): fit it again"
            )
        return calibration

    def write(self, calibration: Calibration) -> str:
        """Keeps a calibration in the place of an earlier one; returns the address of its file."""
        content = json.dumps(calibration.to_json(), indent=2) + "\n"
        name = _file(calibration.user)
        try:
            with opened(self.uri, "calibrations") as (files, root):
                files.makedirs(root, exist_ok=True)
                write_whole(files, f"{root}/{name}", content.encode())  # a judge may be reading it
        except FileNotFoundError as error:  # no such bucket
            raise FailedPrecondition(f"the calibrations at {self.uri} can't be written: {error}") from error
        return f"{self.uri.rstrip('/')}/{name}"


def _file(user: str) -> str:
    """`checks.check_user` has seen to it that this is a plain file name."""
    return f"{user}.json"
