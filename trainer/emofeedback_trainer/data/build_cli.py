"""The subcommands of `emofeedback-train data` that build data sets."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from emofeedback.backends import connect
from emofeedback.cli.parsing import ADDRESSES, sentence
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.limits import TOKEN_VARIABLE
from emofeedback.observability.console import say
from emofeedback.observability.consoles import PlainConsole
from emofeedback.profiles.overrides import load_profile
from emofeedback.storage.files import held
from emofeedback_trainer.data.build_emoset import EmosetBuild, build_emoset
from emofeedback_trainer.data.card import Show
from emofeedback_trainer.data.draws import Outside
from emofeedback_trainer.data.eemodb.build import EemodbBuild, build_eemodb
from emofeedback_trainer.data.eemodb.clustering import ClusteringSettings
from emofeedback_trainer.data.eemodb.comments import with_comments
from emofeedback_trainer.data.lexicon import emotion_statistics, read_lexicon
from emofeedback_trainer.data.reading import LAYOUTS, read
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.storage import SPLITS, data_digest, read_split, splits

Subcommands = Any
"""What `ArgumentParser.add_subparsers` returns; argparse has no public name for it."""

_BUILD_EMOSET = """examples:
  emofeedback-train data build-emoset EmoSet-118K runs/emoset --profile sd35-medium --judges 4
  emofeedback-train data build-emoset EmoSet-118K runs/emoset --address judge.example:9000 --lexicon BRM.csv
  emofeedback-train data build-emoset EmoSet-118K runs/small --train 200 --test 50 --seed 1 --outside clip

RAY_ADDRESS=... captions on that Ray cluster; its machines must see SOURCE under the same path.
"""
_BUILD_EEMODB = """examples:
  emofeedback-train data build-eemodb runs/eemodb --source emotic EMOTIC --source oasis OASIS
  emofeedback-train data build-eemodb runs/eemodb --source emotic EMOTIC --comments said.csv --lexicon BRM.csv
  emofeedback-train data build-eemodb runs/of-scenes --source built runs/scenes
"""
_BUILT = "built"
"""Name of a source that is a data folder of this command's."""


def add_builders(commands: Subcommands) -> None:
    """Declares the building subcommands; each sets `run`."""
    _add_build_emoset(commands)
    _add_build_eemodb(commands)


def _add_build_emoset(commands: Subcommands) -> None:
    defaults = EmosetBuild()
    purpose = "caption EmoSet's pictures and draw their valence and arousal, as the paper does"
    parser = add_builder(
        commands, "build-emoset", purpose, _BUILD_EMOSET, source="EmoSet-118K, in its published layout"
    )
    add_counts(parser, defaults, "pictures")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of the choice and the draws")
    parser.add_argument("--lexicon", type=Path, help="CSV of Warriner et al.; else built-in numbers of the eight words")
    parser.add_argument(
        "--outside", choices=get_args(Outside), default=defaults.outside, help="what becomes of draws beyond the scale"
    )
    parser.add_argument("--profile", help="whose judge captions, in the workers: a name or a .toml file (default nano)")
    parser.add_argument("--address", help=f"a judge service that captions instead: {ADDRESSES}")
    parser.add_argument(
        "--judges", type=int, default=defaults.judges, metavar="N", help="workers that caption at a time"
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave bad rows and pictures out, and say which")
    parser.set_defaults(run=_build_emoset)


def _build_emoset(arguments: argparse.Namespace) -> None:
    if arguments.judges < 1:
        raise InvalidRequest.of("judges", f"is {arguments.judges}, it must be at least 1")
    if arguments.seed < 0:
        raise InvalidRequest.of("seed", f"is {arguments.seed}, it must be 0 or more")
    engines = connect(arguments.profile, arguments.address, os.environ.get(TOKEN_VARIABLE, ""))
    reading = read("emoset", arguments.source, skip_bad=arguments.skip_bad)
    on_gpu = arguments.address is None and load_profile(arguments.profile or "nano").judge.device.startswith("cuda")
    build = EmosetBuild(
        train=arguments.train,
        val=arguments.val,
        test=arguments.test,
        seed=arguments.seed,
        outside=arguments.outside,
        judges=arguments.judges,
        gpus=float(on_gpu),
        skip_bad=arguments.skip_bad,
    )
    made_by = (
        f"emofeedback-train data build-emoset SOURCE OUT --train {build.train} --val {build.val} --test {build.test} "
        f"--seed {build.seed} --outside {build.outside}"
        + (f" --lexicon {arguments.lexicon.name}" if arguments.lexicon else "")
    )
    with held(arguments.out), shown_progress() as show:
        left_out = build_emoset(
            reading.samples,
            arguments.out,
            build,
            statistics=emotion_statistics(read_lexicon(arguments.lexicon) if arguments.lexicon else None),
            engines=engines,
            made_by=made_by,
            show=show,
        )
    for bad in (*reading.skipped, *left_out):
        say(f"left out: {bad}", sys.stderr)
    report(arguments.out)


def _add_build_eemodb(commands: Subcommands) -> None:
    defaults = EemodbBuild()
    purpose = "bring several data sets' labels to EEmo-Logic's form, and ask questions about them"
    parser = add_builder(commands, "build-eemodb", purpose, _BUILD_EEMODB)
    parser.add_argument(
        "--source",
        nargs=2,
        action="append",
        required=True,
        metavar=("NAME", "FOLDER"),
        help=f"a data set, of {', '.join(LAYOUTS)}, or {_BUILT} for a folder built here; give it again for more",
    )
    parser.add_argument("--comments", type=Path, help="CSV of what people wrote: columns source, id, comment")
    parser.add_argument(
        "--lexicon", type=Path, help="CSV of Warriner et al., for valence, arousal, dominance of comments"
    )
    parser.add_argument(
        "--radius",
        type=float,
        default=defaults.clustering.radius,
        help=f"farthest that a category may lie from an emotion (default {defaults.clustering.radius:g} points)",
    )
    parser.add_argument(
        "--test-share",
        type=float,
        default=defaults.test_share,
        help=f"test share of sources that aren't split (default {defaults.test_share:g})",
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of that choice, the folds and the questions")
    parser.add_argument("--skip-bad", action="store_true", help="leave bad rows out, and say which")
    parser.set_defaults(run=_build_eemodb)


def _build_eemodb(arguments: argparse.Namespace) -> None:
    if arguments.seed < 0:
        raise InvalidRequest.of("seed", f"is {arguments.seed}, it must be 0 or more")
    samples: list[Sample] = []
    for name, folder in arguments.source:
        if name == _BUILT:
            samples += [sample for split in splits(Path(folder)) for sample in read_split(Path(folder), split)]
            continue
        reading = read(name, Path(folder), skip_bad=arguments.skip_bad)
        samples += reading.samples
        for bad in reading.skipped:
            say(f"left out: {name} {bad}", sys.stderr)
    if arguments.comments:
        samples = with_comments(samples, arguments.comments)
    build = EemodbBuild(
        clustering=ClusteringSettings(radius=arguments.radius, seed=arguments.seed),
        test_share=arguments.test_share,
        seed=arguments.seed,
    )
    made_by = (
        "emofeedback-train data build-eemodb OUT "
        + " ".join(f"--source {name} {name.upper()}" for name, _ in arguments.source)
        + (f" --comments {arguments.comments.name}" if arguments.comments else "")
        + (f" --lexicon {arguments.lexicon.name}" if arguments.lexicon else "")
        + f" --radius {arguments.radius:g} --test-share {arguments.test_share:g} --seed {arguments.seed}"
    )
    lexicon = read_lexicon(arguments.lexicon) if arguments.lexicon else None
    with held(arguments.out), shown_progress() as show:
        left_out = build_eemodb(samples, arguments.out, build, lexicon=lexicon, made_by=made_by, show=show)
    say(f"{left_out} samples have no picture or no label and are left out", sys.stderr)
    report(arguments.out)


def report(folder: Path) -> None:
    """The folder's splits and how much they hold."""
    counts = ", ".join(f"{len(read_split(folder, split))} {split}" for split in splits(folder))
    say(f"{folder}: {counts}, labels {data_digest(folder)}")


def add_counts(parser: argparse.ArgumentParser, defaults: object, things: str) -> None:
    """An option for the size of every split; `defaults` has an attribute for each."""
    for split in SPLITS:
        count = getattr(defaults, split)
        what = f"{things} in the {split} split (default {count:,})"
        parser.add_argument(f"--{split}", type=int, default=count, metavar="N", help=what)


def add_builder(
    commands: Subcommands, name: str, purpose: str, examples: str, source: str = ""
) -> argparse.ArgumentParser:
    """Declares a subcommand that builds a data set; its first argument is the `source`, where that says what it is."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=purpose,
        description=f"{sentence(purpose)} Begun again, a cut build goes on where it was.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if source:
        parser.add_argument("source", type=Path, help=source)
    parser.add_argument("out", type=Path, help="folder of the data set: a new one, or a build that was cut")
    return parser


@contextmanager
def shown_progress() -> Iterator[Show]:
    """A bar for each part of the work, on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=PlainConsole(stderr=True)) as progress:
        tasks: dict[str, TaskID] = {}

        def show(part: str, done: int, wanted: int) -> None:
            if part not in tasks:
                tasks[part] = progress.add_task(part, total=wanted)
            progress.update(tasks[part], completed=done)

        yield show
