"""What the commands `judge-sft` and `judge-grpo` have in common: options, data, and what is said at the end."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from emofeedback.domain.errors import EmoFeedbackError, InvalidRequest
from emofeedback.in_process import silence_libraries
from emofeedback.observability.consoles import PlainConsole
from emofeedback.profiles.overrides import parse_changes
from emofeedback.storage.files import held
from emofeedback_trainer.core.run_command import config_source, resume_command
from emofeedback_trainer.core.signals import stop_on_signals
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.storage import read_split, splits
from emofeedback_trainer.judge.config import Config, load_config
from emofeedback_trainer.judge.folder import JudgeRunFolder, TrainedJudge


def add_options(parser: argparse.ArgumentParser, configs: Mapping[str, Config]) -> None:
    """Declares the options of a training run."""
    parser.add_argument(
        "--config", help=f"a built-in configuration ({', '.join(configs)}) or a .toml file (default: nano)"
    )
    parser.add_argument("--data", type=Path, required=True, help="data folder with the splits train and val")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; the judge is in its `judge`")
    parser.add_argument("--model", help="folder or hub id of the judge to begin with, instead of the configuration's")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one key of the configuration"
    )


def config_of(arguments: argparse.Namespace, configs: Mapping[str, Config]) -> Config:
    """The configuration, with what the command line changes of it; a resumed run has its own.

    Raises:
        InvalidRequest: as `load_config`.
    """
    changes = parse_changes(arguments.set)
    if arguments.model:
        changes["model.checkpoint"] = arguments.model
    return load_config(config_source(arguments), configs, changes)


def samples_of(data: Path) -> tuple[list[Sample], list[Sample]]:
    """The samples to learn from and those to measure on.

    Raises:
        InvalidRequest, NotFound: a split is missing, or a row of one is bad.
    """
    for split in ("train", "val"):
        if split not in splits(data):
            raise InvalidRequest.of("data", f"{data} has no split {split!r}: one is learned from, one measured on")
    return read_split(data, "train"), read_split(data, "val")


def run_training(arguments: argparse.Namespace, command: str, train: Callable[[Console], TrainedJudge]) -> None:
    """Trains to the end, or until Ctrl-C, and says what there is.

    Raises:
        InvalidRequest: as `JudgeRunFolder.require_free`.
        FailedPrecondition: another process works in the folder.
        EmoFeedbackError: the run stopped; its last checkpoint is intact.
        KeyboardInterrupt: as well.
    """
    JudgeRunFolder(arguments.out).require_free(resume=arguments.resume)
    stop_on_signals()
    silence_libraries()
    console = PlainConsole()
    try:
        with held(arguments.out):
            judge = train(console)
    except (EmoFeedbackError, KeyboardInterrupt):
        if JudgeRunFolder(arguments.out).checkpoint():
            resume = resume_command(command, arguments.out, "--data", str(arguments.data))
            console.print(f"The run is kept; `{resume}` goes on from its last checkpoint.", soft_wrap=True)
        raise
    console.print(f"Judge: {judge.checkpoint} ({judge.digest})", soft_wrap=True)
    console.print(f"Curves: {arguments.out / 'curves.png'}", soft_wrap=True)
    console.print(f"Finished in {judge.seconds / 60:.1f} min.")
