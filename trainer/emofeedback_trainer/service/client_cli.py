"""`emofeedback-train runs`: the runs of a trainer service."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from rich import box
from rich.table import Table

from emofeedback.cli.parsing import examples_of, sentence
from emofeedback.client import Client, Deadlines, RetryPolicy
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.limits import TOKEN_VARIABLE
from emofeedback.domain.training import (
    Alarm,
    IterationDone,
    PanelMeasured,
    PolicyPublished,
    RunEvent,
    RunRequest,
    RunStateChanged,
    TrainingRun,
)
from emofeedback.observability.console import say
from emofeedback.observability.consoles import PlainConsole
from emofeedback.storage.texts import read_text

_EXAMPLES = """examples:
  emofeedback-train runs create calm --config nano --set iterations=60 --set rewards.alignment=0.5
  emofeedback-train runs create calm --resume
  emofeedback-train runs watch calm --from 40
  emofeedback-train runs list --limit 5
  emofeedback-train runs show calm
  emofeedback-train runs cancel calm
"""
_SHOWN = {
    "reward": "reward",
    "judge_valence_error": "judge |dV|",
    "judge_arousal_error": "|dA|",
    "valence_error": "panel |dV|",
    "arousal_error": "|dA|",
    "valence_correlation": "r(V)",
    "arousal_correlation": "r(A)",
    "alignment": "alignment",
    "kl": "KL",
    "clip_fraction": "clipped",
    "images_per_second": "images/s",
}
"""The metrics of a line, and what they are called in it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the commands of `emofeedback-train runs`."""
    parser.description = "Start, list, watch and cancel the runs of a trainer service."
    parser.epilog = _EXAMPLES
    commands = parser.add_subparsers(dest="action", required=True, metavar="COMMAND")
    create = _command(commands, "create", "queue a run, or resume one", _create)
    create.add_argument("name", help="of the run, its folder and its policies")
    create.add_argument("--config", help="a built-in configuration, or a .toml file of this machine")
    create.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another value for a dotted key of a built-in configuration, written as in TOML; may be repeated",
    )
    create.add_argument("--resume", action="store_true", help="go on with the run of this name")
    _command(commands, "list", "the newest runs first", _list).add_argument("--limit", type=int, default=20)
    _command(commands, "show", "how a run stands", _show).add_argument("name")
    watch = _command(commands, "watch", "tell what happens until the run is over", _watch)
    watch.add_argument("name")
    watch.add_argument("--from", dest="from_iteration", type=int, default=0, metavar="N", help="first iteration")
    _command(commands, "cancel", "end a run after a checkpoint", _cancel).add_argument("name")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Asks the service. The bearer token is in `EMOFEEDBACK_TOKEN`."""
    token = os.environ.get(TOKEN_VARIABLE, "")
    deadlines = Deadlines(total=None, attempt=None)
    retry = RetryPolicy(on_wait=lambda waiting: say(f"note: {waiting}", sys.stderr))
    with Client(arguments.address, token=token, deadlines=deadlines, retry=retry) as client:
        arguments.act(client, arguments)


def configuration(source: str | None, changes: list[str]) -> str:
    """The TOML to send: a file's text, or what changes of a built-in configuration.

    Raises:
        InvalidRequest: no source, a file that can't be read, or changes to a file.
    """
    if source is None:
        raise InvalidRequest.of("--config", "is missing: a built-in configuration or a .toml file")
    if not source.endswith(".toml"):
        pairs = [change.partition("=") for change in changes]
        wrong = [key for key, sign, value in pairs if not (sign and key.strip() and value.strip())]
        if wrong:
            raise InvalidRequest.of("--set", f"{wrong[0]!r} is not of the form KEY=VALUE")
        return (
            "\n".join([f'extends = "{source}"', *(f"{key.strip()} = {value.strip()}" for key, _, value in pairs)])
            + "\n"
        )
    if changes:
        raise InvalidRequest.of("--set", "goes with a built-in configuration; change the file instead")
    try:
        return read_text(Path(source))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest.of("--config", f"{source} can't be read: {error}") from error


def told(event: RunEvent) -> str:
    """An event in one line."""
    match event:
        case RunStateChanged(run=run):
            return f"{run.name} is {_standing(run)}"
        case IterationDone(iteration=iteration, metrics=metrics):
            return f"iteration {iteration}: {_metrics(metrics)}"
        case PanelMeasured(iteration=iteration, metrics=metrics):
            return f"panel after {iteration}: {_metrics(metrics)}"
        case PolicyPublished(iteration=iteration, policy=policy):
            return f"policy after {iteration}: {policy}"
        case Alarm(iteration=iteration, text=text):
            return f"ALARM after {iteration}: {text}"


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    purpose: str,
    act: Callable[[Client, argparse.Namespace], None],
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=purpose,
        description=sentence(purpose),
        epilog=examples_of(f"emofeedback-train runs {name}", _EXAMPLES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--address",
        default="127.0.0.1:9100",
        help="of the service: HOST:PORT, or https://HOST (default %(default)s)",
    )
    command.set_defaults(act=act)
    return command


def _create(client: Client, arguments: argparse.Namespace) -> None:
    config = "" if arguments.resume else configuration(arguments.config, arguments.set)
    if arguments.resume and (arguments.config or arguments.set):
        raise InvalidRequest.of("--resume", "goes on with the run's own configuration, without --config and --set")
    run = client.trainer.create(RunRequest(name=arguments.name, config=config, resume=arguments.resume))
    say(f"{run.name} is {_standing(run)}; folder {run.folder}, policies {run.policies}")


def _list(client: Client, arguments: argparse.Namespace) -> None:
    table = Table(box=box.SIMPLE)
    for name in ("run", "state", "iterations", "reward", "independent judge's error", "created"):
        table.add_column(name)
    for run in client.trainer.list(limit=arguments.limit):
        reward, error = run.metrics.get("reward"), run.panel.get("error")
        table.add_row(
            run.name,
            run.state,
            f"{run.iteration}/{run.iterations}",
            "" if reward is None else f"{reward:.3f}",
            "" if error is None else f"{error:.2f}",
            f"{run.created.astimezone():%Y-%m-%d %H:%M}",
        )
    PlainConsole().print(table)


def _show(client: Client, arguments: argparse.Namespace) -> None:
    run = client.trainer.get(arguments.name)
    say(f"{run.name} is {_standing(run)}")
    for name, text in (
        ("folder", run.folder),
        ("policies", run.policies),
        ("created", f"{run.created.astimezone():%Y-%m-%d %H:%M:%S}"),
        ("updated", f"{run.updated.astimezone():%Y-%m-%d %H:%M:%S}"),
        ("metrics", _metrics(run.metrics)),
        ("panel", _metrics(run.panel)),
    ):
        say(f"{name:9}{text}")
    say(f"config\n{run.config.rstrip()}")


def _watch(client: Client, arguments: argparse.Namespace) -> None:
    for event in client.trainer.watch(arguments.name, from_iteration=arguments.from_iteration):
        say(told(event))


def _cancel(client: Client, arguments: argparse.Namespace) -> None:
    run = client.trainer.cancel(arguments.name)
    say(f"{run.name} is {_standing(run)}")


def _standing(run: TrainingRun) -> str:
    place = f", {run.iteration} of {run.iterations} iterations done" if run.iterations else ""
    return f"{run.state}{place}" + (f": {run.message}" if run.message else "")


def _metrics(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {metrics[key]:.3g}" for key, name in _SHOWN.items() if key in metrics)
