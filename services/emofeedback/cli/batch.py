"""`emofeedback create --prompts`: a run for each row of a table or line of JSON, and one page that shows them all."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from emofeedback.backends import Engines, Optimize
from emofeedback.cli.create import RESUME, follow, open_run
from emofeedback.cli.display import LoopDisplay, loading
from emofeedback.domain.errors import FieldViolation, InvalidRequest
from emofeedback.domain.optimization import OptimizationRequest
from emofeedback.domain.text import did_you_mean
from emofeedback.domain.validation import check_optimization_request
from emofeedback.observability.consoles import Consoles
from emofeedback.runs.directory import RESULT, RunDirectory, claim, slug
from emofeedback.runs.report import write_report
from emofeedback.runs.report.index import INDEX, write_index
from emofeedback.storage.files import held, write_json
from emofeedback.storage.tables import read_table, to_number
from emofeedback.storage.texts import read_lines

_COLUMNS = ("prompt", "valence", "arousal", "emotion", "dominance", "seed")
_JSON_LINES = (".jsonl", ".ndjson", ".json")

Row = Mapping[str, Any]
"""What a row says, by column; what it leaves out is not there."""
Ask = Callable[[Row], OptimizationRequest]
"""A row as a request, with the command's options where it says nothing."""


def batch(
    table: Path, ask: Ask, *, out: Path, resume: bool, strict: bool, engines: Engines, consoles: Consoles
) -> None:
    """Runs the rows one after another, each in a run directory of its own; the page is brought up to date after each.

    Raises:
        InvalidRequest: a row or `out` is refused, before any model is loaded; all rows that are wrong are named. Or a
            row's prompt, where `strict` and the generator does not know its words, before it is painted.
        NotFound: there is no such policy, before any model is loaded.
        FailedPrecondition: another process works in `out`.
        EmoFeedbackError: a run failed; the finished ones stay and the batch can be resumed.
        KeyboardInterrupt: as well, by Ctrl-C.
    """
    requests = _requests(table, ask)
    engines.check_policy(requests[0].policy)  # all rows name the command's
    with held(out):
        _batch(requests, out=out, resume=resume, strict=strict, engines=engines, consoles=consoles)


def _batch(
    requests: list[OptimizationRequest], *, out: Path, resume: bool, strict: bool, engines: Engines, consoles: Consoles
) -> None:
    claim(out, resume=resume)
    with loading(consoles, engines.profile):
        optimizer = engines.optimizer()
    done: list[RunDirectory] = []

    async def run() -> None:
        async with optimizer as optimize:
            await _run_rows(requests, out, done, optimize, engines, consoles, strict=strict)

    try:
        asyncio.run(run())
    except BaseException:
        consoles.note(f"{len(done)} of {len(requests)} runs are kept in {out}; {RESUME} goes on from there")
        raise
    if consoles.for_programs:
        consoles.say(json.dumps({"folder": str(out), "index": str(out / INDEX), **_to_json(done)}))
        return
    losses = [directory.run.best.loss for directory in done if directory.run.best is not None]
    if losses:
        consoles.say(f"Mean error of {len(losses)} runs: {sum(losses) / len(losses):.2f}")
    consoles.say(f"Index: {out / INDEX}")


async def _run_rows(
    requests: list[OptimizationRequest],
    out: Path,
    done: list[RunDirectory],
    optimize: Optimize,
    engines: Engines,
    consoles: Consoles,
    *,
    strict: bool,
) -> None:
    """Finishes every run that is not finished yet."""
    write_json(out / RESULT, _to_json(done))
    for number, asked in enumerate(requests, 1):
        folder = out / f"{number:03d}-{slug(asked.prompt)}"
        request, directory = open_run(asked, folder, resume=True, engines=engines)
        if directory.run.stopped_because is None:
            title = f"Run {number} of {len(requests)}"
            display = LoopDisplay(consoles.side, directory.run, rounds=asked.rounds, title=title)
            await follow(optimize, request, directory, display, consoles, strict=strict)
            write_report(directory)
        done.append(directory)
        write_json(out / RESULT, _to_json(done))
        write_index(out, done, len(requests))


def _to_json(done: list[RunDirectory]) -> dict[str, Any]:
    return {
        "runs": [
            {
                "run": directory.path.name,
                "prompt": directory.run.request.prompt,
                "target": dataclasses.asdict(directory.run.request.target),
                "dominance": directory.run.request.dominance,
                "seed": directory.run.request.seed,
                "loss": directory.run.best.loss if directory.run.best else None,
            }
            for directory in done
        ]
    }


def _requests(table: Path, ask: Ask) -> list[OptimizationRequest]:
    requests: list[OptimizationRequest] = []
    wrong: list[FieldViolation] = []
    rows = _json_rows(table) if table.suffix.casefold() in _JSON_LINES else _table_rows(table)
    for where, read in rows:
        try:
            request = ask(_typed(read()))
            check_optimization_request(request)
            requests.append(request)
        except InvalidRequest as error:
            wrong += [FieldViolation(f"{where} {v.field.removeprefix('target.')}", v.problem) for v in error.violations]
    if wrong:
        raise InvalidRequest(*wrong)
    if not requests:
        raise InvalidRequest.of(table.name, "holds no prompts")
    return requests


def _table_rows(table: Path) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Every row with its place, to be read later: what is wrong with one costs no other its message."""
    for row in read_table(table, ("prompt",), name=table.name):

        def read(row: Any = row) -> Row:
            if row.problem:
                raise InvalidRequest.of("", row.problem)
            cells = {name: cell for name, cell in row.cells.items() if cell}
            return {
                name: cell if name in ("prompt", "emotion") else _number(name, cell, row.decimal_comma)
                for name, cell in cells.items()
            }

        yield f"{table.name} row {row.number}", read


def _json_rows(table: Path) -> Iterator[tuple[str, Callable[[], Row]]]:
    try:
        lines = list(read_lines(table))
    except OSError as error:
        raise InvalidRequest.of(table.name, f"can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest.of(table.name, f"is not UTF-8: {error.reason}") from error
    for number, line in lines:

        def read(line: str = line) -> Row:
            try:
                content = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InvalidRequest.of("", f"is not JSON: {error}") from error
            if not isinstance(content, dict):
                raise InvalidRequest.of("", "is not a JSON object")
            return {name: value for name, value in content.items() if value is not None}

        yield f"{table.name} line {number}", read


def _number(name: str, cell: str, decimal_comma: bool) -> float | str:
    try:
        return int(cell) if name == "seed" else to_number(cell, decimal_comma=decimal_comma)
    except ValueError:
        return cell


def _typed(row: Row) -> Row:
    """The row, with every value of its column's type.

    Raises:
        InvalidRequest: one is not, or there is no such column.
    """
    kinds = {"prompt": (str, "a text"), "emotion": (str, "a text"), "seed": (int, "a whole number")}
    for name, value in row.items():
        if name not in _COLUMNS:
            raise InvalidRequest.of(name, f"is not one of {', '.join(_COLUMNS)}{did_you_mean(name, _COLUMNS)}")
        kind, called = kinds.get(name, ((int, float), "a number"))
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InvalidRequest.of(name, f"is {value!r}, it must be {called}")
    # A row's own place on the plane goes before the command's, as a whole.
    nowhere = {"valence": None, "arousal": None, "emotion": None}
    return {**(nowhere if nowhere.keys() & row.keys() else {}), **row}
