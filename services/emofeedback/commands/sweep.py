"""`emofeedback sweep`: one run of the loop for every cell of a grid over the plane, shown as one picture.

Runs paint with seeds of their own, and each cell shows what came nearest to its target in *any* run: what one run
painted in vain may be what another looks for.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emofeedback.affect import AffectPoint, describe, distance
from emofeedback.checks import check_optimization_request
from emofeedback.commands.consoles import Consoles
from emofeedback.commands.create import follow, open_run
from emofeedback.commands.display import LoopDisplay, loading
from emofeedback.commands.engines import Engines, Optimize
from emofeedback.errors import FailedPrecondition, InvalidRequest
from emofeedback.interfaces import Assessment
from emofeedback.plane import Cell, draw_plane, grid_targets
from emofeedback.rounds import Answer, OptimizationRequest
from emofeedback.rundir import RESULT, RunDirectory, claim, write_json, write_whole
from emofeedback.runs import image_path

PICTURE = "plane.png"
MIN_GRID, MAX_GRID = 2, 9
"""Cells a side: fewer than two are no plane, more than nine would part the 1-9 scale finer than people rate."""


Cells = dict[tuple[int, int], RunDirectory]
"""Finished runs by column (valence) and row (arousal), both from the low end."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is asked of every cell alike."""

    prompt: str
    grid: int
    rounds: int
    images: int
    seed: int

    def request(self, column: int, row: int) -> OptimizationRequest:
        """The run of one cell: column is valence, row is arousal, both from the low end."""
        places = grid_targets(self.grid)
        cell = row * self.grid + column
        return OptimizationRequest(
            prompt=self.prompt,
            target=AffectPoint(places[column], places[row]),
            rounds=self.rounds,
            images=self.images,
            seed=self.seed + cell * self.images * self.rounds,
        )


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The image of a sweep that came nearest to a target."""

    directory: RunDirectory
    answer: Answer
    judged: AffectPoint


def nearest(target: AffectPoint, directories: Iterable[RunDirectory]) -> Nearest | None:
    """The nearest of all images that show the subject and could be judged; None where there is none."""
    found = (
        Nearest(
            directory=directory,
            answer=Answer(round=finished.index, index=candidate.index, loss=distance(candidate.outcome.point, target)),
            judged=candidate.outcome.point,
        )
        for directory in directories
        for finished in directory.run.rounds
        for candidate in finished.candidates
        if isinstance(candidate.outcome, Assessment) and candidate.on_subject
    )
    return min(found, key=lambda image: image.answer.loss, default=None)


def sweep(asked: Sweep, *, out: Path, resume: bool, engines: Engines, consoles: Consoles) -> None:
    """Runs the cells one after another, each in a run directory of its own, and draws the plane.

    Raises:
        InvalidRequest: the sweep or `out` is refused, before any model is loaded.
        EmoFeedbackError: a run failed; the finished cells stay and the sweep can be resumed.
        KeyboardInterrupt: as well, by Ctrl-C.
    """
    if not MIN_GRID <= asked.grid <= MAX_GRID:
        raise InvalidRequest.of("grid", f"is {asked.grid}, it must lie in [{MIN_GRID}, {MAX_GRID}]")
    check_optimization_request(asked.request(0, 0))
    check_optimization_request(asked.request(asked.grid - 1, asked.grid - 1))
    claim(out, resume=resume)
    _require_same(asked, out, engines)
    with loading(consoles.out, engines.profile):
        optimizer = engines.optimizer()
    cells: Cells = {}

    async def run() -> None:
        async with optimizer as optimize:
            await _run_cells(asked, out, cells, optimize, engines, consoles)

    try:
        asyncio.run(run())
    except BaseException:
        consoles.note(
            f"{len(cells)} of {asked.grid**2} cells are kept in {out}; "
            "the same command with --resume goes on from there"
        )
        raise
    write_whole(out / PICTURE, draw_plane(asked.prompt, asked.grid, _pictures(cells)))
    losses = [image.answer.loss for image in _nearest_of_all(cells).values()]
    if losses:
        consoles.say(f"Mean error of {len(losses)} cells: {sum(losses) / len(losses):.2f}")
    consoles.say(f"Picture: {out / PICTURE}")


async def _run_cells(
    asked: Sweep, out: Path, cells: Cells, optimize: Optimize, engines: Engines, consoles: Consoles
) -> None:
    """Finishes every cell that is not finished yet; `result.json` lists those that are after each."""
    write_json(out / RESULT, _to_json(asked, cells, engines))
    for row in range(asked.grid):
        for column in range(asked.grid):
            request = asked.request(column, row)
            name = f"cells/valence-{request.target.valence:.2f}-arousal-{request.target.arousal:.2f}"
            request, directory = open_run(request, out / name, resume=True, engines=engines)
            if directory.run.stopped_because is None:
                title = f"Cell {len(cells) + 1} of {asked.grid**2}: {describe(request.target)}"
                display = LoopDisplay(consoles.out, directory.run, rounds=asked.rounds, title=title)
                await follow(optimize, request, directory, display, consoles)
            cells[column, row] = directory
            write_json(out / RESULT, _to_json(asked, cells, engines))


def _nearest_of_all(cells: Cells) -> dict[tuple[int, int], Nearest]:
    """For each cell the nearest image of all cells."""
    found = {place: nearest(directory.run.target, cells.values()) for place, directory in cells.items()}
    return {place: image for place, image in found.items() if image is not None}


def _pictures(cells: Cells) -> dict[tuple[int, int], Cell]:
    """The same images, read back from their folders."""
    return {
        place: Cell(image=image.directory.image(image.answer), judged=image.judged)
        for place, image in _nearest_of_all(cells).items()
    }


def _asked_to_json(asked: Sweep, engines: Engines) -> dict[str, Any]:
    return {**dataclasses.asdict(asked), "profile": engines.profile}


def _to_json(asked: Sweep, cells: Cells, engines: Engines) -> dict[str, Any]:
    images = _nearest_of_all(cells)
    return {
        **_asked_to_json(asked, engines),
        "cells": [
            {
                "column": place[0],
                "row": place[1],
                "target": dataclasses.asdict(directory.run.target),
                "run": f"cells/{directory.path.name}",
                "best": _nearest_to_json(images[place]) if place in images else None,
            }
            for place, directory in cells.items()
        ],
    }


def _nearest_to_json(image: Nearest) -> dict[str, Any]:
    path = f"cells/{image.directory.path.name}/{image_path(image.answer.round, image.answer.index)}"
    return {"path": path, **dataclasses.asdict(image.judged), "loss": image.answer.loss}


def _require_same(asked: Sweep, out: Path, engines: Engines) -> None:
    """A sweep is only continued as what it was started as."""
    path = out / RESULT
    if not path.exists():
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        for name, now in _asked_to_json(asked, engines).items():
            if found[name] != now:
                raise InvalidRequest.of(name, f"the sweep in {out} was started with {found[name]!r}, not {now!r}")
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise FailedPrecondition(f"{path} is not the result of a sweep: {error!r}") from error
