"""`emofeedback-train memory`: fill an emotional memory, refresh the judge from it, show what is in it."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from emofeedback.cli.parsing import examples_of, sentence
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.generator.preflight import check_policies
from emofeedback.in_process import silence_libraries
from emofeedback.observability.console import say
from emofeedback.profiles.overrides import changed, extended, load_profile, parse_changes
from emofeedback.storage.files import held, write_whole
from emofeedback_trainer.core.ray_cluster import ray_cluster
from emofeedback_trainer.core.tables import table
from emofeedback_trainer.data.build_cli import Subcommands, shown_progress
from emofeedback_trainer.data.storage import read_split
from emofeedback_trainer.emotional_memory.alarms import alarms, drift
from emofeedback_trainer.emotional_memory.filling import Filling, Writer, fill
from emofeedback_trainer.emotional_memory.refresh_config import LARGEST_SHARE, REFRESH_CONFIGS
from emofeedback_trainer.emotional_memory.store import Memory, picture_of, read_memory, writing
from emofeedback_trainer.emotional_memory.symbiosis import known
from emofeedback_trainer.emotional_memory.witness import WITNESSES, load_witness
from emofeedback_trainer.evaluation.metrics import Estimate
from emofeedback_trainer.evaluation.output import with_engines

if TYPE_CHECKING:
    from emofeedback_trainer.emotional_memory.refresh import Refreshed

_EXAMPLES = """examples:
  emofeedback-train nano dataset runs/scenes
  emofeedback-train memory fill runs/memory --data runs/scenes --policy nano-final --policy nano-fast
                                        paints 512 captions by each; goes on where it was cut
  emofeedback-train memory fill runs/memory --data runs/scenes --policy nano-final --twins 1024
                                        the next 512
  emofeedback-train memory fill s3://bucket/memory --data runs/emoset --profile sd35-medium --policy emo-1 \\
      --witness my.module:load_witness
  RAY_ADDRESS=auto emofeedback-train memory fill s3://bucket/memory --data runs/scenes --policy nano-fast
                                        several at once on a Ray cluster, each with a policy of its own
  emofeedback-train memory refresh runs/memory --data runs/scenes --out runs/refresh
  emofeedback-train memory refresh runs/memory --data runs/scenes --out runs/control --set share=0
                                        the same steps without the memory
  emofeedback-train memory show runs/memory --out runs/memory.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the subcommands of `emofeedback-train memory`."""
    parser.description = "Painted pictures whose feelings are known, for the judge to learn from."
    parser.epilog = _EXAMPLES
    commands = parser.add_subparsers(dest="part", required=True, metavar="PART")
    _add_fill(commands)
    _add_refresh(commands)
    _add_show(commands)


def _command(commands: Subcommands, name: str, purpose: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=purpose,
        description=sentence(purpose),
        epilog=examples_of(f"emofeedback-train memory {name}", _EXAMPLES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("memory", help="folder of the memory, or any fsspec address")
    return parser


def _add_fill(commands: Subcommands) -> None:
    parser = _command(commands, "fill", "paint labelled samples' captions and keep what a witness confirms")
    defaults = Filling(data=Path(), policies=(BASE_POLICY,))
    parser.add_argument("--data", type=Path, required=True, help="data folder with the splits train and val")
    parser.add_argument("--policy", action="append", help="who paints; give it again for more (default: the profile's)")
    parser.add_argument("--profile", default="nano", help="a built-in profile or a .toml file (default: nano)")
    parser.add_argument(
        "--witness",
        default="nano",
        help=f"who confirms the labels: {', '.join(WITNESSES)}, or module:function (default: nano)",
    )
    parser.add_argument(
        "--twins",
        type=int,
        default=defaults.twins,
        help=f"captions that each paints in all (default: {defaults.twins})",
    )
    parser.add_argument(
        "--held-out",
        type=int,
        default=defaults.held_out,
        help=f"the same of the split val, to measure on (default: {defaults.held_out})",
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="another seed, other pictures")
    parser.add_argument(
        "--label-sd",
        type=float,
        default=defaults.label_sd,
        help=f"standard deviation of the data's labels, in points (default: {defaults.label_sd:g})",
    )
    parser.set_defaults(run=_fill)


def _fill(arguments: argparse.Namespace) -> None:
    profile = load_profile(arguments.profile)
    filling = Filling(
        data=arguments.data,
        policies=tuple(arguments.policy or [profile.generator.policy or BASE_POLICY]),
        twins=arguments.twins,
        held_out=arguments.held_out,
        seed=arguments.seed,
        label_sd=arguments.label_sd,
    )
    check_policies(profile.generator, filling.policies)
    witness = load_witness(arguments.witness)
    read_memory(arguments.memory)  # refused before anything heavy is loaded
    silence_libraries()
    with ExitStack() as stack:
        show = stack.enter_context(shown_progress())
        open_writer: Callable[[str], AbstractContextManager[Writer]] = writing
        if os.environ.get("RAY_ADDRESS"):
            stack.enter_context(ray_cluster())
            open_writer = import_module("emofeedback_trainer.emotional_memory.shared").sharing
        memory = with_engines(
            profile,
            lambda generator, judge: fill(
                arguments.memory,
                filling,
                profile,
                generator=generator,
                judge=judge,
                witness=witness,
                show=show,
                open_writer=open_writer,
            ),
        )
    say(summary(memory))


def _add_refresh(commands: Subcommands) -> None:
    parser = _command(commands, "refresh", "let the judge learn on, from real data and from the memory")
    parser.add_argument("--data", type=Path, required=True, help="data folder with the splits train and val")
    parser.add_argument("--out", type=Path, required=True, help="folder of the refresh; a cut one goes on")
    parser.add_argument(
        "--config",
        default="nano",
        help=f"a built-in configuration ({', '.join(REFRESH_CONFIGS)}) or a .toml file (default: nano)",
    )
    parser.add_argument("--model", help="folder or hub id of the judge to begin with, instead of the configuration's")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one key of the configuration"
    )
    parser.set_defaults(run=_refresh)


def _refresh(arguments: argparse.Namespace) -> None:
    base, written = extended(arguments.config, REFRESH_CONFIGS, "config")
    changes = {**written, **parse_changes(arguments.set)}
    if arguments.model:
        changes["model.checkpoint"] = arguments.model
    config = changed(base, changes)
    if config.share > LARGEST_SHARE:
        raise InvalidRequest.of("share", f"is {config.share:g}, it must be at most {LARGEST_SHARE:g}")
    memory = _filled(arguments.memory)
    silence_libraries()
    from emofeedback_trainer.emotional_memory.refresh import refresh

    with held(arguments.out), shown_progress() as show:
        done = refresh(
            config,
            arguments.out,
            real=read_split(arguments.data, "train"),
            memory=known(memory, "train"),
            held_out=read_split(arguments.data, "val"),
            held_out_painted=[one.sample for one in known(memory, "val")],
            show=show,
        )
    say(verdict(done))


def _add_show(commands: Subcommands) -> None:
    parser = _command(commands, "show", "draw what is in the memory over the plane, and tell how the judge reads it")
    parser.add_argument("--out", type=Path, default=Path("memory.png"), help="the picture (default: memory.png)")
    parser.set_defaults(run=_show)


def _show(arguments: argparse.Namespace) -> None:
    from emofeedback_trainer.emotional_memory.picture import draw_memory

    memory = _filled(arguments.memory)
    write_whole(arguments.out, draw_memory(memory, lambda entry: picture_of(memory, entry)))
    say(summary(memory))
    say(f"picture: {arguments.out}")


def _filled(uri: str) -> Memory:
    memory = read_memory(uri)
    if not memory.of("train"):
        raise FailedPrecondition(f"the memory at {uri} is empty: `emofeedback-train memory fill {uri} --data DATA`")
    return memory


def summary(memory: Memory) -> str:
    """What a memory holds, what it refused, and how the judge reads it, as Markdown."""
    lines = [
        f"{memory.uri}: {len(memory.of('train')):,} pictures to learn from, {len(memory.of('val')):,} to measure on, "
        f"{len(memory.out):,} gone; manifest {memory.number}",
    ]
    if memory.refused:
        told = Counter(memory.refused).most_common()
        lines.append("refused: " + ", ".join(f"{count:,} {reason}" for reason, count in told))
    rows = []
    sentences = []
    for policy in memory.policies:
        entries = [entry for entry in memory.of("val") if entry.policy_digest == policy.digest]
        found = drift(entries)
        if found is None:
            continue
        rows.append(
            (
                policy.name,
                f"{found.pictures:,}",
                *(f"{v:+.2f} / {a:+.2f}" for v, a in (found.bias,)),
                *(f"{v:.2f} / {a:.2f}" for v, a in (found.spread, found.correlation, found.slope)),
            )
        )
        sentences += [f"alarm: {policy.name}: {sentence}" for sentence in alarms(found)]
    if rows:
        header = ("held-out twins by", "n", "judge - witness, V / A", "spread", "correlation", "slope on the label")
        lines += ["", table(header, rows), *sentences]
    return "\n".join(lines)


def verdict(done: Refreshed) -> str:
    """What a refresh came to, in words."""
    what = "kept" if done.kept else "dismissed, the judge before stays"
    return (
        f"{what}: error on real pictures {_signed(done.real)}, on held-out twins {_signed(done.painted)} points\n"
        f"judge: {done.checkpoint} ({done.digest})"
    )


def _signed(found: Estimate) -> str:
    return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f}, n {found.n:,})"
