"""What the commands that train in a folder have in common: their options, and how a run that was cut goes on."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from emofeedback.observability.console import say
from emofeedback_trainer.core.run_files import CONFIG


def add_run_options(parser: argparse.ArgumentParser, configs: Iterable[str]) -> None:
    """Declares `--config`, `--out`, `--resume` and `--set`; `configs` are the names of the built-in ones."""
    parser.add_argument(
        "--config", help=f"a built-in configuration ({', '.join(configs)}) or a .toml file; default: nano"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one key of the configuration"
    )


def config_source(arguments: argparse.Namespace) -> str:
    """Name or file of the configuration: the one that is asked for, that of the run to resume, or `nano`."""
    kept = arguments.out / CONFIG
    return arguments.config or (str(kept) if arguments.resume and kept.exists() else "nano")


def resume_command(command: str, folder: Path, *options: str) -> str:
    """The words that go on with the run in the folder, as a shell reads them."""
    return shlex.join(["emofeedback-train", command, *options, "--out", str(folder), "--resume"])


@contextmanager
def kept_when_cut(command: str, folder: Path) -> Iterator[None]:
    """Says of a run that stops before its end how it goes on."""
    try:
        yield
    except BaseException:
        if (folder / CONFIG).exists():
            say(f"The run is kept in {folder}; `{resume_command(command, folder)}` goes on from its last checkpoint.")
        raise
