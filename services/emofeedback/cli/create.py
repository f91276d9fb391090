"""`emofeedback create`: one run of the loop, kept in a run directory."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from emofeedback.backends import Engines, Optimize
from emofeedback.cli.display import LoopDisplay, loading, rounds_table
from emofeedback.domain.errors import EmoFeedbackError, InvalidRequest
from emofeedback.domain.optimization import OptimizationRequest, PromptShortened, WordsUnknown
from emofeedback.domain.validation import check_optimization_request
from emofeedback.observability.consoles import Consoles
from emofeedback.optimizer.faithfulness import is_negation
from emofeedback.runs.directory import RESULT, RunDirectory
from emofeedback.runs.report import REPORT, write_report
from emofeedback.runs.run import OptimizationRun, image_path, to_json
from emofeedback.storage.files import held

RESUME = "the same command with --resume"
"""How a cut run goes on."""


def create(
    request: OptimizationRequest, *, out: Path, resume: bool, strict: bool, engines: Engines, consoles: Consoles
) -> None:
    """Runs the loop, keeps everything in `out`, and ends with a table and the places of answer and report, or as JSON.

    Raises:
        InvalidRequest: the request or `out` is refused, before any model is loaded; or the prompt, where `strict` and
            the generator does not know its words, before anything is painted.
        NotFound: there is no such policy, before any model is loaded.
        FailedPrecondition: another process works in `out`.
        EmoFeedbackError: the run failed; what was finished before lies in `out`.
        KeyboardInterrupt: as well, by Ctrl-C.
    """
    check_optimization_request(request)
    engines.check_policy(request.policy)
    with held(out):
        _create(request, out=out, resume=resume, strict=strict, engines=engines, consoles=consoles)


def _create(
    request: OptimizationRequest, *, out: Path, resume: bool, strict: bool, engines: Engines, consoles: Consoles
) -> None:
    request, directory = open_run(request, out, resume=resume, engines=engines)
    with kept(directory, consoles, RESUME):
        with loading(consoles, engines.profile):
            optimizer = engines.optimizer()
        run_to_end(optimizer, request, directory, consoles, strict=strict)
    say_result(directory, consoles)


def run_to_end(
    optimizer: AbstractAsyncContextManager[Optimize],
    request: OptimizationRequest,
    directory: RunDirectory,
    consoles: Consoles,
    *,
    strict: bool = False,
) -> None:
    """The loop to its end, and its report; `strict` as in `follow`."""

    async def run() -> None:
        display = LoopDisplay(consoles.side, directory.run, rounds=request.rounds)
        async with optimizer as optimize:
            await follow(optimize, request, directory, display, consoles, strict=strict)

    asyncio.run(run())
    write_report(directory)


def open_run(
    request: OptimizationRequest, out: Path, *, resume: bool, engines: Engines
) -> tuple[OptimizationRequest, RunDirectory]:
    """Checks the request and takes the folder; the request then says where a cut run goes on.

    Raises:
        InvalidRequest: the request or the folder is refused.
        FailedPrecondition: the run in the folder can't be read.
    """
    check_optimization_request(request)
    run = OptimizationRun(request=request, profile=engines.profile)
    directory = RunDirectory.open(out, run, resume=resume)
    finished = len(directory.run.rounds)
    if finished > request.rounds:
        raise InvalidRequest.of("rounds", f"is {request.rounds}, the run in {out} has finished {finished} already")
    return dataclasses.replace(request, resume=directory.resume_point()), directory


async def follow(
    optimize: Optimize,
    request: OptimizationRequest,
    directory: RunDirectory,
    display: LoopDisplay,
    consoles: Consoles,
    *,
    strict: bool = False,
) -> None:
    """Runs the loop to its end; every event goes to the directory first, then to the display.

    Raises:
        InvalidRequest: `strict`, and the generator does not know all words of the prompt.
    """
    with display:
        async with contextlib.aclosing(optimize(request)) as events:
            async for event in events:
                known = directory.run.unknown_words
                directory.record(event)
                display.show(directory.run, event)
                if isinstance(event, WordsUnknown):
                    model = f"the {directory.run.profile} profile" if directory.run.profile else "the generator"
                    if strict:
                        raise InvalidRequest.of("prompt", _not_known(model, event.words, event.subjects))
                    if words := [word for word in event.words if word not in known]:
                        consoles.note(_not_known(model, words, event.subjects))
                    if negations := [word for word in words if is_negation(word)]:
                        consoles.note(f"{model} paints all that is named, also after: {', '.join(negations)}")
                elif isinstance(event, PromptShortened):
                    consoles.note(f"the prompt of round {event.round + 1} is too long, what is read: {event.prompt}")


def _not_known(model: str, words: Sequence[str], subjects: str) -> str:
    return f"{model} doesn't know: {', '.join(words)}" + (f"; it can paint {subjects}" if subjects else "")


def say_result(directory: RunDirectory, consoles: Consoles) -> None:
    """A table and the places of answer and report; for programs what `result.json` says, and where it lies."""
    run, report = directory.run, directory.path / REPORT
    if consoles.for_programs:
        consoles.say(json.dumps({"folder": str(directory.path), "report": str(report), **to_json(run)}))
        return
    consoles.out.print(rounds_table(run))
    if run.best is None:
        consoles.say("No answer: the judge could read none of the images.")
    else:
        consoles.say(f"Answer: {directory.path / image_path(run.best.round, run.best.index)}")
        if run.best_candidate is not None and not run.best_candidate.eligible:
            consoles.note(
                "every image lost the subject or is not of the judge's world; the answer is the nearest of them"
            )
    consoles.say(f"Report: {report}")
    consoles.say(f"{run.state.capitalize()}, in {run.seconds:.1f} s.")


@contextlib.contextmanager
def kept(directory: RunDirectory, consoles: Consoles, resume: str) -> Iterator[None]:
    """Where a run is cut: writes the report of what there is, and says how to go on.

    Args:
        resume: the command that does.
    """
    try:
        yield
    except BaseException:
        images = sum(1 for _ in directory.path.glob("round-*/image-*.png"))
        if not images:
            # A run that painted nothing leaves the folder free for the next one.
            (directory.path / RESULT).unlink(missing_ok=True)
        else:
            with contextlib.suppress(EmoFeedbackError):
                write_report(directory)
            rounds = len(directory.run.rounds)
            consoles.note(
                f"{images} images and {rounds} finished round{'' if rounds == 1 else 's'} are kept in "
                f"{directory.path}; {resume} goes on from there"
            )
        raise
