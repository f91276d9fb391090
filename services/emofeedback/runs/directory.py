"""The run directory: the images and `result.json` of one run of the loop, kept safe against a cut.

    DIR/result.json          written whole at the start and after every round, so a reader never sees half of one
    DIR/round-1/image-1.png  written as soon as it is painted, with its recipe; at the run's end with what was wished
                             for and what the judge read
    DIR/report.html          `report.write_report`

A cut run is continued from its last finished round by `RunDirectory.open(..., resume=True)`.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import sys
from itertools import count
from pathlib import Path

from emofeedback.domain.assessment import Assessment
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.optimization import (
    Answer,
    ImagePainted,
    OptimizationEvent,
    OptimizationFinished,
    Resume,
    RoundFinished,
    RoundStarted,
)
from emofeedback.domain.recipe import Reading, Wish, with_whole_recipe
from emofeedback.runs.run import OptimizationRun, advance, from_json, image_path, to_json
from emofeedback.storage.files import LOCK, no_folder, write_json, write_whole
from emofeedback.storage.texts import parse_json

RESULT = "result.json"


class RunDirectory:
    """The folder of one run. Feed it every event of the loop, in order, by `record`."""

    def __init__(self, path: Path, run: OptimizationRun) -> None:
        self.path = path
        self.run = run
        """The run so far."""

    @classmethod
    def open(cls, path: Path, run: OptimizationRun, *, resume: bool = False) -> RunDirectory:
        """Takes the folder for a run, before any work is done for it; nothing is written into it yet.

        Args:
            path: made if it does not exist.
            run: the run to start; with `resume`, what the run in the folder must have been started with.

        Raises:
            InvalidRequest: the folder is not empty and `resume` is off, it can't be written, or the run in it
                was started with another prompt, target, dominance, seed, number of images or of steps, or for another
                person.
            FailedPrecondition: there is no readable run to resume.
        """
        claim(path, resume=resume)
        if resume and (path / RESULT).exists():
            found = read_run(path)
            _require_same(path, found, run)
            # What may differ is as it is asked for now.
            run = dataclasses.replace(found, request=run.request)
        return cls(path, run)

    def resume_point(self) -> Resume | None:
        """Where the loop goes on; None where no round is finished yet.

        Raises:
            FailedPrecondition: the best image so far is not there any more.
        """
        if not self.run.rounds:
            return None
        best_image = b"" if self.run.best is None else self.image(self.run.best)
        return Resume(rounds=self.run.rounds, best_image=best_image)

    def image(self, answer: Answer) -> bytes:
        """The PNG of an image of a finished round.

        Raises:
            FailedPrecondition: it can't be read.
        """
        path = self.path / image_path(answer.round, answer.index)
        try:
            return path.read_bytes()
        except OSError as error:
            raise FailedPrecondition(f"{path} can't be read: {error.strerror}") from error

    def record(self, event: OptimizationEvent) -> None:
        """Keeps what the event brings.

        Raises:
            ResourceExhausted: the disk is full; everything written before stays.
            FailedPrecondition: the folder can't be written, or another model paints than in the rounds before.
        """
        if isinstance(event, ImagePainted):
            before = self.run.generator
            if before is not None and before != event.image.model:
                raise FailedPrecondition(
                    f"{self.path} was painted by {before.name} ({before.digest}), this generator is "
                    f"{event.image.model.name} ({event.image.model.digest}): a run never mixes two"
                )
            write_whole(self.path / image_path(event.round, event.image.index), event.image.data)
        self.run = advance(self.run, event)
        if isinstance(event, RoundStarted | RoundFinished | OptimizationFinished):
            write_json(self.path / RESULT, to_json(self.run))
        if isinstance(event, OptimizationFinished):
            self._finish_recipes()

    def _finish_recipes(self) -> None:
        """Every picture that carries a recipe carries all of it, now that the judge is known."""
        wish = Wish.of(self.run.request)
        for painted in self.run.rounds:
            for candidate in painted.candidates:
                path = self.path / image_path(painted.index, candidate.index)
                reading = None
                if isinstance(candidate.outcome, Assessment) and self.run.judge is not None:
                    reading = Reading.of(candidate.outcome, self.run.judge)
                if path.exists() and (whole := with_whole_recipe(before := path.read_bytes(), wish, reading)) != before:
                    write_whole(path, whole)


def claim(path: Path, *, resume: bool) -> None:
    """Makes the folder; one with something in it is refused unless a run is to be resumed in it.

    Raises:
        InvalidRequest: it is refused, or can't be made or read.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        # A lock, folders for pictures to come, or what a killed process was just writing: nothing that could be lost.
        files = (entry for entry in path.rglob("*") if not entry.is_dir())
        is_empty = all(file.name == LOCK or file.suffix == ".part" for file in files)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise no_folder(path, error) from error
    if is_empty or (resume and (path / RESULT).exists()):
        return
    if resume:
        raise InvalidRequest.of("out", f"{path} is not empty and holds no run to resume (no {RESULT})")
    raise InvalidRequest.of("out", f"{path} is not empty: name another folder, or --resume the run in it")


def folder_of(root: Path, text: str, *, resume: bool) -> Path:
    """A folder that is not there yet, named after a text (`a-boat`, then `a-boat-2`); to resume, the last that is.

    Raises:
        InvalidRequest: there is none to resume.
    """
    name = slug(text)
    last = next(n for n in count(1) if not _nth(root, name, n).exists()) - 1
    if not resume:
        return _nth(root, name, last + 1)
    if not last:
        raise InvalidRequest.of("out", f"is missing, and there is no run in {root / name} to go on with")
    return _nth(root, name, last)


def _nth(root: Path, name: str, number: int) -> Path:
    return root / (name if number == 1 else f"{name}-{number}")


def slug(text: str) -> str:
    """A text as the name of a file, of at most 40 letters and digits, with hyphens between the words.

    In any script; but where the locale has no name for a letter, it is left out.
    """
    codec = sys.getfilesystemencoding()
    nameable = text.casefold().encode(codec, "ignore").decode(codec)
    return re.sub(r"[\W_]+", "-", nameable)[:40].strip("-") or "run"


def read_run(path: Path) -> OptimizationRun:
    """The run that a folder holds.

    Raises:
        FailedPrecondition: there is none, or its `result.json` can't be read; the message says why.
    """
    try:
        return from_json(parse_json((path / RESULT).read_text(encoding="utf-8")))
    except OSError as error:
        raise FailedPrecondition(f"{path / RESULT} can't be read: {error.strerror}") from error
    except (LookupError, TypeError, ValueError) as error:
        raise FailedPrecondition(f"{path / RESULT} is not the result of a run: {error!r}") from error


_ASKED_FOR = ("prompt", "target", "images", "seed", "user", "steps", "imagine", "dominance")
"""Fields of a request that make a run what it is; rounds, tolerance and time may differ when it goes on."""


def _require_same(path: Path, found: OptimizationRun, asked: OptimizationRun) -> None:
    """A run is only continued as what it was started as."""
    before = {name: getattr(found.request, name) for name in _ASKED_FOR} | {"profile": found.profile}
    now = {name: getattr(asked.request, name) for name in _ASKED_FOR} | {"profile": asked.profile}
    for name in now:
        if before[name] != now[name]:
            raise InvalidRequest.of(name, f"the run in {path} was started with {before[name]!r}, not {now[name]!r}")
