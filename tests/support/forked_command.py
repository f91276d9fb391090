"""The trainer's commands, each in a process of its own that is there at once: a fork of one that has imported them."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
"""Its server is the only one of a process that starts others so: whoever asks it first says what it imports."""
CONTEXT.set_forkserver_preload(
    [
        "emofeedback_trainer.judge.sft",
        "emofeedback_trainer.judge.grpo",
        "emofeedback_trainer.latent.run",
        "emofeedback_trainer.distillation.run",
        "emofeedback_trainer.fusion.run",
        "emofeedback_trainer.emotional_memory.refresh",
        "emofeedback_trainer.nano.stages",
        "emofeedback_trainer.flow_grpo.trainer",
        "emofeedback_trainer.evaluation.generation_run",
        "emofeedback_trainer.fusion.evaluation_run",
    ]
)
_LONGEST = 600.0


@dataclass(frozen=True, kw_only=True)
class Command:
    """One that writes into a folder and goes on there after a cut."""

    run: Callable[..., int]
    """Called in the process with `words` and the folder; returns the exit code."""
    words: tuple[str, ...] = ()
    resume: tuple[str, ...] = ("--resume",)
    """What is added to go on."""
    out: tuple[str, ...] = ("--out",)
    """What stands before the folder."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process came to its end."""

    code: int
    """Negative: killed by that signal."""
    said: str
    seconds: float


def started(command: Command, folder: Path, log: Path, *, resume: bool = False) -> ForkServerProcess:
    """The command's process over the folder; what it says is in the log."""
    words = (*command.words, *command.out, str(folder), *(command.resume if resume else ()))
    process: ForkServerProcess = CONTEXT.Process(target=_told, args=(command.run, words, log), daemon=True)
    process.start()
    return process


def ran(command: Command, folder: Path, log: Path, *, resume: bool = False, kill_after: float | None = None) -> Ended:
    """Runs the command once over the folder; after `kill_after` seconds it is killed as by `kill -9`."""
    log.unlink(missing_ok=True)
    began = time.monotonic()
    process = started(command, folder, log, resume=resume)
    process.join(_LONGEST if kill_after is None else kill_after)
    if kill_after is not None and process.exitcode is None:
        process.kill()
        process.join()
    seconds = time.monotonic() - began
    if process.exitcode is None:
        process.kill()
        raise AssertionError(f"{command.words} has no end: {log.read_text()}")
    return Ended(code=process.exitcode, said=log.read_text() if log.exists() else "", seconds=seconds)


def until_finished(command: Command, folder: Path, *, times: Sequence[float], log: Path) -> int:
    """Kills the command after each of the times, goes on, and lets it finish; returns how often it was killed."""
    for killed, kill_after in enumerate((*times, None)):
        ended = ran(command, folder, log, resume=_begun(folder), kill_after=kill_after)
        if ended.code >= 0:
            assert ended.code == 0, ended.said
            return killed
    raise AssertionError("unreachable")


def _begun(folder: Path) -> bool:
    return folder.exists() and any(folder.iterdir())


def _told(run: Callable[..., int], words: Sequence[str], log: Path) -> None:
    with log.open("wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.exit(run(words))


def warm() -> None:
    """Waits until the imports are done: the first fork is as quick as the others then."""
    process = CONTEXT.Process(target=str, daemon=True)
    process.start()
    process.join()
