"""The subcommands of `emofeedback-train data` that build data sets."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from emofeedback_trainer.data.card import Show
from emofeedback_trainer.data.from_scenes import SceneData, build_scenes

Subcommands = Any
"""What `ArgumentParser.add_subparsers` returns; argparse has no public name for it."""

_FROM_SCENES = """examples:
  emofeedback-train data from-scenes runs/scenes
  emofeedback-train data from-scenes runs/few --train 200 --val 50 --test 50 --seed 3 --worn 0
"""


def add_builders(commands: Subcommands) -> None:
    """Declares the building subcommands; each sets `run`."""
    _add_from_scenes(commands)


def _add_from_scenes(commands: Subcommands) -> None:
    defaults = SceneData()
    parser = _add(commands, "from-scenes", "draw a data set of the nano world, whose feelings are known", _FROM_SCENES)
    for split in ("train", "val", "test"):
        count = getattr(defaults, split)
        parser.add_argument(
            f"--{split}", type=int, default=count, metavar="N", help=f"{split} scenes (default {count})"
        )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="another seed, other scenes")
    parser.add_argument(
        "--worn",
        type=float,
        default=defaults.worn,
        help=f"share of pictures with the flaws of painted ones (default {defaults.worn:g})",
    )
    parser.set_defaults(run=_from_scenes)


def _add(commands: Subcommands, name: str, purpose: str, examples: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=purpose,
        description=purpose[0].upper() + purpose[1:] + ". Begun again, a cut build goes on where it was.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, help="folder of the data set: a new one, or a build that was cut")
    return parser


def _from_scenes(arguments: argparse.Namespace) -> None:
    data = SceneData(
        train=arguments.train, val=arguments.val, test=arguments.test, seed=arguments.seed, worn=arguments.worn
    )
    with shown_progress() as show:
        build_scenes(arguments.out, data, show)
    print(f"{arguments.out}: {data.train} train, {data.val} val, {data.test} test scenes")


@contextmanager
def shown_progress() -> Iterator[Show]:
    """A bar for each part of the work, on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr)) as progress:
        tasks: dict[str, TaskID] = {}

        def show(part: str, done: int, wanted: int) -> None:
            if part not in tasks:
                tasks[part] = progress.add_task(part, total=wanted)
            progress.update(tasks[part], completed=done)

        yield show
