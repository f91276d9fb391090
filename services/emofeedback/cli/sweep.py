"""`emofeedback sweep`: one run of the loop for every cell of a grid over the plane, shown as one picture.

Runs paint with seeds of their own, and a cell may show what any run painted: what one painted in vain may be what
another looks for. No image stands in two cells.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emofeedback.backends import Engines, Optimize
from emofeedback.cli.create import RESUME, follow, open_run
from emofeedback.cli.display import LoopDisplay, loading
from emofeedback.domain.affect import AffectPoint, describe, distance
from emofeedback.domain.assessment import Assessment
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.optimization import Answer, OptimizationRequest
from emofeedback.domain.validation import check_optimization_request
from emofeedback.observability.consoles import Consoles
from emofeedback.runs.directory import RESULT, RunDirectory, claim
from emofeedback.runs.plane import Cell, draw_plane, grid_targets, share_out
from emofeedback.runs.run import image_path
from emofeedback.storage.files import held, write_json, write_whole
from emofeedback.storage.texts import parse_json

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


def sweep(asked: Sweep, *, out: Path, resume: bool, engines: Engines, consoles: Consoles) -> None:
    """Runs the cells one after another, each in a run directory of its own, and draws the plane.

    Raises:
        InvalidRequest: the sweep or `out` is refused, before any model is loaded.
        NotFound: the profile's policy is not in its store.
        FailedPrecondition: another process works in `out`.
        EmoFeedbackError: a run failed; the finished cells stay and the sweep can be resumed.
        KeyboardInterrupt: as well, by Ctrl-C.
    """
    if not MIN_GRID <= asked.grid <= MAX_GRID:
        raise InvalidRequest.of("grid", f"is {asked.grid}, it must lie in [{MIN_GRID}, {MAX_GRID}]")
    check_optimization_request(asked.request(0, 0))
    check_optimization_request(asked.request(asked.grid - 1, asked.grid - 1))
    engines.check_policy("")
    with held(out):
        _sweep(asked, out=out, resume=resume, engines=engines, consoles=consoles)


def _sweep(asked: Sweep, *, out: Path, resume: bool, engines: Engines, consoles: Consoles) -> None:
    claim(out, resume=resume)
    _require_same(asked, out, engines)
    with loading(consoles, engines.profile):
        optimizer = engines.optimizer()
    cells: Cells = {}

    async def run() -> None:
        async with optimizer as optimize:
            await _run_cells(asked, out, cells, optimize, engines, consoles)

    try:
        asyncio.run(run())
    except BaseException:
        consoles.note(f"{len(cells)} of {asked.grid**2} cells are kept in {out}; {RESUME} goes on from there")
        raise
    write_whole(out / PICTURE, draw_plane(asked.prompt, asked.grid, _pictures(cells)))
    result = _to_json(asked, cells, engines)
    if consoles.for_programs:
        consoles.say(json.dumps({"folder": str(out), "picture": str(out / PICTURE), **result}))
        return
    losses = [cell["best"]["loss"] for cell in result["cells"] if cell["best"]]
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
                display = LoopDisplay(consoles.side, directory.run, rounds=asked.rounds, title=title)
                await follow(optimize, request, directory, display, consoles)
            cells[column, row] = directory
            write_json(out / RESULT, _to_json(asked, cells, engines))


@dataclass(frozen=True, kw_only=True)
class _Painted:
    """An image of any run that shows the subject and could be judged."""

    directory: RunDirectory
    answer: Answer
    judged: AffectPoint


def _shown(cells: Cells) -> dict[tuple[int, int], _Painted]:
    """The image that each cell shows."""
    images = [
        _Painted(
            directory=directory,
            answer=Answer(round=finished.index, index=candidate.index, loss=candidate.loss),
            judged=candidate.outcome.point,
        )
        for directory in cells.values()
        for finished in directory.run.rounds
        for candidate in finished.candidates
        if isinstance(candidate.outcome, Assessment) and candidate.loss is not None and candidate.eligible
    ]
    targets = {place: directory.run.request.target for place, directory in cells.items()}
    return {place: images[index] for place, index in share_out(targets, [i.judged for i in images]).items()}


def _pictures(cells: Cells) -> dict[tuple[int, int], Cell]:
    """The shown images, read back from their folders."""
    return {
        place: Cell(image=image.directory.image(image.answer), judged=image.judged)
        for place, image in _shown(cells).items()
    }


def _asked_to_json(asked: Sweep, engines: Engines) -> dict[str, Any]:
    return {**dataclasses.asdict(asked), "profile": engines.profile}


def _to_json(asked: Sweep, cells: Cells, engines: Engines) -> dict[str, Any]:
    shown = _shown(cells)
    return {
        **_asked_to_json(asked, engines),
        "cells": [
            {
                "column": place[0],
                "row": place[1],
                "target": dataclasses.asdict(directory.run.request.target),
                "run": f"cells/{directory.path.name}",
                "best": _best_to_json(shown[place], directory.run.request.target) if place in shown else None,
            }
            for place, directory in cells.items()
        ],
    }


def _best_to_json(image: _Painted, target: AffectPoint) -> dict[str, Any]:
    path = f"cells/{image.directory.path.name}/{image_path(image.answer.round, image.answer.index)}"
    return {"path": path, **dataclasses.asdict(image.judged), "loss": distance(image.judged, target)}


def _require_same(asked: Sweep, out: Path, engines: Engines) -> None:
    """A sweep is only continued as what it was started as."""
    path = out / RESULT
    if not path.exists():
        return
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        for name, now in _asked_to_json(asked, engines).items():
            if found[name] != now:
                raise InvalidRequest.of(name, f"the sweep in {out} was started with {found[name]!r}, not {now!r}")
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise FailedPrecondition(f"{path} is not the result of a sweep: {error!r}") from error
